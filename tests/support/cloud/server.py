"""One WSGI application under uWSGI, which can be stopped and started again on the same port."""

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support import process

START_SECONDS = 60.0

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
)
# For those who use SQLAlchemy with SQLite.
BEGIN_IMMEDIATE = f"--shared-import={Path(__file__).with_name('begin_immediate.py')}"


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
            *(str(environment / "bin" / "uwsgi"), f"--home={environment}", *UWSGI),
            *(f"--http-socket=127.0.0.1:{port}", f"--module={module}", *options),
        ]

    def launch(self) -> None:
        """Start the process without waiting for it; does nothing if it runs."""
        if self._process is None or self._process.poll() is not None:
            # Only what it needs: no proxies, no Python options, no OS_* variables of whoever runs the tests.
            variables = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **self._variables}
            self._process = process.launch(self._command, log=self._log, variables=variables)

    def wait_until_ready(self) -> None:
        """Wait until the application answers.

        Raises RuntimeError with the end of the log if the process ends or 60 seconds pass first.
        """
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended while it started\n{process.tail(self._log)}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer after {START_SECONDS:.0f} seconds\n{process.tail(self._log)}")
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

    def send(self, which: signal.Signals) -> None:
        """Signal the process and those that it started."""
        assert self._process is not None
        os.killpg(self._process.pid, which)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", self._probe)
            return connection.getresponse().status < 500
        return False

    def _end(self, how: signal.Signals) -> None:
        running, self._process = self._process, None
        if running is not None:
            process.end(running, how)  # its port is free only when it has ended
