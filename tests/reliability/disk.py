"""A disk whose power can be cut: an image file, mounted through a loop device.

What is cut off is the file system: it forgets whatever it has not written to the disk, data and journal, and refuses
everything from then on. A disk that lies about what it has flushed is not shown here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.trial import FAILED, Missing
from tests.support import process
from tests.support.images import apt_get

SIZE = 320 * 1024 * 1024  # bytes: the least that mkfs.xfs takes
APART = "RESUMABLE_GLANCE_MOUNTS_APART"
_SHUTDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN, and of ext4
_LOSE_THE_LOG = 2  # XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
_PACKAGES = {"mkfs.ext4": "e2fsprogs", "mkfs.xfs": "xfsprogs", "mount": "mount", "unshare": "util-linux"}


class Disk:
    """A new file system of a `kind` on `directory`/disk, mounted at `directory`/mounted."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.mounted = directory / "mounted"
        self._image = directory / "disk"
        self.mounted.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        _call(f"mkfs.{kind}", "-q", str(self._image))
        self.mount()

    def mount(self) -> None:
        """What the journal has is done again, and nothing else is there."""
        _call("mount", "-o", "loop", str(self._image), str(self.mounted))

    def cut(self) -> None:
        """Lose power. Every call fails from now on, and unmount() and mount() bring back what was durable."""
        descriptor = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _LOSE_THE_LOG))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """The loop device goes with it."""
        _call("umount", str(self.mounted))


@contextlib.contextmanager
def disk(directory: Path, kind: str) -> Iterator[Disk]:
    made = Disk(directory, kind)
    try:
        yield made
    finally:
        with contextlib.suppress(RuntimeError):  # it may be unmounted already
            made.unmount()


def check_machine() -> None:
    """Missing if there can be no such disks here. Where a program is missing, and we may, it is installed first."""
    if os.getuid() or not Path("/dev/loop-control").exists():
        raise Missing("mounting a disk image needs root and loop devices")
    for program, package in _PACKAGES.items():
        if not shutil.which(program) and shutil.which("apt-get"):
            with contextlib.suppress(subprocess.CalledProcessError):
                apt_get("install", "--yes", "--no-install-recommends", package)
        if not shutil.which(program):
            raise Missing(f"{program} is missing (Debian: apt install {package})")


def apart(module: str, count: int, seed: int) -> str:
    """Run a trial in a process whose mounts nobody else sees, so that they end with it; its result, as JSON.

    It finds a directory for everything in the variable APART.
    """
    memory = Path("/dev/shm")  # what survives a cut is a matter of the file system, not of the disk below
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        log, result, within = Path(name) / "log", Path(name) / "result", Path(name) / "within"
        within.mkdir()
        command = [sys.executable, "-m", module, "--count", str(count), "--seed", str(seed), "--result", str(result)]
        unshare = shutil.which("unshare") or "unshare"
        running = process.launch([unshare, "--mount", *command], log=log, variables={**os.environ, APART: str(within)})
        try:
            status = running.wait()
        finally:
            process.end(running, signal.SIGKILL)
        assert status != FAILED, log.read_text()
        if status:
            raise RuntimeError(f"the trial ended with {status}\n{process.tail(log)}")
        return result.read_text()


def _call(*command: str) -> None:
    """Run a command; where something is still busy, again."""
    for attempt in range(20):
        done = subprocess.run(command, capture_output=True, text=True)
        if not done.returncode:
            return
        time.sleep(0.01 * attempt)
    raise RuntimeError(f"{command}: {done.stderr}")
