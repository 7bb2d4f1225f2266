"""Storage for the bytes of uploads. tests/contracts/storage.py checks that a member keeps this contract.

DO    await `sync()` before bytes are reported as durable.
DO    treat bytes that were written but not synced as lost.
DON'T call `sync()` again after it failed: the kernel may have dropped the pages, and then reports success. Write the
      bytes since the last successful `sync()` again.
DON'T derive from storage how much of an upload has come. Only the catalog knows.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol

UPLOAD_ID = re.compile(r"[a-z0-9]{1,16}-[0-9a-f]{32}")


class StorageFile(Protocol):
    """The bytes of one upload, opened by one writer. Positions and lengths in bytes; any method may raise OSError."""

    async def write(self, position: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `position`; durable only after sync()."""

    async def zero(self, position: int, length: int) -> None:
        """Fill a range with zeros, durably only after sync().

        The file is extended to the range's end. Holes stay holes where the storage has them: a long run of zeros then
        takes neither space nor time.
        """

    async def sync(self) -> None:
        """Make everything durable that was written through this object."""

    async def read(self, position: int, length: int) -> bytes:
        """Return exactly `length` bytes; holes read as zeros. Raises EOFError if the file ends before."""


class UploadStorage(Protocol):
    """The files of all uploads. Any method may raise OSError."""

    async def create(self, upload_id: str, size: int) -> None:
        """Create a file of zeros, durably; writes may extend it. Raises FileExistsError if there is one."""

    def open(self, upload_id: str) -> AbstractAsyncContextManager[StorageFile]:
        """Open a file for reading and writing. Raises FileNotFoundError."""

    def reader(self, upload_id: str) -> BinaryIO:
        """Open a file for blocking reads from its start; they also see later writes. Raises FileNotFoundError."""

    async def remove(self, upload_id: str) -> None:
        """Remove a file, durably, if there is one."""

    def uploads(self) -> AsyncIterator[str]:
        """Yield the ids of all uploads that have a file, in no order."""

    async def free(self) -> int:
        """Return the number of bytes that can still be written."""

    def close(self) -> None:
        """Let other processes have the storage."""

    async def check(self) -> None:
        """Write a few bytes durably, and remove them. Raises OSError if that fails."""


def checked(upload_id: str) -> str:
    """Return `upload_id`. Raises ValueError for anything that must not become a file name."""
    if not UPLOAD_ID.fullmatch(upload_id):
        raise ValueError("not an upload id")
    return upload_id
