from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from resumable_glance.api.middleware import StrangersWait
from resumable_glance.runtime.rate_limit import Pacer


class Turns(Pacer):
    """A pacer that counts the turns that are taken, and lets nobody wait."""

    def __init__(self) -> None:
        super().__init__(1)
        self.taken = 0

    def delay(self) -> float:
        self.taken += 1
        return 0.0


def turns_of(path: str, headers: Sequence[tuple[bytes, bytes]], status: int, *, admitted: bool = False) -> int:
    """Return how many turns a request takes that is answered with this status."""
    pacer, sent = Turns(), list[Message]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if admitted:
            Request(scope).state.admitted = True
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope = {"type": "http", "path": path, "headers": headers}
    asyncio.run(StrangersWait(app, pacer)(scope, receive, send))
    assert len(sent) == 2
    return pacer.taken


TOKEN, TICKET = (b"x-auth-token", b"t"), (b"authorization", b"Bearer t")


@pytest.mark.parametrize("path", ["/", "/v1/uploads", "/nothing"])
@pytest.mark.parametrize(
    ("headers", "status", "admitted", "turns"),
    [
        ((), 200, False, 1),
        ((), 401, False, 1),
        ([TOKEN], 200, True, 0),
        ([TICKET], 404, True, 0),
        ([TOKEN], 401, False, 1),
        ([TICKET], 401, True, 1),
        ([TOKEN], 200, False, 1),
        ([TICKET], 404, False, 1),
    ],
)
def test_only_strangers_take_turns(
    path: str, headers: Sequence[tuple[bytes, bytes]], status: int, admitted: bool, turns: int
) -> None:
    assert turns_of(path, headers, status, admitted=admitted) == turns


def test_health_never_waits() -> None:
    assert turns_of("/healthcheck", (), 200) == turns_of("/healthcheck/ready", (), 503) == 0


@pytest.mark.parametrize("path", ["/healthchecks", "/healthcheck/", "/healthcheck/else"])
def test_an_address_like_that_of_health_waits(path: str) -> None:
    assert turns_of(path, (), 404) == 1
