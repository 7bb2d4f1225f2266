"""A disk whose power can be cut: an image file, mounted through a loop device.

The cut shuts down the file system: it forgets all data and journal entries that it has not written to the disk, and
fails every later call. Disks that report a flush too early are not tried.
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
    """A new file system of this kind in the image `directory`/disk, mounted at `directory`/mounted."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.mounted = directory / "mounted"
        self._image = directory / "disk"
        self.mounted.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        _call(f"mkfs.{kind}", "-q", str(self._image))
        self.mount()

    def mount(self) -> None:
        """Mount the file system, which replays its journal."""
        _call("mount", "-o", "loop", str(self._image), str(self.mounted))

    def cut(self) -> None:
        """Cut the power. Every call fails until unmount() and mount(), which bring back the durable state."""
        descriptor = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _LOSE_THE_LOG))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Unmount the file system, and free its loop device."""
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
    """Install missing programs, if we may. Missing if this machine can't have such disks."""
    if os.getuid() or not Path("/dev/loop-control").exists():
        raise Missing("mounting a disk image needs root and loop devices")
    for program, package in _PACKAGES.items():
        if not shutil.which(program) and shutil.which("apt-get"):
            with contextlib.suppress(subprocess.CalledProcessError):
                apt_get("install", "--yes", "--no-install-recommends", package)
        if not shutil.which(program):
            raise Missing(f"{program} is missing (Debian: apt install {package})")


def apart(module: str, count: int, seed: int) -> str:
    """Run a trial in a process with its own mount namespace, so that its mounts end with it; return its JSON result.

    The variable APART has a directory for all its files.
    """
    memory = Path("/dev/shm")  # the file system decides what survives a cut, not the disk below it
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
    """Run a command, again while a device is busy."""
    for attempt in range(20):
        done = subprocess.run(command, capture_output=True, text=True)
        if not done.returncode:
            return
        time.sleep(0.01 * attempt)
    raise RuntimeError(f"{command}: {done.stderr}")
