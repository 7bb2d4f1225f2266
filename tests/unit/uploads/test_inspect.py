"""Questions about an upload, and its content read again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from resumable_glance.errors import Reason
from resumable_glance.model.commands import Append, Chunk, Content, Read
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import require
from tests.support.rig import CONTENT, ME, SIZE, Pieces, Waiting, refusal, rig


@pytest.mark.parametrize("taking_over", [False, True])
def test_a_question_that_takes_over_gets_a_lasting_offset(tmp_path: Path, taking_over: bool) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, None, in_order=True))
            told = await here.inspect(upload_id, taking_over=taking_over)
            assert running.done() is taking_over
            assert told.upload.offset == (1000 if taking_over else 0)
            assert told.durable == ((Range(0, 1000),) if taking_over else ())
            if not taking_over:
                await here.inspect(upload_id, taking_over=True)
            assert await refusal(running) is Reason.SUPERSEDED

    asyncio.run(scenario())


def test_a_question_right_after_a_chunk_began_takes_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            append = Append(upload_id, Chunk(0, SIZE, in_order=True))
            running = asyncio.create_task(here.uploads.perform(append, ME, Waiting(CONTENT[:1000])))
            await asyncio.sleep(0)  # it asks the catalog for the first time
            told = await here.inspect(upload_id, taking_over=True)
            assert running.done()
            assert await refusal(running) is Reason.SUPERSEDED
            assert (await here.inspect(upload_id)).upload.offset == told.upload.offset

    asyncio.run(run())


def test_content_can_be_read_during_and_after_the_handoff(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            outcome = await here.uploads.perform(Read(upload_id), ME, Pieces())
            assert isinstance(outcome, Content)
            await here.reaches(upload_id, State.ACTIVE)  # scratch is freed behind the reader's back
            assert b"".join([piece async for piece in outcome.stream]) == CONTENT
            upload = (await here.inspect(upload_id)).upload
            await here.image_service.delete(require(upload.image), None)  # type: ignore[arg-type]
            assert await refusal(here.read(upload_id)) is Reason.IMAGE_SERVICE_UNAVAILABLE

    asyncio.run(scenario())
