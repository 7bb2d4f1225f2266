"""Tasks that wait for a change of an upload are woken."""

from __future__ import annotations

import asyncio
from pathlib import Path

from resumable_glance.catalog.notifications import ChangeNotifier
from resumable_glance.model.commands import IssueTicket
from resumable_glance.model.states import State
from tests.support.rig import ME, SIZE, Pieces, rig


def test_every_change_is_news_and_of_that_upload_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            mine, other = await here.create(), await here.create()
            with here.catalog.notifier.subscribe(mine) as news, here.catalog.notifier.subscribe(other) as others:
                for each in (news, others):
                    each.clear()
                for change in (
                    here.send(mine, 0, 1000),
                    here.uploads.perform(IssueTicket(mine), ME, Pieces()),
                    here.catalog.uploads.revoke_tickets(mine),
                    here.send(mine, 1000, SIZE),
                    here.reaches(mine, State.ACTIVE),
                ):
                    await change
                    await asyncio.wait_for(news.wait(), 10)
                    news.clear()
                assert not others.is_set()

    asyncio.run(scenario())


def test_nothing_is_kept_of_those_who_have_gone() -> None:
    async def scenario() -> None:
        news = ChangeNotifier()
        with news.subscribe("a"), news.subscribe("a") as second:
            second.clear()
            news.notify(["a", "b"])
            assert second.is_set()
        assert news._waiting == {}
        news.notify(["a"])

    asyncio.run(scenario())
