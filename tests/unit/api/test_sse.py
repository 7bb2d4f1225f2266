"""Streams of events, without a network."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from resumable_glance.api import sse
from resumable_glance.api.protocols.base import Reply
from resumable_glance.model.commands import UploadFound, Watch
from tests.support.rig import ME, Pieces, rig


class Looks:
    """How often somebody looks, while nothing happens."""

    def __init__(self, seen: UploadFound) -> None:
        self.seen = seen
        self.count = 0

    async def __call__(self) -> UploadFound:
        self.count += 1
        return self.seen


def test_while_nothing_happens_the_catalog_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PACE", 0.01)
    monkeypatch.setattr(sse, "LOOK", 1000)

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            first = await here.uploads.perform(Watch(upload_id), ME, Pieces())
            assert isinstance(first, UploadFound)
            looks = Looks(first)
            streams = sse.EventStreams(here.uploads, here.catalog.notifier, here.core.progress, 0)
            told = streams._told(first, looks, lambda _: Reply(200), lambda _: Reply(400))
            await anext(told)
            waiting = asyncio.ensure_future(anext(told))
            await asyncio.sleep(0.5)
            assert looks.count == 1  # for what may have happened just before
            cast(dict[str, int], here.core.progress)[upload_id] = 7
            looks.seen = UploadFound(first.upload, (), 7)
            await asyncio.wait_for(waiting, 10)
            assert looks.count == 2

    asyncio.run(scenario())


def test_to_watch_binds_no_token_and_completes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            before = await here.catalog.uploads.get(upload_id)
            await here.uploads.perform(Watch(upload_id), ME, Pieces())
            assert await here.catalog.uploads.get(upload_id) == before

    asyncio.run(scenario())
