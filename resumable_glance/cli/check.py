"""`resumable-glance check`: could the service run here, and is it what clients meet at its public address?"""

from __future__ import annotations

import argparse

from resumable_glance.cli.serve import add_config_options

_EPILOG = """\
Without --url it looks at what the service needs. It changes nothing but to make directories and the key file where
they are missing, as 'serve' would.

With --url it looks at the service that runs, through everything that is between it and its clients: certificate,
proxies that collect, limit or cut off bodies, lost headers, wrong addresses of new uploads, pages that may not upload.
It needs no token and creates nothing. It takes as long as idle_timeout, a minute.

The exit status is 0 if all is well, 1 if not.

examples:
  resumable-glance check --config-file /etc/resumable-glance/resumable-glance.conf
  resumable-glance check --url https://uploads.cloud.example --origin https://dashboard.cloud.example
  resumable-glance check --url        # public_endpoint and allowed_origin of the configuration
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "check",
        help="see whether the service could run, or what clients meet at its public address",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_options(command)
    command.add_argument(
        "--url", nargs="?", const="", help="look at the service at this address (default: public_endpoint)"
    )
    command.add_argument(
        "--origin", action="append", default=[], metavar="URL",
        help="with --url: a dashboard whose pages are to upload, such as https://dashboard.cloud.example; may be "
        "repeated",
    )  # fmt: skip
    command.add_argument(
        "--ca-file", metavar="FILE", help="with --url: certificates of authorities to believe besides the usual ones"
    )
    command.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    from resumable_glance.cli import checks

    if arguments.url is None:
        return checks.run(arguments.config_file)
    return checks.public(arguments.config_file, arguments.url, arguments.origin, arguments.ca_file)
