"""Server-sent events: what polling would tell, when it happens, for as long as the gate lets somebody hear it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from resumable_glance.api import sse
from resumable_glance.api.protocols.base import Reply
from resumable_glance.catalog.notifications import ChangeNotifier
from resumable_glance.model.commands import IssueTicket, UploadFound, Watch
from resumable_glance.model.states import State
from tests.support.launcher import token
from tests.support.rig import CONTENT, ME, SIZE, Pieces, rig
from tests.support.service import Service, development
from tests.support.wire import Client, reason


@dataclass(frozen=True)
class Event:
    kind: str
    document: dict[str, Any]


class Stream:
    """The events of an upload, as a client without a library reads them."""

    def __init__(self, answer: requests.Response) -> None:
        self._lines = answer.iter_lines(chunk_size=1)
        self.answer = answer

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and fields:
                yield Event(fields["event"], json.loads(fields["data"]))
                fields = {}
            elif line and not line.startswith(b":"):
                name, _, value = line.decode().partition(": ")
                fields[name] = value

    def next(self) -> Event:
        return next(iter(self))

    def until(self, state: str) -> dict[str, Any]:
        return next(each.document for each in self if each.document.get("state") == state)


@contextlib.contextmanager
def watched(client: Client, url: str) -> Iterator[Stream]:
    answer = requests.get(f"{url}/events", headers=dict(client.headers), stream=True, timeout=60)
    try:
        assert answer.status_code == 200, answer.text
        yield Stream(answer)
    finally:
        answer.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service at whose gate one has to say who one is, and where two may watch."""
    service = development(tmp_path_factory.mktemp("service"), {"limits": {"streams_per_project": 2}})
    service.module = "tests.support.launcher"
    with service:
        yield service


@pytest.fixture
def ada(served: Service) -> Client:
    return Client(served.url, token("ada"))


def test_who_watches_sees_bytes_arrive_and_the_image_become_active(ada: Client) -> None:
    url = ada.created(SIZE)
    with watched(ada, url) as stream:
        assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
        assert stream.answer.headers["X-Accel-Buffering"] == "no"
        assert stream.answer.headers["Cache-Control"] == "no-store"
        first = stream.next()
        assert (first.kind, first.document["state"], first.document["received"]) == ("upload", "receiving", 0)
        ada.send(url, CONTENT, 500, 1000)
        assert stream.next().document["ranges"] == [[500, 999]]
        ada.send(url, CONTENT, 0, 500)
        assert stream.next().document["offset"] == 1000
        ada.send(url, CONTENT, 1000, SIZE)
        *_, last = list(stream)  # it ends by itself
        assert last.document["state"] == "active"
        assert last.document["handoff"]["delivered"] == SIZE
    assert ada.show(url) == last.document, "polling tells something else"


def test_what_has_ended_is_told_once(ada: Client) -> None:
    url = ada.created(0)
    ada.wait(url, "active")
    with watched(ada, url) as stream:
        assert [each.document["state"] for each in stream] == ["active"]


def test_who_watches_is_told_that_the_upload_was_cancelled(ada: Client) -> None:
    url = ada.created(SIZE)
    with watched(ada, url) as stream:
        stream.next()
        assert ada.request("DELETE", url).status_code == 204
        assert [each.document["state"] for each in stream] == ["cancelled"]
    assert reason(ada.request("GET", f"{url}/events")) == "upload-cancelled"


def test_a_ticket_watches_its_upload_until_it_is_revoked(ada: Client) -> None:
    created = ada.create(SIZE).json()
    holder = Client(ada.url, {"Authorization": f"Bearer {created['ticket']['value']}"})
    with watched(holder, created["href"]) as stream:
        stream.next()
        ada.request("DELETE", f"{created['href']}/ticket")
        (problem,) = list(stream)
        assert (problem.kind, problem.document["status"]) == ("problem", 401)
        assert problem.document["type"].endswith(":ticket-expired")
    assert reason(holder.request("GET", f"{created['href']}/events")) == "ticket-expired"
    other = ada.created(SIZE)
    assert reason(Client(ada.url, token("bob")).request("GET", f"{other}/events")) == "unknown-upload"


def test_a_project_may_have_so_many_streams_and_those_that_have_ended_do_not_count(ada: Client) -> None:
    url = ada.created(SIZE)
    with watched(ada, url) as one, watched(ada, url) as two:
        one.next()
        two.next()
        third = ada.request("GET", f"{url}/events")
        assert (third.status_code, reason(third)) == (429, "over-limit")
        assert int(third.headers["Retry-After"]) > 0
        bob = Client(ada.url, token("bob"))
        with watched(bob, bob.created(SIZE)) as theirs:
            theirs.next()
    deadline = time.monotonic() + 30
    while (
        again := requests.get(f"{url}/events", headers=dict(ada.headers), stream=True, timeout=10)
    ).status_code == 429:
        assert time.monotonic() < deadline, "who went away is still counted"
        time.sleep(0.1)
    again.close()


def test_a_stop_does_not_wait_for_those_who_watch_and_tells_them(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        client = Client(service.url)
        with watched(client, client.created(SIZE)) as stream:
            stream.next()
            heard: list[Event] = []
            listening = threading.Thread(target=lambda: heard.extend(stream))
            listening.start()
            started = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - started < 10
            listening.join(10)
    assert [(each.kind, each.document["type"].rpartition(":")[2]) for each in heard] == [("problem", "shutting-down")]


# Without a network


class Looks:
    """How often somebody looks, while nothing happens."""

    def __init__(self, seen: UploadFound) -> None:
        self.seen = seen
        self.count = 0

    async def __call__(self) -> UploadFound:
        self.count += 1
        return self.seen


def test_while_nothing_happens_the_catalog_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_INTERVAL", 0.01)
    monkeypatch.setattr(sse, "POLL_INTERVAL", 1000)

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            first = await here.uploads.perform(Watch(upload_id), ME, Pieces())
            assert isinstance(first, UploadFound)
            looks = Looks(first)
            streams = sse.EventStreams(here.uploads, here.catalog.notifier, here.core.progress, 0)
            told = streams._events(first, looks, lambda _: Reply(200), lambda _: Reply(400))
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
