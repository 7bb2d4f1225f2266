"""Server-sent events: the changes that polling would show, as long as their reader is authorized."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.launcher import token
from tests.support.rig import CONTENT, SIZE
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
    """A service at whose authenticator one has to say who one is, and where two may watch."""
    service = development(tmp_path_factory.mktemp("service"), {"limits": {"streams_per_project": 2}})
    service.module = "tests.support.launcher"
    with service:
        yield service


@pytest.fixture
def ada(served: Service) -> Client:
    return Client(served.url, token("ada"))


def test_events_show_bytes_arrive_and_the_image_become_active(ada: Client) -> None:
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


def test_an_ended_upload_is_one_event(ada: Client) -> None:
    url = ada.created(0)
    ada.wait(url, "active")
    with watched(ada, url) as stream:
        assert [each.document["state"] for each in stream] == ["active"]


def test_a_cancellation_is_an_event(ada: Client) -> None:
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


def test_open_streams_of_a_project_are_limited(ada: Client) -> None:
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


def test_a_stop_ends_event_streams_with_a_problem(tmp_path: Path) -> None:
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
