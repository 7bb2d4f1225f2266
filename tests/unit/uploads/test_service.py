"""The stop of the service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from resumable_glance.errors import Reason
from resumable_glance.model.commands import Append, Chunk
from tests.support.rig import CONTENT, ME, Waiting, refusal, rig


def test_a_stop_asks_a_chunk_that_just_began_to_retry(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            append = Append(await here.create(), Chunk(0, 10_000))
            running = asyncio.create_task(here.uploads.perform(append, ME, Waiting(CONTENT[:1000])))
            await asyncio.sleep(0)  # it has found the service open, and asks the catalog where it may write
            await here.uploads.close()
            async with asyncio.timeout(10):
                assert await refusal(running) is Reason.CLOSING

    asyncio.run(scenario())


def test_after_a_stop_nothing_new_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.uploads.close()
            assert await refusal(here.create()) is Reason.CLOSING
            assert await refusal(here.send(upload_id, 0, 10)) is Reason.CLOSING
            assert (await here.inspect(upload_id)).upload.offset == 0

    asyncio.run(scenario())
