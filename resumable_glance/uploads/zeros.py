"""A run of zeros that was declared instead of sent, of any length.

Its one rule: it is taken as a whole or not at all. What is durable there must be zeros; all the rest becomes zeros,
for an interrupted chunk may have left its bytes there, and a restart does not remove them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Chunk
from resumable_glance.model.digests import ZEROS, MultiHasher, only_zeros
from resumable_glance.model.ranges import Range, segments
from resumable_glance.model.upload import Extent
from resumable_glance.storage.base import StorageFile
from resumable_glance.uploads import chunk_writer
from resumable_glance.uploads.chunk_writer import Commit, check_digests, different_bytes
from resumable_glance.uploads.write_locks import Body, WriteLock

STEP = 256 * 1024 * 1024  # bytes for one hop to a thread: where a file system has no holes, they are all written


async def take(
    chunk: Chunk, place: Range, known: Sequence[Extent], file: StorageFile, commit: Commit, body: Body, lease: WriteLock
) -> None:
    """Let `place` be durable zeros; `known` are the extents there. Refused, or OSError from scratch."""
    if await lease.read(body):
        raise Refused(Reason.BODY_TOO_LONG, "A run of zeros has no body: its range says everything.")
    check_digests(MultiHasher(*(each.algorithm for each in chunk.declared)), chunk.declared)
    durable = [each.range for each in known]
    marked = [each.range for each in known if each.digest == ZEROS]
    for each in _others(place, marked):
        for held in segments(each, durable):
            if held.durable:
                await _compare(held.range, file, lease)
    new = list(_others(place, durable))
    for each in new:
        for step in _cut(each, STEP):
            lease.check()
            await file.zero(step.start, step.length)
    if new:
        await file.sync()
        await commit([Extent(each, ZEROS) for each in new])


async def _compare(range_: Range, file: StorageFile, lease: WriteLock) -> None:
    for each in _cut(range_, chunk_writer.BATCH):
        lease.check()
        if not only_zeros(await file.read(each.start, each.length)):
            raise different_bytes()


def _others(place: Range, known: Sequence[Range]) -> Iterator[Range]:
    """What of a place is not in the known ranges."""
    return (each.range for each in segments(place, known) if not each.durable)


def _cut(range_: Range, length: int) -> Iterator[Range]:
    """A range in pieces of at most `length` bytes."""
    for start in range(range_.start, range_.stop, length):
        yield Range(start, min(start + length, range_.stop))
