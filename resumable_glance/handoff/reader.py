"""Readers of uploads, which verify each extent before they give its last byte.

So a reader never gives all bytes of an upload that has changed in storage. Readers block; use them in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.recent_bytes import RecentBytes
from resumable_glance.images.base import PIECE, Actor, DeliveryFailed, ImageService
from resumable_glance.model.digests import ZEROS, Digest, MultiHasher, hasher
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, Proof, Upload, require
from resumable_glance.storage.base import UploadStorage

if TYPE_CHECKING:
    from resumable_glance.handoff.early import GrowingUpload

LOG = logging.getLogger(__name__)
_NOTHING = bytes(PIECE)


class HandoffStopped(Exception):
    """The handoff was stopped: the service stops, or the upload is being cancelled."""


class StorageDiffers(Exception):
    """Storage does not give back the bytes that were received."""


class StorageUnreadable(StorageDiffers):
    """Storage can't be read right now, though the bytes may be there."""


class VerifyingReader:
    """A stream of the bytes of an upload, as an image service reads it.

    `growth`, if any, limits how far an upload that is still receiving is read. `on_read` is called with the number of
    bytes given so far. There is no public way to measure or iterate it, since glanceclient would use that.
    """

    def __init__(
        self,
        file: BinaryIO | ConcatReader,
        extents: Iterator[Extent],
        declared: tuple[Digest, ...],
        stop: threading.Event,
        on_read: Callable[[int], None],
        growth: GrowingUpload | None = None,
    ) -> None:
        self._file = file
        self._extents = extents
        self._extent: Extent | None = None
        self._declared = declared
        self._stop = stop
        self._on_read = on_read
        self._growth = growth
        self._position = 0
        self._skipped = 0  # bytes of zeros that were given since the last read
        self._digests = MultiHasher("md5", "sha512", *(each.algorithm for each in declared))

    def read(self, size: int = PIECE, /) -> bytes:
        """Return the next bytes, at most PIECE of them; empty at the end.

        Raises:
            StorageDiffers: an extent is not what was received.
            HandoffStopped: `stop` is set.
        """
        size = min(size, PIECE)
        if self._growth is not None:
            size = min(size, self._growth.allow(self._position))
        if self._stop.is_set():
            raise HandoffStopped
        extent = self._extent = self._extent or next(self._extents, None)
        if extent is None:
            return b""
        if self._position == extent.range.start:
            self._hasher = hasher(extent.check.algorithm)
        size = min(size, extent.range.stop - self._position)
        if extent.check == ZEROS:
            piece = self._zeros(size)
        else:
            piece = self._piece(size)
            self._hasher.update(piece)
        self._digests.update(piece)
        self._position += len(piece)
        if self._position == extent.range.stop:
            if self._hasher.digest() != extent.check.value:
                raise StorageDiffers(f"bytes {extent.range.start}-{extent.range.stop - 1} have changed on scratch")
            self._extent = None
        if self._growth is not None:
            self._growth.check(self, self._position)
        self._on_read(self._position)
        return piece

    def proof(self) -> Proof:
        """Return the digests of all bytes, once all were read."""
        return Proof(self._digests.digest("md5").value.hex(), self._digests.digest("sha512").value.hex())

    def mismatches(self) -> list[str]:
        """Return the algorithms whose declared digest does not match, once all bytes were read."""
        return [each.algorithm for each in self._declared if not self.holds(each)]

    def holds(self, digest: Digest) -> bool:
        """Return whether a digest is known to match, once all bytes were read."""
        return digest.algorithm in self._digests and self._digests.digest(digest.algorithm).matches(digest)

    def _zeros(self, size: int) -> bytes:
        """Return declared zeros, which need no reading: reading a hole costs half as much as hashing it."""
        self._skipped += size
        return _NOTHING[:size]

    def _piece(self, size: int) -> bytes:
        try:
            if self._skipped:
                self._file.seek(self._skipped, os.SEEK_CUR)
                self._skipped = 0
            piece = self._file.read(size)
        except OSError as problem:
            raise _unreadable(problem) from problem
        if not piece:
            raise StorageDiffers(f"scratch ends after {self._position} bytes")
        return piece


class ConcatReader:
    """Several files as one, each up to its number of bytes. It can be read and sought forward, as files can."""

    def __init__(self, files: Iterator[tuple[BinaryIO, int]]) -> None:
        self._files = files
        self._file, self._left = next(files)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; empty at the end of a file."""
        while not self._left and (following := next(self._files, None)):
            self._file, self._left = following
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_CUR) -> None:
        """Skip `offset` bytes."""
        while offset > self._left:
            offset -= self._left
            self._file, self._left = next(self._files)
        self._file.seek(offset, whence)
        self._left -= offset


@dataclass(frozen=True)
class Readers:
    """Opens uploads for reading.

    `progress` has the bytes read by running handoffs, by upload; `lately` those that handoffs have read, by project.
    """

    uploads: UploadRecords
    storage: UploadStorage
    progress: dict[str, int] = field(default_factory=dict, init=False)
    lately: RecentBytes = field(default_factory=RecentBytes, init=False)

    def open(self, upload: Upload, stop: threading.Event) -> AbstractAsyncContextManager[VerifyingReader]:
        """Open a complete upload for its handoff. Raises StorageDiffers if its files can't be opened."""
        return self._opened(upload, stop, self._on_read(upload))

    @contextlib.asynccontextmanager
    async def open_growing(self, upload: Upload, growth: GrowingUpload) -> AsyncIterator[VerifyingReader]:
        """Open an upload that is still receiving, for its early delivery."""
        with await asyncio.to_thread(self.storage.reader, upload.id) as file:
            yield VerifyingReader(file, growth, upload.declared, growth.stop, self._on_read(upload), growth)

    async def stream(self, upload: Upload) -> AsyncGenerator[bytes]:
        """Yield the bytes of a complete upload."""
        async with self._opened(upload, threading.Event(), lambda _: None) as reader:
            while piece := await asyncio.to_thread(reader.read):
                yield piece

    def _on_read(self, upload: Upload) -> Callable[[int], None]:
        before = 0

        def on_read(position: int) -> None:
            nonlocal before
            self.progress[upload.id] = position
            self.lately.add(upload.owner.project_id, position - before)
            before = position

        return on_read

    @contextlib.asynccontextmanager
    async def _opened(
        self, upload: Upload, stop: threading.Event, on_read: Callable[[int], None]
    ) -> AsyncIterator[VerifyingReader]:
        extents = await self.uploads.extents(upload.id)
        sizes = [part.size or 0 for each in upload.parts if (part := await self.uploads.get(each)) is not None]
        with contextlib.ExitStack() as stack:

            def opening() -> BinaryIO | ConcatReader:
                files = [stack.enter_context(self.storage.reader(each)) for each in upload.files]
                return ConcatReader(zip(files, sizes, strict=True)) if upload.parts else files[0]

            try:
                file = await asyncio.to_thread(opening)
            except FileNotFoundError as problem:
                raise StorageDiffers("the scratch file is gone") from problem
            except OSError as problem:
                raise _unreadable(problem) from problem
            yield VerifyingReader(file, iter(extents), upload.declared, stop, on_read)


@dataclass(frozen=True)
class ContentReader:
    """The bytes of complete uploads for clients, from storage or the image."""

    uploads: UploadRecords
    readers: Readers
    images: ImageService

    async def open(self, upload: Upload, actor: Actor) -> AsyncIterator[bytes]:
        """Return the bytes of an upload, after a first read.

        Raises Refused: SCRATCH_FAILED, IMAGE_SERVICE_UNAVAILABLE.
        """
        if upload.state is not State.ACTIVE:
            try:
                return await _started(self.readers.stream(upload))
            except StorageDiffers as problem:
                upload = await self.uploads.get(upload.id) or upload
                if upload.state is not State.ACTIVE:
                    LOG.error("upload %s can't be read back: %s", upload.id, problem)
                    raise Refused(Reason.SCRATCH_FAILED, "The bytes of this upload can't be read back.") from problem
        try:
            return await _started(await self.images.content(require(upload.image), actor))
        except DeliveryFailed as failed:
            sentence = f"The image can't be read: {failed}"
            raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, sentence, retry_after=5) from failed


def _unreadable(problem: OSError) -> StorageUnreadable:
    LOG.error("scratch can't be read: %s", problem)  # not for clients: it has a path
    return StorageUnreadable("Scratch can't be read right now. It will be tried again.")


async def _started(stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Read the first piece of a stream, so that a failure can become a refusal."""
    first = await anext(stream, b"")

    async def everything() -> AsyncGenerator[bytes]:
        async with contextlib.aclosing(stream):
            yield first
            async for piece in stream:
                yield piece

    return everything()
