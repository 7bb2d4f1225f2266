"""`resumable-glance check`: could the service run here?"""

from __future__ import annotations

import argparse

from resumable_glance.cli.serve import add_config_options

_EPILOG = """\
It changes nothing but to make directories and the key file where they are missing, as 'serve' would.
The exit status is 0 if the service could run, 1 if not.

example:
  resumable-glance check --config-file /etc/resumable-glance/resumable-glance.conf
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "check",
        help="see whether the service could run",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_options(command)
    command.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    from resumable_glance.cli import checks

    return checks.run(arguments.config_file)
