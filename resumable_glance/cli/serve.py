"""`resumable-glance serve`: the service under uvicorn, with a stop that keeps every byte."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resumable_glance.errors import CannotStart

if TYPE_CHECKING:
    from resumable_glance.runtime.config import Settings

DESCRIPTION = """\
Run the service.

SIGTERM and Ctrl-C stop it: it accepts no new chunks, keeps every byte that has arrived, and tells clients to retry.
The next start continues with all uploads.
"""
EPILOG = """\
examples:
  resumable-glance serve --config-file /etc/resumable-glance/resumable-glance.conf
  resumable-glance serve --dev
  resumable-glance serve --dev --listen 127.0.0.1:8971 --state-dir /tmp/uploads
"""


def add_options(command: argparse.ArgumentParser) -> None:
    add_config_options(command)
    command.add_argument(
        "--listen", metavar="HOST:PORT", help="address to listen on (default: bind_host and bind_port, 127.0.0.1:8970)"
    )
    command.add_argument(
        "--dev",
        action="store_true",
        help="development mode: no OpenStack, no authentication, images become files, loopback addresses only",
    )
    command.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="directory of the development mode (default: %(default)s)",
        default=Path(os.environ.get("XDG_STATE_HOME", "~/.local/state")).expanduser() / "resumable-glance" / "dev",
    )  # fmt: skip


def add_config_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config-file", action="append", metavar="FILE",
        help="INI file of options; may be repeated, the last one wins (default: resumable-glance.conf in "
        "~/.resumable-glance, ~, /etc/resumable-glance and /etc)",
    )  # fmt: skip


@contextlib.contextmanager
def server_libraries() -> Iterator[None]:
    """Around imports of the service: raise CannotStart if its libraries are not installed."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("resumable_glance"):
            raise
        raise CannotStart(
            f"The service needs more libraries than the client ({missing.name} is missing): "
            "install resumable-glance[server]."
        ) from missing


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped. Raise CannotStart."""
    with server_libraries():
        from resumable_glance.api.http11 import uvicorn_check

        uvicorn_check.check()  # before the import of anything that extends uvicorn
        from resumable_glance import app
        from resumable_glance.api.http11.server import GracefulServer
        from resumable_glance.runtime import config, log

    overrides = development(arguments.state_dir) if arguments.dev else {}
    if arguments.listen:
        overrides |= address(arguments.listen)
    # The development mode ignores files in /etc and variables.
    files = (arguments.config_file or []) if arguments.dev else arguments.config_file
    settings, conf = config.load(files, overrides)
    log.setup(conf)
    try:
        service = app.build(settings, conf)
    except OSError as problem:
        raise CannotStart(f"{problem}. Run 'resumable-glance check' for details.") from problem
    if arguments.dev:
        print(_welcome(settings), file=sys.stderr, flush=True)
    server = GracefulServer(service.asgi, service.uploads, settings)
    server.run()
    logging.shutdown()
    # The interpreter's own end waits for threads, and those may wait for a hung Glance. Everything is on disk by now.
    os._exit(0 if server.started else 1)


def development(state: Path) -> dict[str, Any]:
    """Return the options of the development mode."""
    state = state.absolute()
    return {
        "auth_strategy": "noauth",
        "image_service": "directory",
        "image_directory": str(state / "images"),
        "scratch.directory": str(state / "scratch"),
        "scratch.reserved_space": 0,
        "database.connection": f"sqlite:///{state / 'catalog.sqlite'}",
        "credentials.key_file": str(state / "credentials.key"),
    }


def address(text: str) -> dict[str, Any]:
    """Return HOST:PORT as options. Raise CannotStart."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise CannotStart(f"--listen {text}: write HOST:PORT, such as 127.0.0.1:8970 or [::1]:8970.")
    return {"bind_host": host.strip("[]"), "bind_port": int(port)}


def _welcome(settings: Settings) -> str:
    url = f"http://{settings.service.bind_host}:{settings.service.bind_port}"
    return (
        f"Development mode: no Keystone, no Glance; anyone on this machine may upload.\n"
        f"  page     {url}/\n"
        f"  native   {url}/v1/uploads\n"
        f"  tus      {url}/v1/tus\n"
        f"  rufh     {url}/v1/rufh\n"
        f"  images   {settings.service.image_directory}\n"
        f"  try      resumable-glance upload --service-url {url} --disk-format raw FILE\n"
    )
