"""Behaviours that can't be seen from outside for certain: who hashes, who is told apart, and the narrow moments."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.protocol.commands import Appended, Chunk
from tests.rig import CONTENT, SIZE, Pieces, refusal, rig


def test_a_chunk_that_came_whole_is_taken_though_a_newer_one_came_before_its_end_was_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            older = await here.begun(upload_id, Chunk(0, SIZE, in_order=True), sent=SIZE)
            assert await refusal(here.send_in_order(upload_id, 0, Pieces(CONTENT), SIZE)) is Reason.WRONG_OFFSET
            outcome = await older
            assert isinstance(outcome, Appended)
            assert outcome.upload.offset == SIZE

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [0, 1000])
def test_whoever_is_taken_over_is_told_the_offset_that_is_true_then(tmp_path: Path, sent: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            older = await here.begun(upload_id, Chunk(0, SIZE, in_order=True), sent)
            await here.send_in_order(upload_id, sent, Pieces(CONTENT[sent:]), SIZE - sent)
            with pytest.raises(Refused) as refused:
                await older
            assert (refused.value.reason, refused.value.facts["offset"]) == (Reason.SUPERSEDED, sent)

    asyncio.run(scenario())
