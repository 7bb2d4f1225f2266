"""The command line: `resumable-glance serve | upload | uploads | check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from resumable_glance import __version__
from resumable_glance.cli import check, serve, upload, uploads
from resumable_glance.errors import CannotStart

_DESCRIPTION = """\
Resumable, verified uploads of big images into OpenStack Glance.

  serve     run the service beside Glance (serve --dev: without any OpenStack, to try it)
  check     see whether the service could run: configuration, Keystone, Glance, scratch
  upload    send an image file; goes on after anything that broke it off
  uploads   list, show, prove, retry and cancel your uploads
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = argparse.ArgumentParser(
        "resumable-glance",
        description=_DESCRIPTION,
        epilog="'resumable-glance COMMAND --help' explains a command, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"resumable-glance {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for each in (serve, check, upload, uploads):
        each.add_parser(commands)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.func(arguments)
    except CannotStart as problem:
        print(f"resumable-glance: {problem}", file=sys.stderr)
        return 1
    return status
