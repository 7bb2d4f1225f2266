"""One WSGI application under uWSGI, which can be stopped and started again on the same port.

The rule: a server never outlives the process that started it, and is only ever signalled by its own id.
"""

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 10.0

# uWSGI as operators run it: limits and time-outs are its defaults.
UWSGI = (
    "--need-app",
    "--die-on-term",
    "--enable-threads",
    "--threads=8",
    "--disable-logging",
    "--buffer-size=65535",  # tokens and catalogues make long headers
    # uWSGI closes each connection anyway; unless it says so, clients see resets when they use one again.
    "--add-header=Connection: close",
    f"--shared-import={Path(__file__).with_name('begin_immediate.py')}",
)

# The kernel kills the server (signal 9) when its parent dies (prctl 1), however the parent dies.
DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"

# For the kernel the parent is a thread. So all servers are started by this one, which lives until the end;
# a thread of an asyncio executor, say, would take the server with it.
_LAUNCHER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="launcher")


def free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 that nothing listens on.

    They are taken from below the range of outgoing connections, so that a stopped server finds its port free
    when it starts again.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError("there are no free ports")


class Server:
    """A uWSGI process that serves `module` on 127.0.0.1:`port` and logs to `log`."""

    def __init__(
        self,
        module: str,
        port: int,
        *,
        environment: Path,
        variables: dict[str, str],
        log: Path,
        probe: str,
        options: Sequence[str] = (),
    ) -> None:
        self.port = port
        self._log = log
        self._probe = probe
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            *(str(environment / "bin" / "python"), "-Sc", DIE_WITH_PARENT),
            *(str(environment / "bin" / "uwsgi"), f"--home={environment}", *UWSGI),
            *(f"--http-socket=127.0.0.1:{port}", f"--module={module}", *options),
        ]

    def launch(self) -> None:
        """Start the process without waiting for it; does nothing if it runs."""
        if self._process is None or self._process.poll() is not None:
            self._process = _LAUNCHER.submit(self._popen).result()

    def wait_until_ready(self) -> None:
        """Wait until the application answers.

        Raises RuntimeError with the end of the log if the process ends or 60 seconds pass first.
        """
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended while it started\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer after {START_SECONDS:.0f} seconds\n{self._log_tail()}")
            time.sleep(0.05)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.launch()
        self.wait_until_ready()

    def stop(self) -> None:
        """Ask the process to end, wait for that, and kill it after 10 seconds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a power cut would."""
        self._end(signal.SIGKILL)

    def _popen(self) -> subprocess.Popen[bytes]:
        # Only what it needs: no proxies, no Python options, no OS_* variables of whoever runs the tests.
        variables = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **self._variables}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", self._probe)
            return connection.getresponse().status < 500
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        # Once it has been waited for, its id may be another's.
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, how)
        try:
            # Its port is free only when it has ended.
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])
