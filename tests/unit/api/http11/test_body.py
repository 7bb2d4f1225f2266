"""Bodies in batches: what they give, and when they are given up."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Scope

from resumable_glance.api.http11 import body as http_body
from resumable_glance.api.http11.body import RequestBody, discard, receiver_of
from resumable_glance.errors import Reason, Refused
from resumable_glance.uploads.body import BATCH, EmptyBody
from tests.fakes.memory_body import PATIENCE, MemoryReceiver, body_of

T = TypeVar("T")
DISCONNECTED = Refused(Reason.DISCONNECTED, "The connection ended before the body did.")
SUPERSEDED = Refused(Reason.SUPERSEDED, "A newer request has taken over.")


def run(scenario: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(scenario, timeout=30))


@contextlib.contextmanager
def refused(reason: Reason) -> Iterator[None]:
    with pytest.raises(Refused) as refusal:
        yield
    assert refusal.value.reason is reason


async def collected(body: RequestBody, limit: int) -> tuple[list[bytes], Reason | None]:
    """Its batches, and why there were no more."""
    found: list[bytes] = []
    try:
        async for each in body.batches(limit):
            found.append(bytes(each))
    except Refused as refusal:
        return found, refusal.reason
    return found, None


# Batches


def test_small_pieces_are_gathered_into_batches() -> None:
    found, reason = run(collected(body_of([b"x" * 1000] * 3000), 3_000_000))
    assert reason is None
    assert [BATCH <= len(each) < BATCH + 1000 for each in found] == [True, True, False]
    assert sum(map(len, found)) == 3_000_000


def test_slow_bytes_do_not_wait_for_a_full_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "GATHER_TIMEOUT", 0.02)

    async def scenario() -> None:
        batches = aiter(body_of([b"x", b"y"], silent=True).batches(1000))
        assert bytes(await anext(batches)) == b"xy", "although nothing more comes"

    run(scenario())


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=20), st.integers(0, 200), st.booleans())
def test_received_bytes_come_before_an_interruption(pieces: list[bytes], length: int, cut: bool) -> None:
    sent = b"".join(pieces)
    found, reason = run(collected(body_of(pieces, DISCONNECTED if cut else None), length))
    assert b"".join(found) == sent[:length]
    assert all(found)
    expected = Reason.BODY_TOO_LONG if len(sent) > length else Reason.DISCONNECTED if cut else None
    assert reason is expected


def test_after_a_piece_that_is_too_much_nothing_more_is_read() -> None:
    receiver = MemoryReceiver([b"12345", b"67890"])
    assert run(collected(RequestBody(receiver, PATIENCE), 3)) == ([b"123"], Reason.BODY_TOO_LONG)
    assert receiver.waits == 1


@pytest.mark.parametrize(("pieces", "expected"), [([], True), ([b"x"], False), ([b"x" * 2 * BATCH], False)])
def test_a_body_is_empty_or_it_is_not(pieces: list[bytes], expected: bool) -> None:
    assert run(body_of(pieces).is_empty()) is expected


def test_whether_a_cut_body_is_empty_is_not_known() -> None:
    with refused(Reason.DISCONNECTED):
        run(body_of([], DISCONNECTED).is_empty())


def test_the_body_of_a_command_that_has_none_is_empty() -> None:
    async def scenario() -> None:
        body = EmptyBody()
        body.interrupt(SUPERSEDED)
        body.check()
        assert [each async for each in body.batches(10)] == []
        assert await body.is_empty()

    run(scenario())


# Documents


def test_a_document_is_the_whole_body() -> None:
    assert run(body_of([b"{", b"}"]).whole(2, 30)) == b"{}"


def test_a_document_that_is_too_long_is_refused_with_the_limit() -> None:
    with pytest.raises(Refused) as refusal:
        run(body_of([b"{", b"}}"], silent=True).whole(2, 30))
    assert (refusal.value.reason, refusal.value.facts) == (Reason.BODY_TOO_LONG, {"limit": 2})


def test_a_document_has_its_time_however_steadily_it_comes() -> None:
    class Steady(MemoryReceiver):
        async def next(self) -> bytes:
            await asyncio.sleep(0.01)
            return b" "

    with refused(Reason.STALLED):
        run(RequestBody(Steady([]), PATIENCE).whole(1000, 0.1))


# Interruptions


def test_an_interruption_ends_a_present_wait_at_once() -> None:
    async def scenario() -> None:
        receiver = MemoryReceiver([b"came"], silent=True)
        body = RequestBody(receiver, PATIENCE)
        reading = asyncio.create_task(collected(body, 100))
        await receiver.is_silent.wait()
        body.interrupt(SUPERSEDED)
        async with asyncio.timeout(1):
            assert await reading == ([b"came"], Reason.SUPERSEDED)

    run(scenario())


def test_an_interruption_between_waits_precedes_more_bytes() -> None:
    async def scenario() -> None:
        receiver = MemoryReceiver([b"x", b"late"])
        body = RequestBody(receiver, PATIENCE)
        body.check()
        body.interrupt(SUPERSEDED)
        body.interrupt(DISCONNECTED)  # the first one is told
        with refused(Reason.SUPERSEDED):
            body.check()
        assert await collected(body, 100) == ([], Reason.SUPERSEDED)
        assert receiver.waits == 0

    run(scenario())


@pytest.mark.parametrize("turns", range(4))
def test_a_second_interruption_may_come_at_any_moment(turns: int) -> None:
    """Also while the timer that the first one has set off is about to end the wait."""

    async def scenario() -> None:
        receiver = MemoryReceiver([], silent=True)
        body = RequestBody(receiver, PATIENCE)
        reading = asyncio.create_task(collected(body, 100))
        await receiver.is_silent.wait()
        body.interrupt(SUPERSEDED)
        for _ in range(turns):
            await asyncio.sleep(0)
        body.interrupt(DISCONNECTED)
        assert await reading == ([], Reason.SUPERSEDED)

    run(scenario())


# How long a body is waited for


class Slow(MemoryReceiver):
    """A piece every 20 ms."""

    async def next(self) -> bytes:
        await asyncio.sleep(0.02)
        return await super().next()


def test_a_silent_body_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "GATHER_TIMEOUT", 0.02)  # many of them until it is

    async def scenario() -> None:
        began = asyncio.get_running_loop().time()
        body = RequestBody(MemoryReceiver([b"came"], silent=True), 0.1)
        assert await collected(body, 100) == ([b"came"], Reason.STALLED)
        assert asyncio.get_running_loop().time() - began >= 0.095

    run(scenario())


def test_a_slow_body_is_not_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "GATHER_TIMEOUT", 0.05)
    found, reason = run(collected(RequestBody(Slow([b"x"] * 20), 0.2), 100))
    assert (b"".join(found), reason) == (b"x" * 20, None)


def test_a_body_below_the_minimum_rate_keeps_its_bytes() -> None:
    found, reason = run(collected(RequestBody(Slow([b"x"] * 1000), 0.2, min_rate=1000), 1000))
    assert reason is Reason.STALLED
    assert 0 < len(b"".join(found)) < 1000


def test_a_fast_body_is_not_abandoned_while_it_is_gathered() -> None:
    found, reason = run(collected(RequestBody(Slow([b"x" * 1000] * 50), 0.5, min_rate=1000), 50_000))
    assert (len(b"".join(found)), reason) == (50_000, None)


def test_only_time_spent_waiting_counts_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "BATCH", 1)

    async def scenario() -> None:
        async for batch in RequestBody(MemoryReceiver([b"x"] * 10), 0.05, min_rate=1000).batches(10):
            assert bytes(batch) == b"x"
            await asyncio.sleep(0.03)  # what is done with it

    run(scenario())


# Bodies from any ASGI server


def scope(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "headers": headers}


def messages(pieces: Sequence[bytes], *, cut: bool = False) -> list[Message]:
    sent: list[Message] = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
    return [*sent, {"type": "http.disconnect"} if cut else {"type": "http.request"}]


def asgi_body(pieces: Sequence[bytes], *, cut: bool = False) -> RequestBody:
    waiting = messages(pieces, cut=cut)

    async def receive() -> Message:
        return waiting.pop(0)

    return RequestBody(receiver_of(scope(), receive), PATIENCE)


@pytest.mark.parametrize("pieces", [[], [b""], [b"a"], [b"a", b"", b"bc"]])
@pytest.mark.parametrize("cut", [False, True])
def test_a_body_can_come_from_any_asgi_server(pieces: list[bytes], cut: bool) -> None:
    found, reason = run(collected(asgi_body(pieces, cut=cut), 100))
    assert b"".join(found) == b"".join(pieces)
    assert reason is (Reason.DISCONNECTED if cut else None)


async def never() -> Message:
    pytest.fail("nobody has asked")


@pytest.mark.parametrize(
    ("headers", "rest"),
    [((), 0), (((b"content-length", b"7"),), 7), (((b"transfer-encoding", b"chunked"),), math.inf)],
)
def test_the_remaining_length_is_known_at_the_start(headers: tuple[tuple[bytes, bytes], ...], rest: float) -> None:
    assert receiver_of(scope(*headers), never).rest == rest


def test_the_remaining_length_falls_to_zero() -> None:
    waiting = messages([b"abc", b"d"])

    async def receive() -> Message:
        return waiting.pop(0)

    async def rests() -> AsyncIterator[float]:
        receiver = receiver_of(scope((b"content-length", b"9")), receive)
        while not receiver.ended:
            await receiver.more()
            yield receiver.rest

    async def scenario() -> None:
        assert [each async for each in rests()] == [6, 5, 0]

    run(scenario())


def test_a_request_has_one_receiver() -> None:
    request = scope()
    assert receiver_of(request, never) is receiver_of(request, never)


@pytest.mark.parametrize(
    ("receiver", "received"),
    [
        (MemoryReceiver([b"x" * 10] * 3), 30),
        (MemoryReceiver([b"x" * 10] * 30), 50),
        (MemoryReceiver([b"x" * 10], silent=True), 10),
    ],
    ids=["to its end", "to the limit", "for some time"],
)
def test_the_rest_of_a_body_is_thrown_away_within_limits(receiver: MemoryReceiver, received: int) -> None:
    run(discard(receiver, 50, 0.1))
    assert receiver.received == received
    assert not receiver.take()
