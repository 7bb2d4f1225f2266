"""The command line: `resumable-glance serve | check | upload | uploads`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from resumable_glance import __version__
from resumable_glance.cli import check, serve, upload, uploads
from resumable_glance.errors import CannotStart

_DESCRIPTION = """\
Resumable, verified uploads of big images into OpenStack Glance.

for users:
  upload    upload an image file, or resume its upload
  uploads   list, show, retry and cancel uploads; get signed receipts

for operators (with resumable-glance[server]):
  serve     run the service beside Glance; serve --dev needs no OpenStack
  check     test a configuration, or a running service through its proxies
"""
_EPILOG = """\
'resumable-glance COMMAND --help' describes a command, with examples.

examples:
  resumable-glance upload disk.qcow2
  resumable-glance uploads list
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        "resumable-glance",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"resumable-glance {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for name, module, summary in (
        ("upload", upload, "upload an image file, or resume its upload"),
        ("uploads", uploads, "list, show, retry and cancel uploads; get signed receipts"),
        ("serve", serve, "run the service"),
        ("check", check, "test a configuration, or a running service"),
    ):
        command = commands.add_parser(
            name,
            help=summary,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(func=module.run)
        module.add_options(command)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.func(arguments)
    except CannotStart as problem:
        print(f"resumable-glance: {problem}", file=sys.stderr)
        return 1
    return status
