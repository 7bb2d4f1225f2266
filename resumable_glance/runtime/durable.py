"""Names that survive a power cut: a file that is flushed can still lose its name, and with it everything.

Here and in scratch/local.py every call to the file system is one of `os`, for which the tests have a strict disk.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make durable which names a directory has. To be called after a creation, a renaming or a removal in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """A directory for its user only (mode 0700) whose name is durable, and those above it that were missing, too."""
    there = os.path.isdir(directory)
    if not there:
        make_directory(directory.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
    try:
        sync_directory(directory.parent)  # in any case: an earlier start may have failed right here
    except PermissionError:
        if not there:
            raise
