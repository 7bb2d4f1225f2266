"""One chunk's way from a body to durable extents: what is committed is always what was sent."""

import asyncio
import contextlib
import dataclasses
import errno
import hashlib
import itertools
from collections.abc import Awaitable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.api.http11 import body as http_body
from resumable_glance.api.http11.body import RequestBody
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Chunk
from resumable_glance.model.digests import Digest, hasher
from resumable_glance.model.ranges import Range, merge
from resumable_glance.model.upload import Extent
from resumable_glance.uploads import chunk_writer
from resumable_glance.uploads.body import BATCH, Body
from resumable_glance.uploads.chunk_writer import ChunkWriter, Target, storage_failure
from resumable_glance.uploads.write_locks import WriteLocks
from tests.fakes.memory_body import PATIENCE, MemoryReceiver, body_of
from tests.fakes.memory_storage import MemoryStorage, MemoryStorageFile

T = TypeVar("T")
ID = "a-" + "0" * 32
DISCONNECTED = Refused(Reason.DISCONNECTED, "The connection ended before the body did.")


@dataclass
class Store:
    """A scratch file, and what the catalog would have."""

    size: int
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    extents: list[Extent] = field(default_factory=list)
    commits: list[list[Extent]] = field(default_factory=list)
    locks: WriteLocks = field(default_factory=WriteLocks)
    refuses_commits: bool = False

    @property
    def ranges(self) -> list[Range]:
        return sorted(each.range for each in self.extents)

    async def commit(self, new: list[Extent]) -> None:
        if self.refuses_commits:
            raise ConnectionError("the catalog is gone")
        self.commits.append(new)
        self.extents += new

    async def take(
        self,
        start: int,
        body: Body,
        stop: int | None = None,
        declared: tuple[Digest, ...] = (),
        commit_size: int = 1 << 20,
        *,
        until_its_end: bool = False,
    ) -> None:
        """One chunk; with `until_its_end` only the end of the body tells how long it is."""
        range_ = Range(start, self.size if stop is None else stop)
        async with self.locks.hold(ID, range_, body):
            target = Target(range_, [each for each in self.extents if each.range.overlaps(range_)])
            async with self.storage.open(ID) as file:
                chunk = Chunk(start, None if until_its_end else range_.length, declared)
                await ChunkWriter(chunk, target, file, self.commit, commit_size).run(body)

    async def durable(self, range_: Range) -> bytes:
        """What would be there after a power cut."""
        self.storage.crash()
        async with self.storage.open(ID) as file:
            return await file.read(range_.start, range_.length)

    async def check(self, content: bytes) -> None:
        """The one rule: whatever was committed is durable, is the content, and is told once."""
        assert all(left.stop <= right.start for left, right in itertools.pairwise(self.ranges))
        for each in self.extents:
            assert each.range.length > 0
            assert await self.durable(each.range) == content[each.range.start : each.range.stop]
            check = hasher(each.digest.algorithm)
            check.update(content[each.range.start : each.range.stop])
            assert check.digest() == each.digest.value


async def store(size: int, **options: object) -> Store:
    made = Store(size, **options)  # type: ignore[arg-type]
    await made.storage.create(ID, size)
    return made


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """What waits for ever fails, rather than wait for ever."""
    return asyncio.run(asyncio.wait_for(scenario, timeout=30))


def md5(data: bytes | bytearray) -> Digest:
    return Digest("md5", hashlib.md5(data, usedforsecurity=False).digest())


def sha256(data: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(data).digest())


@contextlib.contextmanager
def refused(*reasons: Reason) -> Iterator[None]:
    with pytest.raises(Refused) as refusal:
        yield
    assert refusal.value.reason in reasons


@contextlib.contextmanager
def fails_with(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as failed:  # noqa: PT011 - its number is what is looked at
        yield
    assert failed.value.errno == number


CONTENT = bytes(range(100))


def test_a_chunk_becomes_one_extent_with_its_checksum() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(10, body_of([CONTENT[10:20], CONTENT[20:30]]), 30)
        assert made.ranges == [Range(10, 30)]
        assert made.extents[0].digest.algorithm == chunk_writer.CHECKSUM
        await made.check(CONTENT)

    run(scenario())


def test_a_declared_digest_becomes_that_of_the_extent() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(0, body_of([CONTENT]), declared=(sha256(CONTENT), md5(CONTENT)))
        assert made.extents == [Extent(Range(0, 100), sha256(CONTENT))]

    run(scenario())


def test_a_partly_durable_chunks_digest_is_not_its_extents() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(0, body_of([CONTENT[:40]]), 40)
        await made.take(0, body_of([CONTENT]), declared=(md5(CONTENT),))
        assert made.ranges == [Range(0, 40), Range(40, 100)]
        await made.check(CONTENT)

    run(scenario())


def test_a_chunk_around_durable_bytes_fills_the_gaps_only() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(20, body_of([CONTENT[20:30]]), 30)
        await made.take(60, body_of([CONTENT[60:70]]), 70)
        before = made.storage.used
        await made.take(0, body_of([CONTENT[each : each + 7] for each in range(0, 100, 7)]))
        assert made.storage.used - before == 80
        assert list(merge(made.ranges)) == [Range(0, 100)]
        await made.check(CONTENT)

    run(scenario())


def test_the_same_chunk_again_is_compared_and_changes_nothing() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(0, body_of([CONTENT]), declared=(md5(CONTENT),))
        before, used = list(made.extents), made.storage.used
        await made.take(0, body_of([CONTENT]), declared=(md5(CONTENT),))
        await made.take(0, body_of([CONTENT]))
        assert (made.extents, made.storage.used) == (before, used)

    run(scenario())


@pytest.mark.parametrize("place", [20, 29])
def test_different_bytes_are_refused_and_change_nothing(place: int) -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(20, body_of([CONTENT[20:30]]), 30)
        other = bytearray(CONTENT)
        other[place] ^= 1
        before = list(made.extents)
        with refused(Reason.DIFFERENT_BYTES):
            await made.take(0, body_of([bytes(other[:10]), bytes(other[10:])]))
        assert made.extents == before
        await made.check(CONTENT)

    run(scenario())


def test_different_bytes_prevent_a_commit_that_was_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else an image is made of two files: the answer says that nothing was changed, and it is not true."""
    monkeypatch.setattr(http_body, "BATCH", 10)

    async def scenario() -> None:
        made = await store(100)
        await made.take(90, body_of([CONTENT[90:]]))
        before = list(made.extents)
        with refused(Reason.DIFFERENT_BYTES):
            await made.take(0, body_of([b"\xff" * 10 for _ in range(10)]), commit_size=20)
        assert made.extents == before

    run(scenario())


@pytest.mark.parametrize("wrong", [(md5(b""),), (md5(CONTENT), sha256(b"")), (md5(CONTENT), md5(b""))])
def test_a_chunk_with_a_wrong_digest_commits_nothing(wrong: tuple[Digest, ...]) -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.CHUNK_DIGEST_MISMATCH):
            await made.take(0, body_of([CONTENT]), declared=wrong, commit_size=1)
        assert made.commits == []
        await made.take(0, body_of([CONTENT]), declared=(md5(CONTENT),))
        await made.check(CONTENT)

    run(scenario())


def test_the_same_bytes_with_a_wrong_digest_are_refused_too() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(0, body_of([CONTENT]))
        with refused(Reason.CHUNK_DIGEST_MISMATCH):
            await made.take(0, body_of([CONTENT]), declared=(md5(b""),))

    run(scenario())


@pytest.mark.parametrize(("honest", "reason"), [(True, Reason.DIFFERENT_BYTES), (False, Reason.CHUNK_DIGEST_MISMATCH)])
def test_a_digest_tells_a_corrupted_repeat_from_another_file(honest: bool, reason: Reason) -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(20, body_of([CONTENT[20:30]]), 30)
        other = bytearray(CONTENT)
        other[25] ^= 1
        before = list(made.extents)
        with refused(reason):
            await made.take(0, body_of([bytes(other)]), declared=(md5(other if honest else CONTENT),))
        assert made.extents == before
        await made.check(CONTENT)

    run(scenario())


ENDINGS = [(DISCONNECTED, Reason.DISCONNECTED), (None, Reason.BODY_TOO_SHORT)]


@pytest.mark.parametrize(("end", "reason"), ENDINGS)
def test_a_cut_body_keeps_its_bytes(end: Refused | None, reason: Reason) -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(reason):
            await made.take(0, body_of([CONTENT[:10], CONTENT[10:33]], end))
        assert list(merge(made.ranges)) == [Range(0, 33)]
        await made.check(CONTENT)

    run(scenario())


@pytest.mark.parametrize(("end", "reason"), ENDINGS)
def test_a_cut_body_with_a_digest_keeps_nothing(end: Refused | None, reason: Reason) -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(reason):
            await made.take(0, body_of([CONTENT[:33]], end), declared=(md5(CONTENT),), commit_size=1)
        assert made.commits == []

    run(scenario())


def test_a_body_that_is_too_long_is_cut_at_the_end_of_its_range() -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.BODY_TOO_LONG):
            await made.take(0, body_of([CONTENT[:40], CONTENT[40:]]), 50)
        assert list(merge(made.ranges)) == [Range(0, 50)]
        assert await made.durable(Range(50, 100)) == bytes(50)
        await made.check(CONTENT)

    run(scenario())


def test_a_body_too_long_with_a_digest_keeps_nothing() -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.BODY_TOO_LONG):
            await made.take(0, body_of([CONTENT]), 50, declared=(md5(CONTENT[:50]),))
        assert made.commits == []

    run(scenario())


def test_an_empty_body_is_too_short_and_commits_nothing() -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.BODY_TOO_SHORT):
            await made.take(0, body_of([]))
        assert made.commits == []

    run(scenario())


# Bodies of which only their end tells the length


@pytest.mark.parametrize("length", [0, 1, 33, 100])
def test_a_body_of_unknown_length_may_end_wherever_it_does(length: int) -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(0, body_of([CONTENT[:length]] if length else []), until_its_end=True)
        assert made.ranges == ([Range(0, length)] if length else [])
        await made.check(CONTENT)

    run(scenario())


@pytest.mark.parametrize("length", [0, 33, 100])
def test_a_digest_of_unknown_length_covers_the_received_bytes(length: int) -> None:
    async def scenario() -> None:
        made = await store(100)
        sent = CONTENT[:length]
        await made.take(0, body_of([sent] if sent else []), declared=(sha256(sent),), until_its_end=True)
        assert made.extents == ([Extent(Range(0, length), sha256(sent))] if sent else [])
        await made.check(CONTENT)

    run(scenario())


@pytest.mark.parametrize("length", [0, 33, 99])
def test_an_unknown_length_with_a_wrong_digest_commits_nothing(length: int) -> None:
    """It was cut by somebody who ended it properly, which only the digest can tell."""

    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.CHUNK_DIGEST_MISMATCH):
            body = body_of([CONTENT[:length]] if length else [])
            await made.take(0, body, declared=(md5(CONTENT),), commit_size=1, until_its_end=True)
        assert made.commits == []

    run(scenario())


@pytest.mark.parametrize("declared", [(), (md5(CONTENT),)])
def test_a_cut_body_of_unknown_length_is_as_any_other(declared: tuple[Digest, ...]) -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.DISCONNECTED):
            await made.take(0, body_of([CONTENT[:33]], DISCONNECTED), declared=declared, until_its_end=True)
        assert made.ranges == ([] if declared else [Range(0, 33)])
        await made.check(CONTENT)

    run(scenario())


def test_a_body_of_unknown_length_stops_at_the_uploads_end() -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.BODY_TOO_LONG):
            await made.take(60, body_of([CONTENT[60:], b"!"]), until_its_end=True)
        assert made.ranges == [Range(60, 100)]
        await made.check(CONTENT)

    run(scenario())


@pytest.mark.parametrize("stop", [15, 25, 30, 70, 100])
@pytest.mark.parametrize("declares", [False, True])
def test_a_body_of_unknown_length_passes_over_durable_bytes(stop: int, declares: bool) -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(20, body_of([CONTENT[20:30]]), 30)
        sent = CONTENT[10:stop]
        await made.take(10, body_of([sent]), declared=(md5(sent),) if declares else (), until_its_end=True)
        assert list(merge([*made.ranges, Range(20, 30)])) == list(merge([Range(10, stop), Range(20, 30)]))
        await made.check(CONTENT)

    run(scenario())


@pytest.mark.parametrize("body", [b"", b"!"])
def test_an_empty_target_range_takes_no_bytes(body: bytes) -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(0, body_of([CONTENT]))
        before = list(made.extents)
        with refused(Reason.BODY_TOO_LONG) if body else contextlib.nullcontext():
            await made.take(100, body_of([body] if body else []))
        assert made.extents == before

    run(scenario())


@pytest.mark.parametrize("operation", ["write", "sync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("declared", [(), (md5(CONTENT),)])
def test_a_storage_fault_commits_nothing_and_can_be_retried(
    operation: str, number: int, declared: tuple[Digest, ...]
) -> None:
    async def scenario() -> None:
        made = await store(100)
        made.storage.faults[operation] = number
        with fails_with(number):
            await made.take(0, body_of([CONTENT]), declared=declared)
        assert made.commits == []
        await made.take(0, body_of([CONTENT]), declared=declared)
        assert list(merge(made.ranges)) == [Range(0, 100)]
        await made.check(CONTENT)

    run(scenario())


def test_a_sync_that_fails_after_a_cut_is_not_hidden_by_the_cut() -> None:
    async def scenario() -> None:
        made = await store(100)
        made.storage.faults["sync"] = errno.EIO
        with fails_with(errno.EIO):
            await made.take(0, body_of([CONTENT[:50]], DISCONNECTED))
        assert made.commits == []

    run(scenario())


def test_a_catalog_that_fails_is_not_hidden() -> None:
    async def scenario() -> None:
        made = await store(100, refuses_commits=True)
        with pytest.raises(ConnectionError):
            await made.take(0, body_of([CONTENT]))
        assert made.extents == []

    run(scenario())


@pytest.mark.parametrize("declared", [False, True])
def test_a_long_chunk_without_a_digest_is_committed_in_steps(monkeypatch: pytest.MonkeyPatch, declared: bool) -> None:
    monkeypatch.setattr(http_body, "BATCH", 10)

    async def scenario() -> None:
        made = await store(100)
        pieces = [CONTENT[each : each + 10] for each in range(0, 100, 10)]
        await made.take(0, body_of(pieces), declared=(md5(CONTENT),) if declared else (), commit_size=30)
        ends = [[each.range.stop for each in batch] for batch in made.commits]
        assert ends == ([[100]] if declared else [[30], [60], [90], [100]])
        await made.check(CONTENT)

    run(scenario())


def test_committed_steps_survive_a_later_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "BATCH", 10)

    class FailsLater(MemoryReceiver):
        async def next(self) -> bytes:
            if self.waits == 6:
                made.storage.faults["write"] = errno.ENOSPC
            return await super().next()

    async def scenario() -> None:
        pieces = [CONTENT[each : each + 10] for each in range(0, 100, 10)]
        with fails_with(errno.ENOSPC):
            await made.take(0, RequestBody(FailsLater(pieces), PATIENCE), commit_size=20)
        assert list(merge(made.ranges)) == [Range(0, 40)]
        await made.check(CONTENT)

    made = run(store(100))
    run(scenario())


# Takeovers


async def soon(awaitable: Awaitable[T]) -> T:
    """`awaitable`, which must be there at once: within a second, on however busy a machine."""
    async with asyncio.timeout(1.0):
        return await awaitable


async def stalled(
    made: Store, sent: bytes, stop: int | None = None, declared: tuple[Digest, ...] = ()
) -> asyncio.Task[None]:
    """A request that has sent the first bytes of its chunk, and sends no more."""
    receiver = MemoryReceiver([sent], silent=True)
    task = asyncio.create_task(made.take(0, RequestBody(receiver, PATIENCE), stop, declared))
    await receiver.is_silent.wait()
    return task


def test_a_newer_request_supersedes_a_stalled_one() -> None:
    async def scenario() -> None:
        made = await store(100)
        older = await stalled(made, CONTENT[:37])
        await soon(made.take(0, body_of([CONTENT])))
        with refused(Reason.SUPERSEDED):
            await older
        assert Range(0, 37) in made.ranges
        assert list(merge(made.ranges)) == [Range(0, 100)]
        await made.check(CONTENT)

    run(scenario())


def test_a_superseded_request_with_a_digest_keeps_nothing() -> None:
    async def scenario() -> None:
        made = await store(100)
        older = await stalled(made, CONTENT[:37], declared=(md5(CONTENT),))
        await soon(made.take(0, body_of([CONTENT]), declared=(md5(CONTENT),)))
        with refused(Reason.SUPERSEDED):
            await older
        assert made.extents == [Extent(Range(0, 100), md5(CONTENT))]

    run(scenario())


def test_disjoint_requests_run_together() -> None:
    async def scenario() -> None:
        made = await store(100)
        other = await stalled(made, CONTENT[:37], 50)
        await soon(made.take(50, body_of([CONTENT[50:]])))
        assert not other.done()
        await soon(made.locks.close())
        with refused(Reason.CLOSING):
            await other
        assert made.ranges == [Range(0, 37), Range(50, 100)]

    run(scenario())


def test_the_newest_of_several_requests_wins() -> None:
    async def scenario() -> None:
        made = await store(100)
        oldest = await stalled(made, CONTENT[:9])
        older = [asyncio.create_task(made.take(0, body_of([CONTENT[:9]], silent=True))) for _ in range(4)]
        await asyncio.sleep(0)
        await soon(made.take(0, body_of([CONTENT])))
        for each in (oldest, *older):
            with refused(Reason.SUPERSEDED):
                await each
        await made.check(CONTENT)

    run(scenario())


@pytest.mark.parametrize("reason", [Reason.SUPERSEDED, Reason.CLOSING, Reason.CANCELLED, Reason.EXPIRED])
def test_an_evicted_request_is_told_why(reason: Reason) -> None:
    async def scenario() -> None:
        made = await store(100)
        older = await stalled(made, CONTENT[:37])
        await soon(made.locks.evict(reason, ID))
        with refused(reason):
            await older

    run(scenario())


@pytest.mark.parametrize("reason", [Reason.CANCELLED, Reason.EXPIRED])
def test_nothing_is_committed_to_an_upload_that_has_ended(reason: Reason) -> None:
    async def scenario() -> None:
        made = await store(100)
        older = await stalled(made, CONTENT[:37])
        await made.locks.evict(reason, ID)
        with refused(reason):
            await older
        assert made.commits == []

    run(scenario())


def test_a_body_that_stops_is_ended_with_its_bytes_kept() -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.STALLED):
            await made.take(0, RequestBody(MemoryReceiver([CONTENT[:37]], silent=True), 0.05))
        assert made.ranges == [Range(0, 37)]
        await made.check(CONTENT)

    run(scenario())


# Everything at once


@dataclass(frozen=True)
class Attempt:
    start: int
    stop: int
    cuts: tuple[int, ...]  # where the body is cut into pieces
    end: int | None  # after how many bytes it breaks off, if it does
    declares: str  # "nothing", "right" or "wrong"
    fault: str | None  # what of scratch fails at its next call
    commit_size: int
    batch: int


@st.composite
def attempts(draw: st.DrawFn, size: int) -> Attempt:
    start: int = draw(st.integers(0, size - 1))
    stop: int = draw(st.integers(start + 1, size))
    return Attempt(
        start,
        stop,
        tuple(sorted(draw(st.sets(st.integers(0, stop - start), max_size=4)))),
        draw(st.none() | st.integers(0, stop - start - 1)),
        draw(st.sampled_from(["nothing", "nothing", "right", "wrong"])),
        draw(st.sampled_from([None, None, None, "write", "sync", "read"])),
        draw(st.sampled_from([1, 16, 1 << 20])),
        draw(st.sampled_from([1, 8, BATCH])),
    )


SIZE = 48


async def attempted(made: Store, content: bytes, attempt: Attempt) -> Exception | None:
    sent = content[attempt.start : attempt.stop]
    declared = {"nothing": (), "right": (md5(sent),), "wrong": (sha256(sent), md5(sent + b"!"))}[attempt.declares]
    cut = sent if attempt.end is None else sent[: attempt.end]
    places = [0, *(each for each in attempt.cuts if each < len(cut)), len(cut)]
    pieces = [cut[a:b] for a, b in itertools.pairwise(places) if a < b]
    if attempt.fault:
        made.storage.faults[attempt.fault] = errno.EIO
    body = body_of(pieces, None if attempt.end is None else DISCONNECTED)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http_body, "BATCH", attempt.batch)
            await made.take(attempt.start, body, attempt.stop, declared, attempt.commit_size)
    except (Refused, OSError) as problem:
        return problem
    finally:
        made.storage.faults.clear()
        made.storage.crash()
    return None


@settings(deadline=None, max_examples=80)
@given(st.binary(min_size=SIZE, max_size=SIZE), st.lists(attempts(SIZE), max_size=12))
def test_any_sequence_commits_each_right_byte_once(content: bytes, tried: list[Attempt]) -> None:
    """Chunks in any order, again, cut, with wrong digests, with faults of scratch, and power cuts after each."""

    async def scenario() -> None:
        made = await store(SIZE)
        for each in tried:
            before = list(made.extents)
            problem = await attempted(made, content, each)
            assert made.extents[: len(before)] == before
            await made.check(content)
            covered = any(each.start >= a and each.stop <= b for a, b in merge(made.ranges))
            if problem is None:
                assert covered
            elif each.declares != "nothing":
                assert made.extents == before
        whole = await attempted(made, content, Attempt(0, SIZE, (), None, "nothing", None, 1 << 20, 8))
        assert whole is None
        assert list(merge(made.ranges)) == [Range(0, SIZE)]
        await made.check(content)

    run(scenario())


@settings(deadline=None, max_examples=60)
@given(st.lists(attempts(SIZE), max_size=4), attempts(SIZE), st.integers(0, SIZE - 1))
def test_an_overlapping_chunk_of_another_file_changes_nothing(
    tried: list[Attempt], another: Attempt, place: int
) -> None:
    content = bytes(range(SIZE))
    other = bytearray(content)
    other[place] ^= 1

    async def scenario() -> None:
        made = await store(SIZE)
        for each in tried:
            await attempted(made, content, each)
        seen = any(each.start <= place < each.stop for each in made.ranges)
        before = list(made.extents)
        whole = dataclasses.replace(another, end=None, fault=None, declares="nothing")
        problem = await attempted(made, bytes(other), whole)
        if seen and whole.start <= place < whole.stop:
            assert isinstance(problem, Refused)
            assert problem.reason is Reason.DIFFERENT_BYTES
            assert made.extents == before
        else:
            assert problem is None

    run(scenario())


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, Reason.NO_SPACE),
        (errno.EDQUOT, Reason.NO_SPACE),
        (errno.EIO, Reason.SCRATCH_FAILED),
        (errno.EROFS, Reason.SCRATCH_FAILED),
    ],
)
def test_a_client_can_tell_a_full_storage_from_a_broken_one(number: int, reason: Reason) -> None:
    refusal = storage_failure(OSError(number, "secret detail", "/a/path"))
    assert refusal.reason is reason
    assert isinstance(refusal.facts["retry_after"], int)
    assert "/a/path" not in refusal.detail


class Stubborn(MemoryStorageFile):
    """A file whose writes end when they may, and not before: as a thread does, whoever is cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def write(self, position: int, data: bytes | memoryview) -> None:
        self.begun.set()
        ending = asyncio.ensure_future(self.may_end.wait())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            while not ending.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(ending)
            raise


@pytest.mark.parametrize("cancellations", [1, 2])
def test_a_cancelled_write_holds_its_lock_until_its_thread_ends(cancellations: int) -> None:
    """Otherwise its bytes land where somebody else writes by then, or in a file that is closed already."""

    async def scenario() -> None:
        locks, file = WriteLocks(), Stubborn()

        async def commit(_: list[Extent]) -> None:
            pytest.fail("cancelled, and yet recorded")

        async def take() -> None:
            body = body_of([b"abc"])
            async with locks.hold(ID, Range(0, 3), body):
                await ChunkWriter(Chunk(0, 3), Target(Range(0, 3), []), file, commit, 1).run(body)

        task = asyncio.create_task(take())
        await file.begun.wait()
        for _ in range(cancellations):
            task.cancel()
            await asyncio.wait([task], timeout=0.05)
            assert locks.held(ID)
        file.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not locks.held(ID)

    run(scenario())
