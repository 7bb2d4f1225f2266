"""A file system of its own for the service, small enough to be filled: a tmpfs in a mount namespace of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.service import Service

# Root needs no namespace of users. Others do, and some systems forbid it to them.
NAMESPACE = [
    shutil.which("unshare") or "unshare",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
    "--mount",
]
MOUNTED = 'mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@"'


def refused() -> str:
    """Why nothing can be mounted here; empty if something can."""
    command = [*NAMESPACE, "sh", "-c", MOUNTED, "/mnt", "1m", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return f"this system lets us mount nothing: {tried.stderr.strip()}" if tried.returncode else ""


def put(service: Service, directory: Path, size: int) -> None:
    """Let a service, from its next start on, have a file system of `size` bytes for itself at `directory`."""
    directory.mkdir(exist_ok=True)
    service.within = [*NAMESPACE, "/bin/sh", "-c", MOUNTED, str(directory), str(size)]


def seen(service: Service, path: Path) -> Path:
    """A path as the running service sees it, for us."""
    return Path(f"/proc/{service.pid}/root{path}")


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
