"""The writing of one chunk, sent or declared to be zeros, as durable extents.

Bytes are durable in storage before the catalog records them, and only recorded bytes count.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from resumable_glance.errors import Reason, Refused
from resumable_glance.images.inspection import ImageHead
from resumable_glance.model.commands import Chunk
from resumable_glance.model.digests import ZEROS, Digest, MultiHasher, hasher, only_zeros
from resumable_glance.model.ranges import Range, Segment, segments
from resumable_glance.model.upload import Extent
from resumable_glance.storage.base import StorageFile
from resumable_glance.uploads.body import BATCH, Body

LOG = logging.getLogger(__name__)
CHECKSUM = "xxh3"  # of extents: at least twenty times as fast as md5
ZEROS_STEP = 256 * 1024 * 1024  # bytes per hop to a thread: a file system without holes has to write them all
_INTERRUPTIONS = {
    Reason.DISCONNECTED,
    Reason.STALLED,
    Reason.SUPERSEDED,
    Reason.CLOSING,
    Reason.BODY_TOO_SHORT,
    Reason.BODY_TOO_LONG,
}

Commit = Callable[[list[Extent]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Target:
    """The range that a chunk may fill, and the durable extents in it."""

    range: Range
    extents: Sequence[Extent]

    @property
    def durable(self) -> list[Range]:
        """The ranges of the durable extents."""
        return [each.range for each in self.extents]


class ChunkWriter:
    """Writes the body of one chunk, and compares bytes that are durable already.

    `commit` records new extents in the catalog, after each `commit_size` bytes where possible. The image's `head` is
    inspected once the chunk completes it.
    """

    def __init__(
        self,
        chunk: Chunk,
        target: Target,
        file: StorageFile,
        commit: Commit,
        commit_size: int,
        head: ImageHead | None = None,
    ) -> None:
        self._chunk = chunk
        self._target = target.range
        self._segments = list(segments(target.range, target.durable))
        self._file = file
        self._commit_extents = commit
        self._commit_size = commit_size
        self._head = head
        self._position = target.range.start
        self._declared = MultiHasher(*(each.algorithm for each in chunk.declared))
        # Whether the chunk becomes one extent, which takes over its declared digest.
        self._whole = bool(chunk.declared) and self._segments == [Segment(target.range, durable=False)]
        self._checksum = hasher(CHECKSUM)
        self._begun: int | None = None  # the start of the extent being written
        self._extents: list[Extent] = []  # complete, but not committed
        self._uncommitted = 0  # bytes
        self._differs = False

    async def run(self, body: Body) -> None:
        """Write the whole body, and commit what may be kept. Raises Refused, ImageRejected, OSError."""
        try:
            await self._write_body(body)
        except Refused as refusal:
            # A chunk with a digest is kept as a whole or not at all; of others, all bytes that came are kept.
            if refusal.reason in _INTERRUPTIONS and not self._chunk.declared:
                await self._commit()
            only_the_end_is_missing = self._chunk.length is not None and self._position == self._target.stop
            if refusal.reason is not Reason.SUPERSEDED or not only_the_end_is_missing:
                raise
        check_digests(self._declared, self._chunk.declared)
        if self._differs:
            raise _different_bytes()
        await self._commit()

    async def _write_body(self, body: Body) -> None:
        async for batch in body.batches(self._target.length):
            rest = batch
            while rest:
                rest = rest[await self._put(rest) :]
            if self._uncommitted >= self._commit_size and self._may_commit():
                await self._commit()
        if self._chunk.length is not None and self._position < self._target.stop:
            lacking = self._target.stop - self._position
            raise Refused(Reason.BODY_TOO_SHORT, f"The body ended {lacking} bytes before the end of its range.")

    def _may_commit(self) -> bool:
        # Not while bytes are left to check: an upload must not become a mixture of two files.
        return not self._chunk.declared and not any(each.durable for each in self._segments)

    async def _put(self, data: memoryview) -> int:
        """Compare or write `data` up to the segment's end; return the bytes used."""
        segment = self._segments[0]
        data = data[: segment.range.stop - self._position]
        put = self._compare if segment.durable else self._write
        hashing = asyncio.create_task(asyncio.to_thread(self._hash, data, not segment.durable))
        try:  # not gather(), which does not wait for threads when it is cancelled
            await put(data)
        finally:
            await hashing
        self._position += len(data)
        if self._position == segment.range.stop:
            self._segments.pop(0)
            self._end_extent()
        head = self._head
        if head is not None and head.format is None and self._position >= head.length:
            await asyncio.to_thread(head.inspect, await self._file.read(0, head.length))
        return len(data)

    def _hash(self, data: memoryview, checksum: bool) -> None:
        self._declared.update(data)
        if checksum:
            self._checksum.update(data)

    async def _compare(self, data: memoryview) -> None:
        if await self._file.read(self._position, len(data)) != data:
            if not self._chunk.declared:
                raise _different_bytes()
            self._differs = True  # refused at the end: the digest may show a transmission error instead

    async def _write(self, data: memoryview) -> None:
        if self._begun is None:
            self._begun = self._position
        self._uncommitted += len(data)
        await self._file.write(self._position, data)

    def _end_extent(self) -> None:
        """Complete the extent being written, if any."""
        if self._begun is None:
            return
        checksum = Digest(CHECKSUM, self._checksum.digest())
        digests = (self._chunk.declared[0], checksum) if self._whole else (checksum,)
        self._extents.append(Extent(Range(self._begun, self._position), *digests))
        self._begun, self._checksum = None, hasher(CHECKSUM)

    async def _commit(self) -> None:
        self._end_extent()
        extents, self._extents, self._uncommitted = self._extents, [], 0
        if extents:
            await self._file.sync()
            await self._commit_extents(extents)


async def write_zeros(chunk: Chunk, target: Target, file: StorageFile, commit: Commit, body: Body) -> None:
    """Write a chunk of declared zeros, as a whole or not at all.

    Durable bytes in its range must be zeros. All others are overwritten, since an interrupted chunk may have left bytes
    there. Raises Refused, OSError.
    """
    if not await body.is_empty():
        raise Refused(Reason.BODY_TOO_LONG, "A chunk of zeros has no body. Send its range only.")
    check_digests(MultiHasher(*(each.algorithm for each in chunk.declared)), chunk.declared)
    zeros = [each.range for each in target.extents if each.digest == ZEROS]
    for gap in _gaps(target.range, zeros):
        for segment in segments(gap, target.durable):
            if segment.durable:
                await _compare_with_zeros(segment.range, file, body)
    new = list(_gaps(target.range, target.durable))
    for gap in new:
        for step in _steps(gap, ZEROS_STEP):
            body.check()
            await file.zero(step.start, step.length)
    if new:
        await file.sync()
        await commit([Extent(each, ZEROS) for each in new])


async def _compare_with_zeros(range_: Range, file: StorageFile, body: Body) -> None:
    for step in _steps(range_, BATCH):
        body.check()
        if not only_zeros(await file.read(step.start, step.length)):
            raise _different_bytes()


def _gaps(range_: Range, known: Iterable[Range]) -> Iterator[Range]:
    return (each.range for each in segments(range_, known) if not each.durable)


def _steps(range_: Range, length: int) -> Iterator[Range]:
    """Cut a range into steps of at most `length` bytes."""
    for start in range(range_.start, range_.stop, length):
        yield Range(start, min(start + length, range_.stop))


def check_digests(hashed: MultiHasher, declared: Sequence[Digest]) -> None:
    """Raise Refused(CHUNK_DIGEST_MISMATCH) if a declared digest does not match."""
    for each in declared:
        if not hashed.digest(each.algorithm).matches(each):
            raise Refused(
                Reason.CHUNK_DIGEST_MISMATCH,
                f"The {each.algorithm} of the body is not the declared one, so nothing of it was kept. Send it again.",
            )


def _different_bytes() -> Refused:
    sentence = "This range has other bytes already, which stay as they are. Is it the same file?"
    return Refused(Reason.DIFFERENT_BYTES, sentence)


def storage_failure(problem: OSError | EOFError) -> Refused:
    """Return the refusal for a failure of storage or of the catalog."""
    LOG.error("storage failed: %s", problem)
    if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        sentence = "There is no space for these bytes right now. All acknowledged bytes are safe; try again later."
        return Refused(Reason.NO_SPACE, sentence, retry_after=60)
    sentence = "These bytes could not be stored. All acknowledged bytes are safe; send these again."
    return Refused(Reason.SCRATCH_FAILED, sentence, retry_after=5)
