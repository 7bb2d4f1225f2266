"""What the bytes of a complete upload are read through: each extent is checked before its last byte is given.

So whoever reads never gets all bytes of something that is not what was received. Blocking; for a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import BinaryIO

from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import PIECE, Actor, DeliveryFailed, ImageService
from resumable_glance.model.digests import Digest, MultiHasher, hasher
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, Proof, Upload, known
from resumable_glance.storage.base import UploadStorage

LOG = logging.getLogger(__name__)


class HandoffStopped(Exception):
    """Somebody wants this delivery to end: the service stops, or the upload is cancelled."""


class StorageDiffers(Exception):
    """Scratch does not give back the bytes that were received."""


class StorageUnreadable(StorageDiffers):
    """Scratch gives nothing back right now. The bytes may be there all the same."""


class VerifyingReader:
    """The bytes of an upload, once, in order; a sink's Source. `extents` may be known only when they are needed.

    Raises StorageDiffers, or Halted once `halt` is set. `told` hears how many bytes were given so far.
    """

    def __init__(
        self,
        file: BinaryIO | ConcatReader,
        upload: Upload,
        extents: Iterator[Extent],
        halt: threading.Event,
        told: Callable[[int], None],
    ) -> None:
        self._file = file
        self._extents = extents
        self._extent: Extent | None = None
        self._halt = halt
        self._told = told
        self._position = 0
        self._tally = MultiHasher("md5", "sha512", *(each.algorithm for each in upload.declared))
        self._declared = upload.declared

    def read(self, size: int = PIECE, /) -> bytes:
        if self._halt.is_set():
            raise HandoffStopped
        extent = self._extent = self._extent or next(self._extents, None)
        if extent is None:
            return b""
        if self._position == extent.range.start:
            self._hasher = hasher(extent.check.algorithm)
        piece = self._piece(min(size, PIECE, extent.range.stop - self._position))
        self._hasher.update(piece)
        self._tally.update(piece)
        self._position += len(piece)
        if self._position == extent.range.stop:
            if self._hasher.digest() != extent.check.value:
                raise StorageDiffers(
                    f"the bytes {extent.range.start} to {extent.range.stop - 1} have changed on scratch"
                )
            self._extent = None
        self._told(self._position)
        return piece

    def proof(self) -> Proof:
        """Over everything, once everything was read."""
        return Proof(self._tally.digest("md5").value.hex(), self._tally.digest("sha512").value.hex())

    def mismatches(self) -> list[str]:
        """The algorithms whose declared digest of the whole image does not hold."""
        return [each.algorithm for each in self._declared if not self.holds(each)]

    def holds(self, digest: Digest) -> bool:
        """Whether a digest of the whole is known to hold, once everything was read."""
        return digest.algorithm in self._tally and self._tally.digest(digest.algorithm).matches(digest)

    def _piece(self, size: int) -> bytes:
        try:
            piece = self._file.read(size)
        except OSError as problem:
            raise _unreadable(problem) from problem
        if not piece:
            raise StorageDiffers(f"scratch ends after {self._position} bytes")
        return piece


@contextlib.asynccontextmanager
async def opened(
    catalog: Catalog, scratch: UploadStorage, upload: Upload, halt: threading.Event, told: Callable[[int], None]
) -> AsyncIterator[VerifyingReader]:
    """A source of all bytes of an upload, whichever files they are in. StorageDiffers if one of those can't be read."""
    extents = await catalog.extents(upload.id)
    sizes = [part.size or 0 for each in upload.parts if (part := await catalog.get(each)) is not None]
    with contextlib.ExitStack() as stack:

        def opening() -> BinaryIO | ConcatReader:
            files = [stack.enter_context(scratch.reader(each)) for each in upload.files]
            return ConcatReader(zip(files, sizes, strict=True)) if upload.parts else files[0]

        try:
            file = await asyncio.to_thread(opening)
        except FileNotFoundError as problem:
            raise StorageDiffers("the scratch file is gone") from problem
        except OSError as problem:
            raise _unreadable(problem) from problem
        yield VerifyingReader(file, upload, iter(extents), halt, told)


async def content(
    catalog: Catalog, scratch: UploadStorage, sink: ImageService, upload: Upload, actor: Actor
) -> AsyncIterator[bytes]:
    """The bytes of a complete upload, from scratch as long as they wait there, then from the sink.

    Refused: SCRATCH_FAILED, IMAGE_SERVICE_UNAVAILABLE. What goes wrong later breaks the iteration off.
    """
    if upload.state is not State.ACTIVE:
        try:
            return await _begun(_waiting(catalog, scratch, upload))
        except StorageDiffers as problem:
            upload = await catalog.get(upload.id) or upload
            if upload.state is not State.ACTIVE:
                LOG.error("upload %s can't be read back: %s", upload.id, problem)
                raise Refused(Reason.SCRATCH_FAILED, "The bytes of this upload can't be read back.") from problem
    try:
        return await _begun(await sink.content(known(upload.image), actor))
    except DeliveryFailed as failed:
        raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, f"The image can't be read: {failed}", retry_after=5) from failed


def _unreadable(problem: OSError) -> StorageUnreadable:
    LOG.error("Scratch can't be read: %s", problem)  # a path: not for clients
    return StorageUnreadable("Scratch can't be read right now. It will be tried again.")


async def _waiting(catalog: Catalog, scratch: UploadStorage, upload: Upload) -> AsyncGenerator[bytes]:
    async with opened(catalog, scratch, upload, threading.Event(), lambda _: None) as source:
        while piece := await asyncio.to_thread(source.read, PIECE):
            yield piece


async def _begun(stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The same stream, after its first piece could be read: an answer can't be taken back once it has begun."""
    first = await anext(stream, b"")

    async def everything() -> AsyncGenerator[bytes]:
        async with contextlib.aclosing(stream):
            yield first
            async for piece in stream:
                yield piece

    return everything()


class ConcatReader:
    """Several files read as one: the first `size` bytes of each, in order."""

    def __init__(self, files: Iterator[tuple[BinaryIO, int]]) -> None:
        self._files = files
        self._file, self._left = next(files)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end, and where a file ends before it should."""
        while not self._left and (following := next(self._files, None)):
            self._file, self._left = following
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        return piece
