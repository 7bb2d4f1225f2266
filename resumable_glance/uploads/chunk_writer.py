"""One chunk's way from a request's body to durable extents.

Its one rule: data is durable on scratch before the catalog names it, and only what the catalog names counts.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from resumable_glance.errors import Reason, Refused
from resumable_glance.images.inspection import Head
from resumable_glance.model.commands import Chunk
from resumable_glance.model.digests import Digest, MultiHasher, hasher
from resumable_glance.model.ranges import Range, Segment, segments
from resumable_glance.model.upload import Extent
from resumable_glance.storage.base import StorageFile
from resumable_glance.uploads.write_locks import Body, WriteLock

LOG = logging.getLogger(__name__)
BATCH = 1024 * 1024  # bytes gathered for one hop to a thread: a hop costs 77 us, a megabyte of md5 1.4 ms
GATHER_TIMEOUT = (
    5.0  # seconds for which it is gathered: else a thousand slow clients would fill a gigabyte of memory with theirs
)
MARK = "xxh3"  # what an extent is checked by: it costs a twentieth of md5, or less
_INTERRUPTIONS = {
    Reason.DISCONNECTED,
    Reason.STALLED,
    Reason.SUPERSEDED,
    Reason.CLOSING,
    Reason.BODY_TOO_SHORT,
    Reason.BODY_TOO_LONG,
}

Commit = Callable[[list[Extent]], Awaitable[object]]


class ChunkWriter:
    """Takes one chunk in. Bytes that are durable already are compared, all others are written.

    `place` is where its bytes belong, `durable` the ranges that the catalog has; `commit` names new extents in it;
    `commit_size` in bytes. `head`: with it there are enough bytes to judge that.
    """

    def __init__(
        self,
        chunk: Chunk,
        place: Range,
        durable: list[Range],
        file: StorageFile,
        commit: Commit,
        commit_size: int,
        head: Head | None = None,
    ) -> None:
        self._chunk = chunk
        self._place = place
        self._segments = list(segments(place, durable))
        self._file = file
        self._commit_extents = commit
        self._commit_size = commit_size
        self._head = head
        self._position = place.start
        self._tally = MultiHasher(*(each.algorithm for each in chunk.declared))
        # Of a chunk that is one new extent, the declared digest is the extent's, too.
        self._whole = bool(chunk.declared) and self._segments == [Segment(place, durable=False)]
        self._mark = hasher(MARK)
        self._begun: int | None = None  # where the extent that is being written began
        self._extents: list[Extent] = []  # complete, but not in the catalog yet
        self._uncommitted = 0  # bytes
        self._differs = False

    async def run(self, body: Body, lease: WriteLock) -> None:
        """Take the whole body. Refused, Objection, or OSError from scratch; what must not be kept is not kept."""
        try:
            await self._take(body, lease)
        except Refused as refusal:
            # A chunk with a digest is all or nothing; of another one every byte that came is kept.
            if refusal.reason in _INTERRUPTIONS and not self._chunk.declared:
                await self._commit()
            if refusal.reason is not Reason.SUPERSEDED or not self._has_all:
                raise
        check_digests(self._tally, self._chunk.declared)
        if self._differs:
            raise different_bytes()
        await self._commit()

    async def _take(self, body: Body, lease: WriteLock) -> None:
        async for batch in gathered(body, lease, self._place.length):
            rest = memoryview(batch)
            while rest:
                rest = rest[await self._put(rest) :]
            if self._uncommitted >= self._commit_size and self._may_commit():
                await self._commit()
        if self._chunk.length is not None and self._position < self._place.stop:
            raise Refused(
                Reason.BODY_TOO_SHORT,
                f"The body ended {self._place.stop - self._position} bytes before its range does.",
            )

    @property
    def _has_all(self) -> bool:
        """Whether only the end of the body was not read yet: then there was nothing left to take over."""
        return self._chunk.length is not None and self._position == self._place.stop

    def _may_commit(self) -> bool:
        # Not while there is something left to check: an upload must not become a mixture of two files.
        return not self._chunk.declared and not any(each.durable for each in self._segments)

    async def _put(self, data: memoryview) -> int:
        """Compare or write as much of `data` as lies in the current segment; the number of bytes used."""
        segment = self._segments[0]
        data = data[: segment.range.stop - self._position]
        take = self._compare if segment.durable else self._write
        hashing = asyncio.create_task(asyncio.to_thread(self._hash, data, not segment.durable))
        try:  # not gather(): when it is cancelled it does not wait for what can't be stopped
            await take(data)
        finally:
            await hashing
        self._position += len(data)
        if self._position == segment.range.stop:
            self._segments.pop(0)
            self._end_extent()
        head = self._head
        if head is not None and head.found is None and self._position >= head.length:
            await asyncio.to_thread(head.judge, await self._file.read(0, head.length))
        return len(data)

    def _hash(self, data: memoryview, mark: bool) -> None:
        self._tally.update(data)
        if mark:
            self._mark.update(data)

    async def _compare(self, data: memoryview) -> None:
        if await self._file.read(self._position, len(data)) != data:
            if not self._chunk.declared:
                raise different_bytes()
            self._differs = True  # said at the end, for the digest may tell that it happened on the way here

    async def _write(self, data: memoryview) -> None:
        if self._begun is None:
            self._begun = self._position
        self._uncommitted += len(data)
        await self._file.write(self._position, data)

    def _end_extent(self) -> None:
        """What was written since the last extent becomes one."""
        if self._begun is None:
            return
        mark = Digest(MARK, self._mark.digest())
        digests = (self._chunk.declared[0], mark) if self._whole else (mark,)
        self._extents.append(Extent(Range(self._begun, self._position), *digests))
        self._begun, self._mark = None, hasher(MARK)

    async def _commit(self) -> None:
        self._end_extent()
        extents, self._extents, self._uncommitted = self._extents, [], 0
        if extents:
            await self._file.sync()
            await self._commit_extents(extents)


def check_digests(tally: MultiHasher, declared: Sequence[Digest]) -> None:
    """Refused: CHUNK_DIGEST_MISMATCH where a digest of the body that was declared does not hold."""
    for each in declared:
        if not tally.digest(each.algorithm).matches(each):
            raise Refused(
                Reason.CHUNK_DIGEST_MISMATCH,
                f"The body's {each.algorithm} is not the declared one: it was changed on the way, or is not what was "
                "meant to be sent. Nothing of it was kept; send it again.",
            )


def different_bytes() -> Refused:
    return Refused(
        Reason.DIFFERENT_BYTES,
        "Other bytes were received in this range before. Is it the same file? They stay as they are.",
    )


async def gathered(body: Body, lease: WriteLock, length: int) -> AsyncIterator[bytes | memoryview]:
    """The body in batches. Whatever came before an interruption is given first; then it is raised.

    Refused: BODY_TOO_LONG after the first `length` bytes, or as Lease.read.
    """
    now = asyncio.get_running_loop().time
    pieces: list[bytes] = []
    held, left = 0, length
    began = now()
    interruption: Refused | None = None
    ended = False
    while not ended:
        try:
            piece = await lease.read(body) if interruption is None else body.arrived()
        except Refused as refusal:
            interruption = refusal
            continue
        if len(piece) > left:
            interruption = Refused(Reason.BODY_TOO_LONG, f"The body is longer than the {length} bytes of its place.")
            piece = piece[:left]
        left -= len(piece)
        ended = not piece
        batch = piece if isinstance(piece, memoryview) else b""  # it was gathered already, and is gone with the next
        if not batch:
            pieces.append(bytes(piece))
            held += len(piece)
        if held and (batch or ended or held >= BATCH or now() >= began + GATHER_TIMEOUT):
            yield b"".join(pieces)
            pieces, held, began = [], 0, now()
        if batch:
            yield batch
    if interruption is not None:
        raise interruption


def storage_failure(problem: OSError | EOFError) -> Refused:
    """What a client is told when scratch fails. Acknowledged bytes are safe in any case."""
    LOG.error("Scratch failed: %s", problem)
    if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Refused(
            Reason.NO_SPACE,
            "There is no space for these bytes right now. What was acknowledged is safe; try later.",
            retry_after=60,
        )
    return Refused(
        Reason.SCRATCH_FAILED,
        "These bytes could not be stored. What was acknowledged is safe; send them again.",
        retry_after=5,
    )
