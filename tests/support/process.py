"""Processes that never outlive the one that started them, and are only ever signalled by their own id."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STOP_SECONDS = 10.0

# The kernel kills the process (signal 9) when its parent dies (prctl 1), however the parent dies.
_DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"

# For the kernel the parent is a thread. So all processes are started by this one, which lives until the end;
# a thread of an asyncio executor, say, would take the process with it.
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


def launch(command: Sequence[str], *, log: Path, variables: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a command (its first word a full path) in a session of its own; what it prints is added to `log`.

    `variables` are the whole of its environment; None passes on ours.
    """

    def popen() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-Sc", _DIE_WITH_PARENT, *command],
                env=None if variables is None else dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    return _LAUNCHER.submit(popen).result()


def end(process: subprocess.Popen[bytes], how: signal.Signals, patience: float = STOP_SECONDS) -> int:
    """Signal a process and those that it started; kill them after `patience` seconds. Returns its exit status."""
    if process.poll() is None:  # once it has been waited for, its id may be another's
        os.killpg(process.pid, how)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode


def tail(log: Path) -> str:
    """The last lines of a log, for an exception."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:])
