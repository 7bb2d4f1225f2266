"""Interrupted chunks: cut at any byte, stalled and superseded, sent twice at once, killed.

Acknowledged bytes stay. Of the others a prefix may count, or nothing if a digest was declared. The service's next
answer tells how much, and the model takes that over.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from tests.reliability.fixture import SEALED, Fixture
from tests.reliability.model import Kept, Modelled
from tests.reliability.protocols import NATIVE, RUFH, TUS, Chunk, WireProtocol
from tests.support.launcher import token
from tests.support.raw import Request

SUPERSEDED = "superseded"


def cut(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk, permille: int, how: str) -> None:
    """Send a part of the request, or all of it, and hang up. `how`: close, reset, or kill the service."""
    request = protocol.append(upload.id, chunk).plus(token(upload.project))
    length = len(request.wire()) * permille // 1000
    kept = upload.interrupted(chunk, request.carried(length))
    fixture.harness.noted(upload.project, request, f"cut after {length} bytes by {how}")
    _send_and_leave(fixture, request, length, how)
    if how == "kill":
        fixture.harness.begin()
    fixture.settle(upload, chunk, kept)


def cut_creation(
    fixture: Fixture,
    project: str,
    protocol: WireProtocol,
    size: int | None,
    first: Chunk | None,
    permille: int,
    how: str,
) -> None:
    """Hang up in the middle of a creation. An upload that was made all the same is cancelled."""
    request = protocol.create(size, first).plus(token(project))
    fixture.harness.noted(project, request, f"cut after {permille} permille by {how}")
    _send_and_leave(fixture, request, len(request.wire()) * permille // 1000, how)
    fixture.disown(project)


def _send_and_leave(fixture: Fixture, request: Request, length: int, how: str) -> None:
    harness = fixture.harness
    begun = harness.panel.begun + (length >= request.head_length())
    with harness.apart() as line:
        line.send(request.wire()[:length])
        if how == "kill":
            time.sleep(fixture.chance.random() * 0.01)
            harness.end(gracefully=False)
            return
        harness.await_begun(begun)
        line.close(reset=how == "reset")
    harness.await_idle()


def race(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk) -> None:
    """Send the same chunk twice at the same time."""
    request = protocol.append(upload.id, chunk).plus(token(upload.project))
    outcomes = upload.outcomes(chunk)
    with fixture.harness.apart() as one, fixture.harness.apart() as two:
        for line in (one, two):
            line.send(request.wire())
        reasons = {line.answer(request.method).reason for line in (one, two)}
    fixture.harness.noted(upload.project, request, f"twice at once: {reasons}")
    allowed = set(outcomes)
    if not upload.refused_by_head(chunk):
        # The other request may have moved the offset, or sealed the upload.
        allowed |= {SUPERSEDED, SEALED} | ({"wrong-offset"} if protocol.in_order else set())
    assert reasons <= allowed, f"{reasons} and not one of {allowed}"
    if "" in reasons and "" in outcomes:
        kept = outcomes[""]
    else:
        kept = upload.interrupted(chunk, len(chunk.body))
        assert protocol.in_order or set(outcomes) != {""}, f"one of the two must come through, not {reasons}"
    fixture.settle(upload, chunk, kept)


def stall(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk, permille: int, then: str) -> None:
    """Send the beginning of a chunk, let something else happen, then send the other bytes, too late or not."""
    request = protocol.append(upload.id, chunk).plus(token(upload.project))
    wire, head = request.wire(), request.head_length()
    length = head + (len(wire) - head) * permille // 1000
    if length == len(wire):
        length -= 1  # else the service waits for nothing
    if length < head:
        return  # a chunk without bytes can't stall
    outcomes = upload.outcomes(chunk)
    refused = upload.refused_by_head(chunk)
    early = {each for each in outcomes if each in {refused, "different-bytes", SEALED}}
    early |= {""} if upload.state == "sealed" and "" in outcomes else set()
    sent = request.carried(length)
    fixture.harness.noted(upload.project, request, f"stalls after {sent} bytes, then: {then}")
    begun = fixture.harness.panel.begun
    with fixture.harness.apart() as line:
        line.send(wire[:length])
        fixture.harness.await_begun(begun + 1)
        if then == "go on":
            fixture.settle(upload, chunk, upload.interrupted(chunk, sent), meanwhile=True)
            _elsewhere(fixture, upload, protocol, chunk)
            line.try_to_send(wire[length:])
            answer = line.answer(request.method)
            assert answer.reason in outcomes, f"{answer} and not one of {list(outcomes)}"
            fixture.settle(upload, chunk, outcomes[answer.reason])
            return
        expected = TAKEN_OVER[then](fixture, upload, protocol, chunk, sent)
        if then != "kill":
            if then != "stop":
                line.try_to_send(wire[length:])
            answer = line.answer(request.method)
            assert answer.reason in expected | early, f"{answer} and not one of {expected | early}"
    if then in {"kill", "stop"}:
        fixture.harness.begin()
        fixture.settle(upload, chunk, upload.interrupted(chunk, sent))
    else:
        fixture.harness.await_idle()
    fixture.look(upload)


def _elsewhere(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk) -> None:
    """Send a chunk of another range than the stalled one's: it does not wait."""
    start, stop = upload.place(chunk)
    free = [each for each in upload.gaps if each[1] <= start or stop <= each[0]]
    if free and not upload.gone:
        (first, last), size = free[0], upload.size
        fixture.append(upload, NATIVE, Chunk(first, last, fixture.chance.randbytes(last - first), total=size))


def _asked(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk, sent: int) -> set[str]:
    protocol = TUS if chunk.last is None else RUFH
    answer = fixture.harness.ask(upload.project, protocol.inspect(upload.id))
    fixture.settle(upload, chunk, upload.interrupted(chunk, sent))
    assert answer.status == 410 if upload.gone else answer.status < 300, answer
    assert upload.gone or answer.offset == upload.offset, f"{answer} and then {upload.offset}"
    return {SUPERSEDED}


def _sent_again(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk, sent: int) -> set[str]:
    """Send the same chunk with other bytes in place of the late ones."""
    kept = upload.interrupted(chunk, sent)
    body = bytearray(chunk.body)
    for start, stop in upload.gaps:
        first, last = max(start, chunk.start + sent), min(stop, chunk.start + len(body))
        if first < last:
            body[first - chunk.start : last - chunk.start] = fixture.chance.randbytes(last - first)
    again = dataclasses.replace(chunk, body=bytes(body), declared=())
    outcomes = upload.outcomes(again)
    answer = fixture.harness.ask(upload.project, protocol.append(upload.id, again))
    if answer.reason == "wrong-offset" and not upload.refused_by_head(again):
        fixture.settle(upload, chunk, kept)  # the first request has moved the offset
        assert answer.offset == upload.offset > chunk.start
        return {SUPERSEDED}
    assert answer.reason in outcomes, f"{answer} and not one of {list(outcomes)}"
    of_this = outcomes[answer.reason]
    if of_this.least < kept.most:  # it was refused, and the first request's bytes count
        of_this = Kept(of_this.least, max(of_this.most, kept.most))
    fixture.settle(upload, again, of_this)
    return {SUPERSEDED}


def _cancelled(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk, sent: int) -> set[str]:
    fixture.cancel(upload, protocol)
    return {"upload-cancelled"}


def _killed(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk, sent: int) -> set[str]:
    fixture.harness.end(gracefully=False)
    return set()


def _stopped(fixture: Fixture, upload: Modelled, protocol: WireProtocol, chunk: Chunk, sent: int) -> set[str]:
    fixture.harness.end(gracefully=True)
    return {"shutting-down"}


TAKEN_OVER: dict[str, Callable[[Fixture, Modelled, WireProtocol, Chunk, int], set[str]]] = {
    "asked": _asked,
    "again": _sent_again,
    "cancelled": _cancelled,
    "kill": _killed,
    "stop": _stopped,
}
