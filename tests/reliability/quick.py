"""Starts that take milliseconds, for trials with hundreds of crashes.

A server process has imported everything that the service of tests/support/launcher.py needs, and forks one child for
each start. It has one thread, one child at a time, and one connection:

    to it    a configuration file and a log: start; the number of a signal for the child
    from it  the child's id, and its exit status when it has ended

The server ends with its parent, and the child with the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tests.support import process
from tests.support.service import START_DEADLINE, Service

INTERVAL = 0.004  # seconds between two looks whether the service answers
_QUESTION = b"GET /v1/uploads HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


class QuickService(Service):
    """A service of tests/support/launcher.py that starts at once. It can be started again until close()."""

    def __init__(self, directory: Path, options: Mapping[str, Mapping[str, object]]) -> None:
        super().__init__(directory, options)
        self._server: subprocess.Popen[bytes] | None = None
        self._wire: Connection[Any, Any] | None = None
        self._child = 0

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._child

    def start(self) -> None:
        self.launch()
        self.await_answer()

    def launch(self) -> None:
        """Begin a start without waiting for it."""
        if self._wire is None:
            self._wire = self._served()
        self._wire.send((str(self.configuration), str(self.log)))
        self._child = self._wire.recv()

    def await_answer(self) -> None:
        """Return when the service answers. RuntimeError with its log if it does not."""
        deadline = time.monotonic() + START_DEADLINE
        while not self.ended() and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(_QUESTION)
                if connection.recv(1):
                    return
            time.sleep(INTERVAL)
        self.kill()
        raise RuntimeError(f"the service did not start\n{process.tail(self.log)}")

    def ended(self) -> bool:
        """Return whether the service does not run."""
        return self._wire is None or not self._child or self._wire.poll()

    def close(self) -> None:
        self.kill()
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._server is not None:
            process.end(self._server, signal.SIGKILL)
            self._server = None

    def _end(self, how: signal.Signals) -> int:
        if self._wire is None or not self._child:
            return 0
        if not self._wire.poll():
            self._wire.send(how)
            if not self._wire.poll(60):
                self._wire.send(signal.SIGKILL)
        self._child = 0
        return int(self._wire.recv())

    def _served(self) -> Connection[Any, Any]:
        """Start a server process; return the connection to it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(START_DEADLINE)
            port = str(listener.getsockname()[1])
            self._server = process.launch([sys.executable, "-m", "tests.reliability.quick", port], log=self.log)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                raise RuntimeError(f"the server of services did not start\n{process.tail(self.log)}") from None
        connection.settimeout(None)
        return Connection(connection.detach())


def quick(directory: Path, state: Path) -> QuickService:
    """Return a service without OpenStack that starts quickly, with all its data in `state`."""
    return QuickService(directory, kept_in(state))


def kept_in(state: Path) -> dict[str, dict[str, object]]:
    """Return the options of a service without OpenStack with all its data in `state`."""
    return {
        "DEFAULT": {"auth_strategy": "noauth", "image_service": "directory", "image_directory": state / "images"},
        "scratch": {"directory": state / "scratch"},
        "database": {"connection": f"sqlite:///{state / 'catalog.sqlite'}"},
        "credentials": {"key_file": state / "credentials.key"},
    }


def _import_all() -> None:
    """Import what a start would import; the service imports all but the first of these lazily."""
    for each in (
        "tests.support.launcher",
        "alembic.command",
        "resumable_glance.auth.noauth",
        "resumable_glance.images.directory",
        "sqlalchemy.dialects.sqlite",
        "uvicorn.lifespan.on",
        "uvicorn.loops.uvloop",
        "uvicorn.protocols.http.httptools_impl",
    ):
        importlib.import_module(each)


def _serve(port: int) -> None:
    _import_all()
    gc.freeze()  # a garbage collection in a child copies no page then
    wire: Connection[Any, Any] = Connection(socket.create_connection(("127.0.0.1", port)).detach())
    while True:
        configuration, log = wire.recv()
        child = os.fork()
        if not child:
            _run(configuration, log)
        wire.send(child)
        wire.send(_attended(child, wire))


def _attended(child: int, wire: Connection[Any, Any]) -> int:
    """Pass signals to a child until it ends; return its exit status."""
    ending = os.pidfd_open(child)
    try:
        while ending not in wait([ending, wire]):
            signal.pidfd_send_signal(ending, wire.recv())
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(ending)


def _run(configuration: str, log: str) -> None:
    """Run the service in the child; never return."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the server, which ends with the trial
        os.setsid()
        os.closerange(3, 64)  # the connection among them
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from tests.support import launcher

        status = launcher.main(["serve", "--config-file", configuration])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
