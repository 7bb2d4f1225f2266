"""Scratch in memory, stricter than any disk: what was not synced is really gone after `crash()`.

A member of the family for tests: it can run out of space, fail any call once, and lose power.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from resumable_glance.storage.base import checked


@dataclass
class _Stored:
    size: int
    durable: bytearray
    current: bytearray
    used: int = 0

    def grow(self, size: int) -> None:
        """A file whose size was not known grows with what is written; the new bytes are zeros."""
        for content in (self.durable, self.current):
            content.extend(bytes(max(0, size - len(content))))


class MemoryStorageFile:
    def __init__(self, storage: MemoryStorage, stored: _Stored) -> None:
        self._storage = storage
        self._stored = stored
        self._written: list[tuple[int, bytes]] = []

    async def write(self, position: int, data: bytes | memoryview) -> None:
        self._storage.fail("write")
        taken = bytes(data)
        if len(taken) > await self._storage.free():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._stored.used += len(taken)
        self._stored.grow(position + len(taken))
        self._stored.current[position : position + len(taken)] = taken
        self._written.append((position, taken))

    async def zero(self, position: int, length: int) -> None:
        self._storage.fail("zero")
        self._stored.grow(position + length)
        self._stored.current[position : position + length] = bytes(length)
        self._written.append((position, bytes(length)))

    async def sync(self) -> None:
        written, self._written = self._written, []  # a failed sync forgets them, as the kernel does
        self._storage.fail("sync")
        for position, taken in written:
            self._stored.durable[position : position + len(taken)] = taken

    async def read(self, position: int, length: int) -> bytes:
        self._storage.fail("read")
        data = bytes(self._stored.current[position : position + length])
        if len(data) < length:
            raise EOFError(f"{length} bytes wanted at {position}, {len(data)} there")
        return data


class _Reader(io.RawIOBase):
    """Reads what is there when it is read, as from a file."""

    def __init__(self, stored: _Stored) -> None:
        self._stored = stored
        self._position = 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_CUR, /) -> int:
        assert whence == os.SEEK_CUR
        self._position += offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        piece = self._stored.current[self._position : self._position + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class MemoryStorage:
    """`capacity` in bytes. `faults` maps an operation (create, write, sync, read ...) to the errno of its next call."""

    file: type[MemoryStorageFile] = MemoryStorageFile

    def __init__(self, capacity: int = 1 << 32) -> None:
        self.capacity = capacity
        self.faults: dict[str, int] = {}
        self._stored: dict[str, _Stored] = {}

    @property
    def used(self) -> int:
        """Bytes that were written to what is there."""
        return sum(each.used for each in self._stored.values())

    def crash(self, *, keeps: bool = False) -> None:
        """Lose power: only what was synced is there afterwards. `keeps`: by chance what was not is there, too."""
        for stored in self._stored.values():
            if keeps:
                stored.durable[:] = stored.current
            else:
                stored.current[:] = stored.durable

    def fail(self, operation: str) -> None:
        number = self.faults.pop(operation, None)
        if number is not None:
            raise OSError(number, os.strerror(number))

    async def create(self, upload_id: str, size: int) -> None:
        self.fail("create")
        if checked(upload_id) in self._stored:
            raise FileExistsError(upload_id)
        self._stored[upload_id] = _Stored(size, bytearray(size), bytearray(size))

    @contextlib.asynccontextmanager
    async def open(self, upload_id: str) -> AsyncIterator[MemoryStorageFile]:
        yield self.file(self, self._found(upload_id))

    def reader(self, upload_id: str) -> BinaryIO:
        self.fail("reader")
        return cast(BinaryIO, _Reader(self._found(upload_id)))

    async def remove(self, upload_id: str) -> None:
        self._stored.pop(checked(upload_id), None)

    def content(self, upload_id: str) -> bytearray:
        """The bytes of an upload themselves, for a test that damages them."""
        return self._found(upload_id).current

    async def uploads(self) -> AsyncIterator[str]:
        for upload_id in list(self._stored):
            yield upload_id

    async def free(self) -> int:
        return max(0, self.capacity - self.used)

    def close(self) -> None:
        """Do nothing: memory has no other users."""

    async def check(self) -> None:
        self.fail("check")
        if not await self.free():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _found(self, upload_id: str) -> _Stored:
        try:
            return self._stored[checked(upload_id)]
        except KeyError:
            raise FileNotFoundError(upload_id) from None
