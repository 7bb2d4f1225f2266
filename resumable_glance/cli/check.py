"""`resumable-glance check`: a configuration before the start, or the running service as clients meet it."""

from __future__ import annotations

import argparse

from resumable_glance.cli.serve import add_config_options, server_libraries

DESCRIPTION = """\
Test whether the service can run with a configuration, or whether clients can use the service at its public address.

Without --url: configuration, scratch, catalog, key file, Keystone and the image service. Missing directories and a
missing key file are created, as 'serve' would; nothing else changes. A service may be running meanwhile.

With --url: the certificate, proxies that buffer, limit or cut off requests, lost headers, wrong upload addresses, and
CORS. It needs no token, creates nothing, and takes as long as idle_timeout (one minute by default).
"""
EPILOG = """\
Exit status: 0 if all parts are ok, 1 if not. A next step stands below each failure.

examples:
  resumable-glance check --config-file /etc/resumable-glance/resumable-glance.conf
  resumable-glance check --url https://uploads.cloud.example --origin https://dashboard.cloud.example
  resumable-glance check --url        # public_endpoint and allowed_origin of the configuration
"""


def add_options(command: argparse.ArgumentParser) -> None:
    add_config_options(command)
    command.add_argument(
        "--url", nargs="?", const="", help="test the service at this address (without a value: public_endpoint)"
    )
    command.add_argument(
        "--origin", action="append", default=[], metavar="URL",
        help="with --url: origin of a dashboard whose pages upload, such as https://dashboard.cloud.example; may be "
        "repeated",
    )  # fmt: skip
    command.add_argument(
        "--ca-file", metavar="FILE", help="with --url: PEM file of further certificate authorities to trust"
    )


def run(arguments: argparse.Namespace) -> int:
    with server_libraries():
        from resumable_glance.cli import preflight

    if arguments.url is None:
        return preflight.run(arguments.config_file)
    return preflight.run_endpoint(arguments.config_file, arguments.url, arguments.origin, arguments.ca_file)
