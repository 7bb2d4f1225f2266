"""`resumable-glance serve`: the service under uvicorn, with a stop that keeps every byte."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resumable_glance.errors import CannotStart

if TYPE_CHECKING:
    from resumable_glance.runtime.config import Settings

_EPILOG = """\
examples:
  resumable-glance serve --config-file /etc/resumable-glance/resumable-glance.conf
  resumable-glance serve --dev --listen 127.0.0.1:8970 --state-dir /tmp/uploads

SIGTERM and Ctrl-C stop it: no new chunk is taken, every byte that has come is kept, clients are told to come
back, and what they have is found again at the next start.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "serve", help="run the service", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_options(command)
    command.add_argument("--listen", metavar="HOST:PORT", help="wins over bind_host and bind_port")
    command.add_argument(
        "--dev",
        action="store_true",
        help="no OpenStack: anyone may upload, images land in a directory; loopback addresses only",
    )
    command.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="with --dev: where everything is kept (default: %(default)s)",
        default=Path(os.environ.get("XDG_STATE_HOME", "~/.local/state")).expanduser() / "resumable-glance" / "dev",
    )  # fmt: skip
    command.set_defaults(func=run)


def add_config_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config-file", action="append", metavar="FILE",
        help="INI file with options; several may be given (default: /etc/resumable-glance/resumable-glance.conf "
        "and where else OpenStack services look)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop. Raises CannotStart."""
    from resumable_glance.api.http11.compatibility import check_uvicorn

    check_uvicorn()  # before the next imports, which need it
    from resumable_glance import app
    from resumable_glance.api.http11.server import GracefulServer
    from resumable_glance.runtime import config, log

    overrides = development(arguments.state_dir) if arguments.dev else {}
    if arguments.listen:
        overrides |= address(arguments.listen)
    # In development no file that happens to lie in /etc, and no variable, counts.
    files = (arguments.config_file or []) if arguments.dev else arguments.config_file
    settings, conf = config.load(files, overrides)
    log.setup(conf)
    try:
        service = app.build(settings, conf)
    except OSError as problem:
        raise CannotStart(f"{problem}. 'resumable-glance check' tells more.") from problem
    if arguments.dev:
        print(_welcome(settings), file=sys.stderr, flush=True)
    server = GracefulServer(service, settings)
    server.run()
    logging.shutdown()
    # Not by the interpreter's end, which waits for threads, and those for a Glance that hangs: all we have is on disk.
    os._exit(0 if server.started else 1)


def development(state: Path) -> dict[str, Any]:
    """The options of the development mode."""
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
    """HOST:PORT as options. Raises CannotStart."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise CannotStart(f"--listen {text}: write HOST:PORT, such as 127.0.0.1:8970 or [::1]:8970")
    return {"bind_host": host.strip("[]"), "bind_port": int(port)}


def _welcome(settings: Settings) -> str:
    url = f"http://{settings.service.bind_host}:{settings.service.bind_port}"
    return (
        f"Development mode: no Keystone, no Glance, anyone on this machine may upload.\n"
        f"  page     {url}/\n"
        f"  native   {url}/v1/uploads\n"
        f"  tus      {url}/v1/tus\n"
        f"  IETF     {url}/v1/ietf\n"
        f"  images   {settings.service.image_directory}\n"
        f"  try      resumable-glance upload --service-url {url} --disk-format raw FILE\n"
    )
