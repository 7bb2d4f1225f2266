"""Uploads of others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason
from resumable_glance.model.commands import Append, Cancel, Chunk, Get, List, Listed
from resumable_glance.model.upload import Owner
from tests.support.rig import SIZE, Pieces, refusal, rig


def test_a_foreign_upload_is_unknown(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            for other in (Owner("project", "other"), Owner("other", "user")):
                for command in (Get(upload_id), Cancel(upload_id), Append(upload_id, Chunk(0, 10), SIZE)):
                    work = here.uploads.perform(command, Identity(other), Pieces(b"x" * 10))
                    assert await refusal(work) is Reason.UNKNOWN_UPLOAD
                assert await here.uploads.perform(List(10), Identity(other), Pieces()) == Listed(())
            assert (await here.inspect(upload_id)).upload.received == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("taking_over", [False, True])
def test_another_user_takes_nothing_over(tmp_path: Path, taking_over: bool) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, None, in_order=True))
            other = Identity(Owner("project", "other"))
            for command in (Get(upload_id, taking_over), Append(upload_id, Chunk(0, None, in_order=True))):
                assert await refusal(here.uploads.perform(command, other, Pieces())) is Reason.UNKNOWN_UPLOAD
            assert not running.done()
            await here.uploads.close()
            assert await refusal(running) is Reason.CLOSING

    asyncio.run(scenario())
