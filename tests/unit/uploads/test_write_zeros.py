"""Declared runs of zeros: zeros after any crash, whatever was there before."""

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Appended, Chunk, Create, Created
from resumable_glance.model.digests import ZEROS, Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, Upload
from resumable_glance.uploads import chunk_writer
from resumable_glance.uploads.chunk_writer import Target, write_zeros
from tests.fakes.memory_body import body_of
from tests.fakes.memory_storage import MemoryStorageFile
from tests.support.rig import IMAGE, ME, Pieces, Rig, refusal, rig
from tests.unit.uploads.test_chunk_writer import ID, Store, fails_with, md5, refused, run, store

OTHER = b"!" * 100  # what came and was not kept


async def declare(
    made: Store, start: int, stop: int, declared: tuple[Digest, ...] = (), body: Sequence[bytes] = ()
) -> None:
    """A run of zeros, as uploads takes it."""
    range_, sent = Range(start, stop), body_of(body)
    async with made.locks.hold(ID, range_, sent), made.storage.open(ID) as file:
        target = Target(range_, [each for each in made.extents if each.range.overlaps(range_)])
        chunk = Chunk(start, range_.length, declared, zeros=True)
        await write_zeros(chunk, target, file, made.commit, sent)


async def spoilt(made: Store, start: int, stop: int) -> None:
    """Bytes that came to scratch and do not count: their digest did not hold."""
    with refused(Reason.CHUNK_DIGEST_MISMATCH):
        await made.take(start, body_of([OTHER[start:stop]]), stop, (md5(b""),))


def test_a_run_of_zeros_is_one_extent_that_takes_no_space() -> None:
    async def scenario() -> None:
        made = await store(100)
        await declare(made, 10, 90)
        assert made.extents == [Extent(Range(10, 90), ZEROS)]
        assert made.storage.used == 0
        await made.check(bytes(100))

    run(scenario())


@pytest.mark.parametrize("crash", ["none", "power", "kept"])
def test_zeros_overwrite_the_rest_of_an_interrupted_chunk(crash: str) -> None:
    async def scenario() -> None:
        made = await store(100)
        await spoilt(made, 20, 60)
        if crash != "none":  # what was not synced may be gone after it, or there
            made.storage.crash(keeps=crash == "kept")
        await declare(made, 0, 100)
        await made.check(bytes(100))

    run(scenario())


def test_without_overwriting_old_bytes_would_be_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is what the test above must find; at the handoff the extent's mark would find it, too."""

    async def nothing(self: MemoryStorageFile, position: int, length: int) -> None: ...

    async def scenario() -> None:
        made = await store(100)
        await spoilt(made, 20, 60)
        made.storage.crash(keeps=True)
        await declare(made, 0, 100)
        with pytest.raises(AssertionError):
            await made.check(bytes(100))

    monkeypatch.setattr(MemoryStorageFile, "zero", nothing)
    run(scenario())


def test_zeros_count_only_once_they_are_durable() -> None:
    async def scenario() -> None:
        made = await store(100)
        await spoilt(made, 0, 100)
        made.storage.crash(keeps=True)
        made.storage.faults["sync"] = errno.EIO
        with fails_with(errno.EIO):
            await declare(made, 0, 100)
        assert made.commits == []
        await declare(made, 0, 100)
        await made.check(bytes(100))

    run(scenario())


def test_zeros_over_other_durable_bytes_are_refused() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(50, body_of([b"x"]), 51)
        await spoilt(made, 0, 20)
        before = list(made.extents)
        with refused(Reason.DIFFERENT_BYTES):
            await declare(made, 0, 100)
        assert made.extents == before
        assert await made.durable(Range(50, 51)) == b"x"

    run(scenario())


def test_zeros_sent_before_are_compared_and_the_rest_added() -> None:
    async def scenario() -> None:
        made = await store(100)
        await made.take(30, body_of([bytes(20)]), 50)
        await made.take(0, body_of([b"x"]), 1)
        await declare(made, 1, 100)
        assert made.ranges == [Range(0, 1), Range(1, 30), Range(30, 50), Range(50, 100)]
        await made.check(b"x" + bytes(99))

    run(scenario())


def test_a_repeated_run_of_zeros_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        made = await store(100)
        await declare(made, 0, 50)
        await declare(made, 40, 100)
        made.storage.faults = {"read": errno.EIO, "zero": errno.EIO, "sync": errno.EIO}
        commits = len(made.commits)
        await declare(made, 0, 100)
        await declare(made, 45, 55)
        assert len(made.commits) == commits

    run(scenario())


def test_bytes_over_declared_zeros_are_compared() -> None:
    async def scenario() -> None:
        made = await store(100)
        await declare(made, 0, 100)
        await made.take(10, body_of([bytes(10)]), 20)
        with refused(Reason.DIFFERENT_BYTES):
            await made.take(10, body_of([b"x"]), 11)
        await made.check(bytes(100))

    run(scenario())


def test_a_run_of_zeros_with_a_body_is_refused() -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.BODY_TOO_LONG):
            await declare(made, 0, 100, body=[b"\0"])
        assert made.commits == []

    run(scenario())


def test_a_digest_of_declared_zeros_is_of_the_empty_body() -> None:
    async def scenario() -> None:
        made = await store(100)
        with refused(Reason.CHUNK_DIGEST_MISMATCH):
            await declare(made, 0, 100, (md5(bytes(100)),))
        assert made.commits == []
        await declare(made, 0, 100, (md5(b""),))
        await made.check(bytes(100))

    run(scenario())


@pytest.mark.parametrize("place", [Range(0, 60), Range(60, 100)], ids=["writes", "compares"])
def test_a_takeover_waits_for_one_step_of_a_long_run_only(monkeypatch: pytest.MonkeyPatch, place: Range) -> None:
    monkeypatch.setattr(chunk_writer, "ZEROS_STEP", 10)
    monkeypatch.setattr(chunk_writer, "BATCH", 10)
    body, steps = body_of(), list[int]()

    class Evicted(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            steps.append(position)
            body.interrupt(Refused(Reason.SUPERSEDED, "A newer request has taken over."))

        async def read(self, position: int, length: int) -> bytes:
            await self.zero(position, length)
            return await super().read(position, length)

    async def scenario() -> None:
        made = await store(100)
        await made.take(60, body_of([bytes(40)]))
        made.storage.file = Evicted
        chunk = Chunk(place.start, place.length, zeros=True)
        with refused(Reason.SUPERSEDED):
            async with made.storage.open(ID) as file:
                await write_zeros(chunk, Target(place, made.extents), file, made.commit, body)
        assert steps == [place.start]
        assert made.ranges == [Range(60, 100)]

    run(scenario())


def durable_of(made: Store, start: int, stop: int) -> list[int]:
    return [each for known in made.ranges for each in range(*known) if start <= each < stop]


places = st.tuples(st.integers(0, 99), st.integers(1, 100)).map(lambda each: Range(each[0], min(100, sum(each))))


@settings(deadline=None, max_examples=200)
@given(places, st.lists(st.tuples(st.sampled_from(["sent", "declared", "spoilt", "power", "kept"]), places)))
def test_bytes_and_zeros_in_any_order_make_the_content(hole: Range, steps: list[tuple[str, Range]]) -> None:
    content = bytes(0 if hole.start <= each < hole.stop else each + 1 for each in range(100))

    async def scenario() -> None:
        made = await store(100)
        for what, (start, stop) in steps:
            if what == "sent":
                await made.take(start, body_of([content[start:stop]]), stop)
            elif what == "spoilt":
                await spoilt(made, start, stop)
            elif what == "declared" and not any(content[start:stop]):
                await declare(made, start, stop)
            elif what == "declared" and any(content[each] for each in durable_of(made, start, stop)):
                before = list(made.extents)
                with pytest.raises(Refused):
                    await declare(made, start, stop)
                assert made.extents == before
            elif what == "declared":
                continue  # it would become zeros, and is not what is meant
            else:
                made.storage.crash(keeps=what == "kept")
        await made.check(content)

    asyncio.run(scenario())


# As part of an upload


async def declared(here: Rig, upload_id: str, start: int, stop: int, total: int | None = None) -> Upload:
    append = Append(upload_id, Chunk(start, stop - start, zeros=True), total)
    outcome = await here.uploads.perform(append, ME, Pieces())
    assert isinstance(outcome, Appended)
    return outcome.upload


async def sent(here: Rig, upload_id: str, start: int, data: bytes, total: int | None = None) -> None:
    await here.uploads.perform(Append(upload_id, Chunk(start, len(data)), total), ME, Pieces(data))


def test_an_image_out_of_bytes_and_declared_zeros_is_the_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(1000)
            assert (await declared(here, upload_id, 100, 900)).offset == 0
            assert (await declared(here, upload_id, 900, 1000)).state is State.RECEIVING
            await sent(here, upload_id, 0, b"x" * 50)
            await sent(here, upload_id, 60, b"y" * 40)
            upload = await declared(here, upload_id, 0 + 50, 60)
            assert (upload.state, upload.offset) == (State.SEALED, 1000)
            await here.reaches(upload_id, State.ACTIVE)
            image = (await here.inspect(upload_id)).upload.image
            assert image is not None
            content = (here.images / image.id).read_bytes()
            assert content == b"x" * 50 + bytes(10) + b"y" * 40 + bytes(900)

    asyncio.run(scenario())


def test_an_image_of_zeros_takes_no_space(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"max_chunk_size": 1 << 20}) as here:
            upload_id = await here.create(10_000_000)
            upload = await declared(here, upload_id, 0, 10_000_000)
            assert upload.state is State.SEALED
            assert here.storage.used == 0
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_declared_zeros_release_reserved_space(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(1000)
            assert await here.catalog.uploads.promised() == 1000
            await declared(here, upload_id, 0, 800)
            assert await here.catalog.uploads.promised() == 200

    asyncio.run(scenario())


def test_declared_zeros_can_tell_an_unknown_size(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            outcome = await here.uploads.perform(Create(None, IMAGE), ME, Pieces())
            assert isinstance(outcome, Created)
            upload_id = outcome.upload.id
            await declared(here, upload_id, 100, 500)
            assert (await here.inspect(upload_id)).upload.size is None
            await declared(here, upload_id, 500, 700, total=800)
            inspected = await here.inspect(upload_id)
            assert (inspected.upload.size, list(inspected.durable)) == (800, [Range(100, 700)])
            await here.send_in_order(upload_id, 0, Pieces(b"z" * 100), 100)
            assert (await here.inspect(upload_id)).upload.offset == 700, "as those see it who send in order"
            await here.send_in_order(upload_id, 700, Pieces(b"z" * 100), 100)
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_zeros_past_the_uploads_end_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(100)
            assert await refusal(declared(here, upload_id, 50, 101)) is Reason.BODY_TOO_LONG
            assert await refusal(declared(here, upload_id, 50, 100, total=101)) is Reason.WRONG_TOTAL

    asyncio.run(scenario())


def test_repeated_zeros_are_answered_alike_after_the_handoff(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(100)
            await sent(here, upload_id, 0, bytes(10))
            await declared(here, upload_id, 5, 70)
            await declared(here, upload_id, 70, 100)
            await here.reaches(upload_id, State.ACTIVE)
            for start, stop in ((10, 100), (50, 80), (99, 100)):
                assert (await declared(here, upload_id, start, stop)).state is State.ACTIVE
            assert await refusal(declared(here, upload_id, 0, 100)) is Reason.SEALED, "nobody knows that any more"

    asyncio.run(scenario())


def test_declared_zeros_supersede_a_stalled_chunk(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(50_000)
            stalled = await here.begun(upload_id, Chunk(0, 50_000, (md5(b""),)), 20_000)
            await declared(here, upload_id, 0, 50_000)
            assert await refusal(stalled) is Reason.SUPERSEDED
            await here.reaches(upload_id, State.ACTIVE)
            image = (await here.inspect(upload_id)).upload.image
            assert image is not None
            assert (here.images / image.id).read_bytes() == bytes(50_000)

    asyncio.run(scenario())


def test_declared_zeros_are_delivered_whatever_is_on_scratch(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(100)
            await declared(here, upload_id, 0, 100)
            async with here.storage.open(upload_id) as file:
                await file.write(42, b"\1")
            image = (await here.reaches(upload_id, State.ACTIVE)).image
            assert image is not None
            assert (here.images / image.id).read_bytes() == bytes(100)

    asyncio.run(scenario())
