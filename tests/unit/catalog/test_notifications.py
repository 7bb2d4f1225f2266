"""Tasks that wait for a change of an upload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.notifications import ChangeNotifier
from resumable_glance.model.commands import IssueTicket
from resumable_glance.model.states import Event, State
from tests.support.records import extent, upload, wait
from tests.support.rig import ME, SIZE, Pieces, rig


def test_each_change_notifies_of_its_upload_only(tmp_path: Path) -> None:
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


def test_nothing_is_kept_of_ended_subscriptions() -> None:
    async def scenario() -> None:
        news = ChangeNotifier()
        with news.subscribe("a"), news.subscribe("a") as second:
            second.clear()
            news.notify(["a", "b"])
            assert second.is_set()
        assert news._waiting == {}
        news.notify(["a"])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        lambda catalog, upload_id: catalog.uploads.commit(upload_id, [extent(0, 10)], 1001.0, 2001.0),
        lambda catalog, upload_id: catalog.uploads.transition(upload_id, Event.CANCELLED, 1001.0),
        lambda catalog, upload_id: catalog.uploads.set_credential(upload_id, None, due=1500.0, waits_until=5000.0),
        lambda catalog, upload_id: catalog.uploads.revoke_tickets(upload_id),
    ],
    ids=["commit", "happen", "bind", "revoke"],
)
def test_a_subscriber_is_notified_of_its_upload(
    catalog: Catalog, change: Callable[[Catalog, str], Awaitable[object]]
) -> None:
    async def scenario() -> None:
        for each in (made, other):
            await catalog.uploads.add(each, None)
        with catalog.notifier.subscribe(made.id) as news, catalog.notifier.subscribe(other.id) as others:
            news.clear()
            others.clear()
            await change(catalog, made.id)
            await asyncio.wait_for(news.wait(), 5)
            assert not others.is_set()

    made, other = upload(), upload()
    wait(scenario())
