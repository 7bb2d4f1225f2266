"""Parts that are joined, uploads whose size is told later, and uploads that wait to be told that they are complete."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.reader import StorageDiffers
from resumable_glance.model.commands import Append, Appended, Cancel, Chunk, Content, Create, Created, Join, Read
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Owner, Upload, known
from tests.fakes.memory_storage import MemoryStorage
from tests.support.rig import CONTENT, DAY, IMAGE, ME, SIZE, Pieces, Rig, Waiting, refusal, rig

CUTS = [0, 30_000, 30_000, 70_000, SIZE]  # one of the parts has no bytes


async def created(here: Rig, create: Create, body: bytes = b"") -> Upload:
    outcome = await here.uploads.perform(create, ME, Pieces(body))
    assert isinstance(outcome, Created)
    return outcome.upload


async def sent(here: Rig, upload_id: str, chunk: Chunk, total: int | None = None, **more: object) -> Upload:
    append = Append(upload_id, chunk, total, **more)  # type: ignore[arg-type]
    stop = SIZE if chunk.length is None else chunk.start + chunk.length
    outcome = await here.uploads.perform(append, ME, Pieces(CONTENT[chunk.start : stop]))
    assert isinstance(outcome, Appended)
    return outcome.upload


async def parts(here: Rig) -> tuple[str, ...]:
    """The content in parts, each with all of its bytes."""
    ids = []
    for start, stop in itertools.pairwise(CUTS):
        part = await created(here, Create(stop - start, None))
        if stop > start:
            await here.uploads.perform(
                Append(part.id, Chunk(0, stop - start, in_order=True)), ME, Pieces(CONTENT[start:stop])
            )
        ids.append(part.id)
    return tuple(ids)


async def joined(here: Rig, ids: tuple[str, ...]) -> Upload:
    outcome = await here.uploads.perform(Join(ids, IMAGE), ME, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload


async def read(here: Rig, upload_id: str) -> bytes:
    outcome = await here.uploads.perform(Read(upload_id), ME, Pieces())
    assert isinstance(outcome, Content)
    return b"".join([piece async for piece in outcome.stream])


def images(here: Rig) -> set[str]:
    return {each.name.removesuffix(".json") for each in here.images.iterdir()}


async def assert_is_content(here: Rig, upload_id: str) -> None:
    """Sealed now, active in the end, and then the image is the content."""
    assert (await here.inspect(upload_id)).upload.state is State.SEALED
    assert await read(here, upload_id) == CONTENT
    await here.reaches(upload_id, State.ACTIVE)
    upload = (await here.inspect(upload_id)).upload
    assert (here.images / known(upload.image).id).read_bytes() == CONTENT
    assert upload.proof is not None
    assert upload.proof.sha512 == hashlib.sha512(CONTENT).hexdigest()
    assert await read(here, upload_id) == CONTENT
    async with asyncio.timeout(10):
        while await here.files():
            await asyncio.sleep(0.01)


def test_parts_are_joined_where_they_lie_and_become_one_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            assert images(here) == set()
            assert await here.files() == set(ids)
            whole = await joined(here, ids)
            assert (whole.size, whole.offset, whole.state) == (SIZE, SIZE, State.SEALED)
            assert await here.files() == set(ids)  # nothing was copied
            await assert_is_content(here, whole.id)
            part = (await here.inspect(ids[0])).upload
            assert (part.state, part.offset, part.joined_into) == (State.JOINED, 30_000, whole.id)

    asyncio.run(scenario())


def test_a_join_whose_answer_was_lost_gives_the_same_upload_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            first = await joined(here, ids)
            assert (await joined(here, ids)).id == first.id
            assert len(images(here)) == 1
            for others in (ids[::-1], ids[:1]):
                assert await refusal(joined(here, others)) is Reason.JOINED
            await here.uploads.perform(Cancel(first.id), ME, Pieces())
            assert await refusal(joined(here, ids)) is Reason.CANCELLED
            assert images(here) == set()

    asyncio.run(scenario())


def test_two_equal_joins_at_once_are_one_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            one, two = await asyncio.gather(joined(here, ids), joined(here, ids))
            assert one.id == two.id
            assert len(images(here)) == 1
            await assert_is_content(here, one.id)

    asyncio.run(scenario())


def test_a_join_that_another_one_overtakes_between_two_of_its_parts_is_the_same_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            get = here.catalog.get
            wholes = []

            async def late(upload_id: str) -> Upload | None:
                part = await get(upload_id)
                monkeypatch.undo()
                wholes.append(await joined(here, ids))
                return part

            monkeypatch.setattr(here.catalog, "get", late)
            assert (await joined(here, ids)).id == wholes[0].id
            assert len(images(here)) == 1

    asyncio.run(scenario())


def test_a_part_that_is_joined_while_it_is_being_cancelled_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            end = here.catalog.end
            wholes = []

            async def late(*told: Any, **more: Any) -> bool:
                monkeypatch.undo()
                wholes.append(await joined(here, ids))
                return await end(*told, **more)

            monkeypatch.setattr(here.catalog, "end", late)
            assert await refusal(here.uploads.perform(Cancel(ids[0]), ME, Pieces())) is Reason.JOINED
            assert await here.files() == set(ids)
            await assert_is_content(here, wholes[0].id)

    asyncio.run(scenario())


def test_what_can_not_be_joined_is_refused_and_leaves_no_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await created(here, Create(0, IMAGE))
            unfinished = await created(here, Create(10, None))
            before = images(here)
            assert await refusal(joined(here, (*ids, unfinished.id))) is Reason.UNFINISHED
            assert await refusal(joined(here, (*ids, whole.id))) is Reason.JOINED
            assert await refusal(joined(here, (*ids, ids[0]))) is Reason.MALFORMED
            assert await refusal(joined(here, (*ids, "a-" + "0" * 32))) is Reason.UNKNOWN_UPLOAD
            stranger = Identity(Owner("other", "user"))
            assert await refusal(here.uploads.perform(Join(ids, IMAGE), stranger, Pieces())) is Reason.UNKNOWN_UPLOAD
            here.now += 8 * DAY
            assert await refusal(joined(here, ids)) is Reason.EXPIRED
            assert images(here) == before

    asyncio.run(scenario())


def test_nothing_can_be_sent_to_an_upload_out_of_parts_nor_to_its_parts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await joined(here, ids)
            for upload_id in (whole.id, ids[0]):
                assert await refusal(sent(here, upload_id, Chunk(0, 10, in_order=True))) is Reason.JOINED
            assert await refusal(here.uploads.perform(Cancel(ids[0]), ME, Pieces())) is Reason.JOINED
            await assert_is_content(here, whole.id)

    asyncio.run(scenario())


def test_cancelling_an_upload_out_of_parts_frees_them_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await joined(here, ids)
            await here.uploads.perform(Cancel(whole.id), ME, Pieces())
            assert await here.files() == images(here) == set()
            for each in (whole.id, *ids):
                assert await refusal(here.inspect(each)) is Reason.CANCELLED

    asyncio.run(scenario())


def test_a_part_that_nobody_joins_expires_though_it_has_all_of_its_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            here.now += 8 * DAY
            await here.uploads.janitor.tidy()
            assert await here.files() == set()
            assert await refusal(here.inspect(ids[0])) is Reason.EXPIRED

    asyncio.run(scenario())


def test_a_start_keeps_the_bytes_of_joined_parts_as_long_as_they_are_needed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await joined(here, ids)
            await here.uploads.janitor.open()
            assert await here.files() == set(ids)
            await here.reaches(whole.id, State.ACTIVE)
            for each in ids:  # as if the service had been killed before it removed them
                await here.scratch.remove(each)
                await here.scratch.create(each, 10)
            await here.uploads.janitor.open()
            assert await here.files() == set()

    asyncio.run(scenario())


def test_records_of_parts_are_forgotten_with_that_of_the_upload_that_they_were_joined_into(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await joined(here, ids)
            here.now += 31 * DAY
            await here.uploads.janitor.tidy()
            await assert_is_content(here, whole.id)  # however long it waited for Glance
            here.now += 31 * DAY
            await here.uploads.janitor.tidy()
            for each in (whole.id, *ids):
                assert await refusal(here.inspect(each)) is Reason.UNKNOWN_UPLOAD

    asyncio.run(scenario())


def test_a_byte_of_a_part_that_changed_on_scratch_never_reaches_the_sink(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await joined(here, ids)
            async with here.scratch.open(ids[2]) as file:
                await file.write(5, b"else")
                await file.sync()
            await here.reaches(whole.id, State.FAILED)
            with pytest.raises(StorageDiffers):  # after what is before it, which was sent already
                await read(here, whole.id)
            await here.scratch.remove(ids[2])
            assert await refusal(read(here, whole.id)) is Reason.SCRATCH_FAILED

    asyncio.run(scenario())


def test_a_size_can_be_told_with_any_chunk_and_holds_from_then_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(None, IMAGE, first=Chunk(0, 1000, in_order=True)), CONTENT[:1000])
            assert (upload.size, upload.offset, upload.reserved) == (None, 1000, 1000)
            upload = await sent(here, upload.id, Chunk(1000, 500, in_order=True), SIZE)
            assert (upload.size, upload.offset, upload.reserved) == (SIZE, 1500, SIZE)
            assert await refusal(sent(here, upload.id, Chunk(1500, 5), SIZE + 1)) is Reason.WRONG_TOTAL
            await sent(here, upload.id, Chunk(1500, None, in_order=True))
            await assert_is_content(here, upload.id)

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", CONTENT[1000:]])
def test_a_size_that_turns_out_to_be_reached_seals(tmp_path: Path, body: bytes) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            start = SIZE - len(body)
            upload = await created(here, Create(None, IMAGE, first=Chunk(0, start, in_order=True)), CONTENT[:start])
            assert upload.state is State.RECEIVING
            await sent(here, upload.id, Chunk(start, len(body), in_order=True), SIZE)
            await assert_is_content(here, upload.id)

    asyncio.run(scenario())


def test_a_size_that_is_told_while_somebody_asks_makes_the_answer_complete_or_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(None, IMAGE, first=Chunk(0, SIZE, in_order=True)), CONTENT)
            durable = here.catalog.durable

            async def told_just_before(upload_id: str, most: int) -> tuple[Upload, list[Range]]:
                await here.catalog.declare(upload_id, SIZE, ())
                return await durable(upload_id, most)

            monkeypatch.setattr(here.catalog, "durable", told_just_before)
            assert (await here.inspect(upload.id)).upload.state is State.SEALED

    asyncio.run(scenario())


def test_two_who_ask_at_once_for_what_turns_out_to_be_complete_are_both_told_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(None, IMAGE, first=Chunk(0, SIZE, in_order=True)), CONTENT)
            await here.catalog.declare(upload.id, SIZE, ())
            both = await asyncio.gather(here.inspect(upload.id), here.inspect(upload.id))
            assert [each.upload.state for each in both] == [State.SEALED] * 2

    asyncio.run(scenario())


def test_an_upload_of_unknown_size_takes_only_the_scratch_that_is_free(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, MemoryStorage(capacity=100_000)) as here:
            upload = await created(here, Create(None, IMAGE))
            await created(here, Create(60_000, IMAGE))
            assert await refusal(sent(here, upload.id, Chunk(0, 40_001, in_order=True))) is Reason.NO_SPACE
            assert await refusal(sent(here, upload.id, Chunk(0, 10, in_order=True), 40_001)) is Reason.NO_SPACE
            # Its own length unknown too: as if it were the longest that there can be.
            assert await refusal(sent(here, upload.id, Chunk(0, None, in_order=True))) is Reason.NO_SPACE
            assert (await sent(here, upload.id, Chunk(0, 40_000, in_order=True))).offset == 40_000
            assert await refusal(created(here, Create(1, IMAGE))) is Reason.NO_SPACE

    asyncio.run(scenario())


def test_an_upload_of_unknown_size_has_the_largest_size_of_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"max_upload_size": 50_000}) as here:
            upload = await created(here, Create(None, IMAGE))
            assert await refusal(sent(here, upload.id, Chunk(0, 50_001, in_order=True))) is Reason.UPLOAD_TOO_LARGE
            assert await refusal(sent(here, upload.id, Chunk(0, 5), 50_001)) is Reason.UPLOAD_TOO_LARGE
            ids = await parts_of(here, 30_000, 30_000)
            assert await refusal(joined(here, ids)) is Reason.UPLOAD_TOO_LARGE

    async def parts_of(here: Rig, *sizes: int) -> tuple[str, ...]:
        made = [await created(here, Create(each, None, first=Chunk(0, each)), CONTENT[:each]) for each in sizes]
        return tuple(each.id for each in made)

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [None, SIZE])
def test_an_upload_is_complete_only_when_that_is_said(tmp_path: Path, size: int | None) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(size, IMAGE, first=Chunk(0, 1000, last=False)), CONTENT[:1000])
            upload = await sent(here, upload.id, Chunk(1000, SIZE - 1000, in_order=True, last=False))
            assert (upload.offset, upload.state) == (SIZE, State.RECEIVING)
            assert await refusal(read(here, upload.id)) is Reason.UNFINISHED
            upload = await sent(here, upload.id, Chunk(SIZE, 0, in_order=True, last=True))
            assert upload.size == SIZE
            await assert_is_content(here, upload.id)
            again = await sent(here, upload.id, Chunk(SIZE, 0, in_order=True, last=True))  # its answer was lost
            assert again.state is State.ACTIVE

    asyncio.run(scenario())


def test_who_takes_all_bytes_for_an_end_finds_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(SIZE, IMAGE, first=Chunk(0, SIZE, last=False)), CONTENT)
            assert upload.state is State.RECEIVING
            await here.inspect(upload.id)
            await assert_is_content(here, upload.id)

    asyncio.run(scenario())


def test_an_upload_of_no_bytes_may_wait_to_be_told_that_it_is_complete(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(0, IMAGE, first=Chunk(0, 0, last=False)))
            assert upload.state is State.RECEIVING
            upload = await sent(here, upload.id, Chunk(0, 0, in_order=True, last=True))
            assert upload.state is State.SEALED

    asyncio.run(scenario())


def test_an_end_that_comes_too_early_is_refused_and_what_came_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(SIZE, IMAGE))
            append = Append(upload.id, Chunk(0, None, in_order=True, last=True))
            assert await refusal(here.uploads.perform(append, ME, Pieces(CONTENT[:500]))) is Reason.WRONG_TOTAL
            upload = (await here.inspect(upload.id)).upload
            assert (upload.offset, upload.state) == (500, State.RECEIVING)

    asyncio.run(scenario())


def test_a_last_chunk_that_does_not_end_where_the_upload_does_completes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(500, IMAGE))
            append = Append(upload.id, Chunk(0, None, in_order=True, last=True))
            assert await refusal(here.uploads.perform(append, ME, Pieces(CONTENT[:501]))) is Reason.BODY_TOO_LONG
            assert await refusal(read(here, upload.id)) is Reason.UNFINISHED
            upload = await sent(here, upload.id, Chunk(500, 0, in_order=True, last=True))
            assert (upload.offset, upload.state) == (500, State.SEALED)

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize("start", [0, 999, 1001])
def test_a_length_that_is_wrong_because_the_offset_is_leads_to_the_right_offset(
    tmp_path: Path, size: int | None, start: int
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(size, IMAGE, first=Chunk(0, 1000, last=False)), CONTENT[:1000])
            late = sent(here, upload.id, Chunk(start, 10, in_order=True, last=True))
            assert await refusal(late) is Reason.WRONG_OFFSET

    asyncio.run(scenario())


def test_a_last_chunk_that_is_cut_completes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Create(None, IMAGE))
            body = Waiting(CONTENT[:1000])
            cut = asyncio.create_task(
                here.uploads.perform(Append(upload.id, Chunk(0, None, in_order=True, last=True)), ME, body)
            )
            await asyncio.wait_for(body.waits.wait(), 10)
            after = (await here.inspect(upload.id, taking_over=True)).upload
            assert (after.offset, after.size, after.state) == (1000, None, State.RECEIVING)
            assert await refusal(cut) is Reason.SUPERSEDED

    asyncio.run(scenario())


def test_a_part_that_is_told_its_end_waits_to_be_joined(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            part = await created(here, Create(None, None, first=Chunk(0, SIZE, last=True)), CONTENT)
            assert (part.size, part.state) == (SIZE, State.RECEIVING)
            await assert_is_content(here, (await joined(here, (part.id,))).id)

    asyncio.run(scenario())


def test_digests_of_the_whole_may_come_with_the_last_chunk_and_must_hold(tmp_path: Path) -> None:
    right = Digest("sha256", hashlib.sha256(CONTENT).digest())
    wrong = Digest("sha256", bytes(32))

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            for declared, end in ((right, State.ACTIVE), (wrong, State.FAILED)):
                upload_id = await here.create()
                await here.send(upload_id, 0, 1000)
                upload = await sent(here, upload_id, Chunk(1000, SIZE - 1000), SIZE, declared=(declared,))
                assert upload.declared == (declared,)
                again = await sent(here, upload_id, Chunk(SIZE, 0, in_order=True), SIZE, declared=(declared,))
                assert again.state is State.SEALED
                await here.reaches(upload_id, end)

    asyncio.run(scenario())


def test_nothing_more_can_be_said_of_the_whole_once_it_is_sealed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            late = sent(here, upload_id, Chunk(SIZE, 0, in_order=True), declared=(Digest("md5", bytes(16)),))
            assert await refusal(late) is Reason.SEALED

    asyncio.run(scenario())


def test_content_can_be_read_while_the_image_is_being_handed_over_or_was_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            outcome = await here.uploads.perform(Read(upload_id), ME, Pieces())
            assert isinstance(outcome, Content)
            await here.reaches(upload_id, State.ACTIVE)  # scratch is freed behind the reader's back
            assert b"".join([piece async for piece in outcome.stream]) == CONTENT
            upload = (await here.inspect(upload_id)).upload
            await here.sink.discard(known(upload.image), None)  # type: ignore[arg-type]
            assert await refusal(read(here, upload_id)) is Reason.IMAGE_SERVICE_UNAVAILABLE

    asyncio.run(scenario())


def test_a_stranger_reads_and_joins_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            with pytest.raises(Refused) as refused:
                await here.uploads.perform(Read(upload_id), Identity(Owner("project", "else")), Pieces())
            assert refused.value.reason is Reason.UNKNOWN_UPLOAD

    asyncio.run(scenario())
