"""Uploads that get their size, their last bytes or their end, or lose their bytes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from pathlib import Path

import pytest

from resumable_glance.errors import Reason
from resumable_glance.model.commands import Append, Cancel, Chunk, Create
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Upload, require
from tests.support.rig import CONTENT, IMAGE, ME, SIZE, Pieces, Rig, Waiting, refusal, rig


def test_an_upload_with_lost_bytes_takes_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 10)
            await here.storage.remove(upload_id)
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.LOST
            upload = (await here.inspect(upload_id)).upload
            assert upload.state is State.FAILED
            assert upload.delivery.last_error is not None
            assert upload.delivery.last_error.reason is FailureReason.SCRATCH_LOST
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.LOST, "and not that it has all of its bytes"
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())

    asyncio.run(scenario())


def test_an_empty_chunk_to_a_complete_upload_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            for body_length in (0, None):
                assert (await here.send_in_order(upload_id, SIZE, Pieces(), body_length)).offset == SIZE
            await here.reaches(upload_id, State.ACTIVE)
            assert await here.files() == set()
            for body_length in (0, None):
                assert (await here.send_in_order(upload_id, SIZE, Pieces(), body_length)).offset == SIZE
            assert await refusal(here.send(upload_id, 0, 10)) is Reason.SEALED
            assert await refusal(here.send_in_order(upload_id, SIZE, Pieces(b"more"), None)) is Reason.SEALED

    asyncio.run(scenario())


def test_a_full_catalog_does_not_stop_a_handoff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            asked, handoffs = asyncio.Event(), here.catalog.uploads.with_handoff

            async def look() -> list[Upload]:
                found = await handoffs()
                asked.set()
                return found

            monkeypatch.setattr(here.catalog.uploads, "with_handoff", look)
            monkeypatch.setattr(here.catalog.uploads, "set_credential", full)
            async with here.handing_over():
                await asked.wait()  # from now on it waits to be woken
                assert await refusal(here.send(upload_id, 0, SIZE)) is Reason.NO_SPACE
                await here.until(upload_id, lambda upload: upload.state is State.ACTIVE)

    asyncio.run(scenario())


async def assert_is_content(here: Rig, upload_id: str) -> None:
    """Sealed now, active in the end, and then the image is the content."""
    assert (await here.inspect(upload_id)).upload.state is State.SEALED
    assert await here.read(upload_id) == CONTENT
    await here.reaches(upload_id, State.ACTIVE)
    upload = (await here.inspect(upload_id)).upload
    assert (here.images / require(upload.image).id).read_bytes() == CONTENT
    assert upload.delivery.proof is not None
    assert upload.delivery.proof.sha512 == hashlib.sha512(CONTENT).hexdigest()
    assert await here.read(upload_id) == CONTENT
    assert await here.files() == set()


def test_a_size_can_come_with_any_chunk_and_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(None, IMAGE, first=Chunk(0, 1000, in_order=True)), CONTENT[:1000])
            assert (upload.size, upload.offset, upload.reserved) == (None, 1000, 1000)
            upload = await here.appended(upload.id, Chunk(1000, 500, in_order=True), SIZE)
            assert (upload.size, upload.offset, upload.reserved) == (SIZE, 1500, SIZE)
            assert await refusal(here.appended(upload.id, Chunk(1500, 5), SIZE + 1)) is Reason.WRONG_TOTAL
            await here.appended(upload.id, Chunk(1500, None, in_order=True))
            await assert_is_content(here, upload.id)

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", CONTENT[1000:]])
def test_a_size_that_turns_out_to_be_reached_seals(tmp_path: Path, body: bytes) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            start = SIZE - len(body)
            upload = await here.created(Create(None, IMAGE, first=Chunk(0, start, in_order=True)), CONTENT[:start])
            assert upload.state is State.RECEIVING
            await here.appended(upload.id, Chunk(start, len(body), in_order=True), SIZE)
            await assert_is_content(here, upload.id)

    asyncio.run(scenario())


def test_a_size_declared_during_a_question_seals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(None, IMAGE, first=Chunk(0, SIZE, in_order=True)), CONTENT)
            durable = here.catalog.uploads.get_with_ranges

            async def told_just_before(upload_id: str, most: int) -> tuple[Upload, list[Range]]:
                await here.catalog.uploads.declare(upload_id, SIZE, ())
                return await durable(upload_id, most)

            monkeypatch.setattr(here.catalog.uploads, "get_with_ranges", told_just_before)
            assert (await here.inspect(upload.id)).upload.state is State.SEALED

    asyncio.run(scenario())


def test_two_parallel_questions_both_see_completion(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(None, IMAGE, first=Chunk(0, SIZE, in_order=True)), CONTENT)
            await here.catalog.uploads.declare(upload.id, SIZE, ())
            both = await asyncio.gather(here.inspect(upload.id), here.inspect(upload.id))
            assert [each.upload.state for each in both] == [State.SEALED] * 2

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [None, SIZE])
def test_an_upload_is_complete_only_when_declared_so(tmp_path: Path, size: int | None) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(size, IMAGE, first=Chunk(0, 1000, last=False)), CONTENT[:1000])
            upload = await here.appended(upload.id, Chunk(1000, SIZE - 1000, in_order=True, last=False))
            assert (upload.offset, upload.state) == (SIZE, State.RECEIVING)
            assert await refusal(here.read(upload.id)) is Reason.UNFINISHED
            upload = await here.appended(upload.id, Chunk(SIZE, 0, in_order=True, last=True))
            assert upload.size == SIZE
            await assert_is_content(here, upload.id)
            again = await here.appended(upload.id, Chunk(SIZE, 0, in_order=True, last=True))  # its answer was lost
            assert again.state is State.ACTIVE

    asyncio.run(scenario())


def test_all_bytes_are_an_end_for_tus_questions(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(SIZE, IMAGE, first=Chunk(0, SIZE, last=False)), CONTENT)
            assert upload.state is State.RECEIVING
            await here.inspect(upload.id)
            await assert_is_content(here, upload.id)

    asyncio.run(scenario())


def test_an_empty_upload_may_wait_for_its_completion(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(0, IMAGE, first=Chunk(0, 0, last=False)))
            assert upload.state is State.RECEIVING
            upload = await here.appended(upload.id, Chunk(0, 0, in_order=True, last=True))
            assert upload.state is State.SEALED

    asyncio.run(scenario())


def test_an_early_end_is_refused_and_its_bytes_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(SIZE, IMAGE))
            append = Append(upload.id, Chunk(0, None, in_order=True, last=True))
            assert await refusal(here.uploads.perform(append, ME, Pieces(CONTENT[:500]))) is Reason.WRONG_TOTAL
            upload = (await here.inspect(upload.id)).upload
            assert (upload.offset, upload.state) == (500, State.RECEIVING)

    asyncio.run(scenario())


def test_a_last_chunk_short_of_the_end_completes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(500, IMAGE))
            append = Append(upload.id, Chunk(0, None, in_order=True, last=True))
            assert await refusal(here.uploads.perform(append, ME, Pieces(CONTENT[:501]))) is Reason.BODY_TOO_LONG
            assert await refusal(here.read(upload.id)) is Reason.UNFINISHED
            upload = await here.appended(upload.id, Chunk(500, 0, in_order=True, last=True))
            assert (upload.offset, upload.state) == (500, State.SEALED)

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize("start", [0, 999, 1001])
def test_a_wrong_offset_is_reported_before_a_wrong_length(tmp_path: Path, size: int | None, start: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(size, IMAGE, first=Chunk(0, 1000, last=False)), CONTENT[:1000])
            late = here.appended(upload.id, Chunk(start, 10, in_order=True, last=True))
            assert await refusal(late) is Reason.WRONG_OFFSET

    asyncio.run(scenario())


def test_a_last_chunk_that_is_cut_completes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await here.created(Create(None, IMAGE))
            body = Waiting(CONTENT[:1000])
            cut = asyncio.create_task(
                here.uploads.perform(Append(upload.id, Chunk(0, None, in_order=True, last=True)), ME, body)
            )
            await asyncio.wait_for(body.waits.wait(), 10)
            after = (await here.inspect(upload.id, taking_over=True)).upload
            assert (after.offset, after.size, after.state) == (1000, None, State.RECEIVING)
            assert await refusal(cut) is Reason.SUPERSEDED

    asyncio.run(scenario())


def test_image_digests_may_come_with_the_last_chunk(tmp_path: Path) -> None:
    right = Digest("sha256", hashlib.sha256(CONTENT).digest())
    wrong = Digest("sha256", bytes(32))

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            for declared, end in ((right, State.ACTIVE), (wrong, State.FAILED)):
                upload_id = await here.create()
                await here.send(upload_id, 0, 1000)
                upload = await here.appended(upload_id, Chunk(1000, SIZE - 1000), SIZE, declared=(declared,))
                assert upload.declared == (declared,)
                again = await here.appended(upload_id, Chunk(SIZE, 0, in_order=True), SIZE, declared=(declared,))
                assert again.state is State.SEALED
                await here.reaches(upload_id, end)

    asyncio.run(scenario())


def test_nothing_more_can_be_said_of_the_whole_once_it_is_sealed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            late = here.appended(upload_id, Chunk(SIZE, 0, in_order=True), declared=(Digest("md5", bytes(16)),))
            assert await refusal(late) is Reason.SEALED

    asyncio.run(scenario())
