"""Storage in a local directory, the scratch directory: a sparse file per upload, accessed in threads by aiofiles.

Creations and removals are durable when they return, since the directory is synced too; data is durable after `sync()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import BinaryIO, TypeVar

import aiofiles.os

from resumable_glance.errors import CannotStart
from resumable_glance.runtime.durable import make_directory, sync_directory
from resumable_glance.storage.base import UPLOAD_ID, checked

T = TypeVar("T")
_SUFFIX = ".upload"
_ZEROS = memoryview(bytes(1024 * 1024))


class InUse(CannotStart):
    """Another process uses this scratch directory."""


class LocalStorageFile:
    """A file that is open for reading and writing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write(self, position: int, data: bytes | memoryview) -> None:
        await _to_its_end(_write_all(self._descriptor, data, position))

    async def zero(self, position: int, length: int) -> None:
        await _to_its_end(_zero_all(self._descriptor, position, length))

    async def sync(self) -> None:
        await _to_its_end(_fdatasync(self._descriptor))

    async def read(self, position: int, length: int) -> bytes:
        data = await _to_its_end(_pread(self._descriptor, length, position))
        if len(data) < length:
            raise EOFError(f"only {len(data)} of {length} bytes are there at {position}")
        return data


class LocalStorage:
    """A scratch directory, locked for this process until close().

    Raises:
        InUse: another process has locked it.
        OSError: it can't be created or written to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        make_directory(directory)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise InUse(
                f"{directory} is in use by another resumable-glance. Give each instance a scratch directory of its own."
            ) from None
        self._uploads = directory / "uploads"
        make_directory(self._uploads)

    def close(self) -> None:
        os.close(self._lock)

    async def create(self, upload_id: str, size: int) -> None:
        await _create(self._path(upload_id), size)

    @contextlib.asynccontextmanager
    async def open(self, upload_id: str) -> AsyncIterator[LocalStorageFile]:
        opened: list[int] = []  # filled in the thread, so that the file is closed even if this task is cancelled
        try:
            await _to_its_end(_open(self._path(upload_id), opened))
            yield LocalStorageFile(opened[0])
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def reader(self, upload_id: str) -> BinaryIO:
        return os.fdopen(os.open(self._path(upload_id), os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0)

    async def remove(self, upload_id: str) -> None:
        await _remove(self._path(upload_id))

    async def uploads(self) -> AsyncIterator[str]:
        for name in await _listed(self._uploads):
            upload_id = name.removesuffix(_SUFFIX)
            if upload_id != name and UPLOAD_ID.fullmatch(upload_id):  # other files are not ours
                yield upload_id

    async def free(self) -> int:
        return await _free(self._uploads)

    async def check(self) -> None:
        await _probe(self.directory / "probe")

    def _path(self, upload_id: str) -> Path:
        return self._uploads / (checked(upload_id) + _SUFFIX)


async def _to_its_end(call: Awaitable[T]) -> T:
    """Await the end of a call in a thread, even if cancelled.

    The thread can't be stopped. If it outlived its descriptor, it would write late, or into another file that has got
    the same descriptor by then.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


# Each of these is one hop to a thread, since a hop costs more than most system calls.


@aiofiles.os.wrap
def _pread(descriptor: int, length: int, position: int) -> bytes:
    return os.pread(descriptor, length, position)


@aiofiles.os.wrap
def _fdatasync(descriptor: int) -> None:
    os.fdatasync(descriptor)


@aiofiles.os.wrap
def _listed(directory: Path) -> list[str]:
    return os.listdir(directory)


@aiofiles.os.wrap
def _open(path: Path, opened: list[int]) -> None:
    opened.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))


@aiofiles.os.wrap
def _write_all(descriptor: int, data: bytes | memoryview, position: int) -> None:
    _put(descriptor, data, position)
    # Linux starts writeback now, without waiting for it: the disk works while more bytes come, and sync() is short.
    with contextlib.suppress(OSError):  # a failure is reported by sync()
        os.posix_fadvise(descriptor, position, len(data), os.POSIX_FADV_DONTNEED)


def _put(descriptor: int, data: bytes | memoryview, position: int) -> None:
    rest = memoryview(data)
    while rest:  # a nearly full disk writes a part first; ENOSPC comes with the next call
        written = os.pwrite(descriptor, rest, position)
        position += written
        rest = rest[written:]


@aiofiles.os.wrap
def _zero_all(descriptor: int, position: int, length: int) -> None:
    """Overwrite what is not a hole. Python can't punch holes, nor can every file system."""
    stop = position + length
    while (position := _next_data(descriptor, position, stop)) < stop:
        end = min(stop, os.lseek(descriptor, position, os.SEEK_HOLE))
        while position < end:
            piece = min(end - position, len(_ZEROS))
            _put(descriptor, _ZEROS[:piece], position)
            position += piece
    if length and os.fstat(descriptor).st_size < stop:
        _put(descriptor, b"\0", stop - 1)  # not ftruncate(): it would cut off what another chunk has just written


def _next_data(descriptor: int, position: int, stop: int) -> int:
    """Return the position of the next data, at most `stop`."""
    try:
        return min(stop, os.lseek(descriptor, position, os.SEEK_DATA))
    except OSError as problem:
        if problem.errno != errno.ENXIO:
            raise
        return stop  # only a hole is left


@aiofiles.os.wrap
def _create(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


@aiofiles.os.wrap
def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_directory(path.parent)  # in any case: an earlier removal may have failed here


@aiofiles.os.wrap
def _probe(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, b"x", 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.unlink(path)


@aiofiles.os.wrap
def _free(directory: Path) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
