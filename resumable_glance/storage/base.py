"""Where bytes wait. The contract that every kind of scratch keeps (testing.check_storage holds them to it).

DO    call `sync()` and await it before anybody is told that bytes are durable.
DO    treat bytes that were written but not synced as lost.
DON'T call `sync()` again after it failed: the kernel may have dropped the pages and call it a success.
      Forget what was not named durable, and write those bytes again.
DON'T ask scratch how much of an upload is there. It does not know; the catalog does.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol

UPLOAD_ID = re.compile(r"[a-z0-9]{1,16}-[0-9a-f]{32}")


class StorageFile(Protocol):
    """One upload's bytes, opened by one writer. Positions and lengths in bytes.

    Any method may raise OSError; FileNotFoundError from the opening one if there is no such file.
    """

    async def write(self, position: int, data: bytes | memoryview) -> None:
        """Put all of `data` at `position`. Not durable yet."""

    async def zero(self, position: int, length: int) -> None:
        """Let there be zeros, whatever was there, in a file that reaches so far. Not durable yet.

        What an interrupted writer left is overwritten. Where nothing was ever written nothing is written now, as far
        as the file system can tell: a run of zeros takes neither space nor time.
        """

    async def sync(self) -> None:
        """Make all that was written through this object durable."""

    async def read(self, position: int, length: int) -> bytes:
        """Exactly `length` bytes, or EOFError. Holes read as zeros."""


class UploadStorage(Protocol):
    async def create(self, upload_id: str, size: int) -> None:
        """Make a file of zeros that survives a crash from now on; writes may make it longer. FileExistsError if there
        is one."""

    def open(self, upload_id: str) -> AbstractAsyncContextManager[StorageFile]: ...

    def reader(self, upload_id: str) -> BinaryIO:
        """A blocking reader from the first byte on, for a thread of the handoff. It sees what is written later, too."""

    async def remove(self, upload_id: str) -> None:
        """Free the space. It is no error if there is nothing to free."""

    def uploads(self) -> AsyncIterator[str]:
        """The ids that have a file, in no order."""

    async def free(self) -> int:
        """Bytes that can still be written."""

    async def check(self) -> None:
        """Write a little, make it durable, and remove it. OSError if that can't be done."""


def checked(upload_id: str) -> str:
    """`upload_id`, if it has the form of one; ValueError keeps anything else away from the file system."""
    if not UPLOAD_ID.fullmatch(upload_id):
        raise ValueError("not an upload id")
    return upload_id
