"""Names of files and directories that survive a power cut: a flushed file can still lose its name.

Here and in storage/local.py all file system calls are those of `os`, for which the tests have a strict disk.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, after a creation, a renaming or a removal."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Create a directory with mode 0700, and missing ones above it; make their names durable."""
    there = os.path.isdir(directory)
    if not there:
        make_directory(directory.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
    try:
        sync_directory(directory.parent)  # in any case, since an earlier start may have failed right here
    except PermissionError:
        if not there:
            raise
