"""Streams of events, without a network."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from resumable_glance.api import sse
from resumable_glance.api.protocols import native
from resumable_glance.api.protocols.base import RequestContext
from resumable_glance.auth.base import Identity
from resumable_glance.model.commands import Watch
from tests.support.rig import ME, Pieces, rig


class Progress(dict[str, int]):
    """Delivered bytes of uploads; counts how often a stream asks for them."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)

    def get(self, upload_id: str, default: Any = None, /) -> Any:
        self.asked.release()
        return super().get(upload_id, default)


def test_while_nothing_happens_the_catalog_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_INTERVAL", 0.01)
    monkeypatch.setattr(sse, "POLL_INTERVAL", 1000)

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            admitted: list[Identity] = []  # once for each look into the catalog

            async def admit() -> Identity:
                admitted.append(ME)
                return ME

            progress = Progress()
            streams = sse.EventStreams(here.uploads, here.catalog.notifier, progress, 0)
            watch = Watch(upload_id)
            response = await streams.open(watch, ME, admit, native, RequestContext("", "", 0, 0))
            events = aiter(response.body_iterator)
            await anext(events)
            waiting = asyncio.ensure_future(anext(events))
            for _ in range(20):
                await progress.asked.acquire()
            assert len(admitted) == 1  # for a change that may have come just before
            progress[upload_id] = cast(dict[str, int], here.core.progress)[upload_id] = 7
            await asyncio.wait_for(waiting, 10)
            assert len(admitted) == 2

    asyncio.run(scenario())


def test_to_watch_binds_no_token_and_completes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            before = await here.catalog.uploads.get(upload_id)
            await here.uploads.perform(Watch(upload_id), ME, Pieces())
            assert await here.catalog.uploads.get(upload_id) == before

    asyncio.run(scenario())
