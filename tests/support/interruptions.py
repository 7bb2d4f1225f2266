"""Chunks that do not come as they should: cut at any byte, stalled and taken over, twice at once, killed.

What was acknowledged stays; of the rest a prefix may count, or nothing if a digest was declared. Which it is, the
service says afterwards, and the model takes it over.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from tests.reliability.fixture import SEALED, Scene
from tests.reliability.model import Kept, Modelled
from tests.reliability.speakers import IETF, NATIVE, TUS, Chunk, Speaker
from tests.support.launcher import token
from tests.support.raw import Request

SUPERSEDED = "superseded"


def cut(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk, permille: int, how: str) -> None:
    """Send a part of the request, or all of it, and go away: `how` is close, reset or kill (the service)."""
    request = speaker.append(upload.id, chunk).plus(token(upload.project))
    length = len(request.wire()) * permille // 1000
    kept = upload.interrupted(chunk, request.carried(length))
    scene.stage.noted(upload.project, request, f"cut after {length} bytes by {how}")
    _send_and_leave(scene, request, length, how)
    if how == "kill":
        scene.stage.begin()
    scene.settle(upload, chunk, kept)


def cut_creation(
    scene: Scene, project: str, speaker: Speaker, size: int | None, first: Chunk | None, permille: int, how: str
) -> None:
    """Go away in the middle of a creation. If there is an upload, nobody knows its address, so it is cancelled."""
    request = speaker.create(size, first).plus(token(project))
    scene.stage.noted(project, request, f"cut after {permille} permille by {how}")
    _send_and_leave(scene, request, len(request.wire()) * permille // 1000, how)
    scene.disown(project)


def _send_and_leave(scene: Scene, request: Request, length: int, how: str) -> None:
    stage = scene.stage
    begun = stage.panel.begun + (length >= request.head_length())
    with stage.apart() as line:
        line.send(request.wire()[:length])
        if how == "kill":
            time.sleep(scene.chance.random() * 0.01)
            stage.end(gracefully=False)
            return
        stage.await_begun(begun)
        line.close(reset=how == "reset")
    stage.await_idle()


def race(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk) -> None:
    """The same chunk twice at the same time."""
    request = speaker.append(upload.id, chunk).plus(token(upload.project))
    outcomes = upload.outcomes(chunk)
    with scene.stage.apart() as one, scene.stage.apart() as two:
        for line in (one, two):
            line.send(request.wire())
        reasons = {line.answer(request.method).reason for line in (one, two)}
    scene.stage.noted(upload.project, request, f"twice at once: {reasons}")
    allowed = set(outcomes)
    if not upload.refused_by_head(chunk):
        # The other one may have moved the offset, or sealed the upload.
        allowed |= {SUPERSEDED, SEALED} | ({"wrong-offset"} if speaker.in_order else set())
    assert reasons <= allowed, f"{reasons} and not one of {allowed}"
    if "" in reasons and "" in outcomes:
        kept = outcomes[""]
    else:
        kept = upload.interrupted(chunk, len(chunk.body))
        assert speaker.in_order or set(outcomes) != {""}, f"one of the two must come through, not {reasons}"
    scene.settle(upload, chunk, kept)


def stall(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk, permille: int, then: str) -> None:
    """Begin to send a chunk, wait, and let something else happen; then its other bytes come, too late or not."""
    request = speaker.append(upload.id, chunk).plus(token(upload.project))
    wire, head = request.wire(), request.head_length()
    length = head + (len(wire) - head) * permille // 1000
    if length == len(wire):
        length -= 1  # or there is nothing to wait for
    if length < head:
        return  # a chunk of no bytes can't stall
    outcomes = upload.outcomes(chunk)
    refused = upload.refused_by_head(chunk)
    early = {each for each in outcomes if each in {refused, "different-bytes", SEALED}}
    early |= {""} if upload.state == "sealed" and "" in outcomes else set()
    sent = request.carried(length)
    scene.stage.noted(upload.project, request, f"stalls after {sent} bytes, then: {then}")
    begun = scene.stage.panel.begun
    with scene.stage.apart() as line:
        line.send(wire[:length])
        scene.stage.await_begun(begun + 1)
        if then == "go on":
            scene.settle(upload, chunk, upload.interrupted(chunk, sent), meanwhile=True)
            _elsewhere(scene, upload, speaker, chunk)
            line.try_to_send(wire[length:])
            answer = line.answer(request.method)
            assert answer.reason in outcomes, f"{answer} and not one of {list(outcomes)}"
            scene.settle(upload, chunk, outcomes[answer.reason])
            return
        expected = TAKEN_OVER[then](scene, upload, speaker, chunk, sent)
        if then != "kill":
            if then != "stop":
                line.try_to_send(wire[length:])
            answer = line.answer(request.method)
            assert answer.reason in expected | early, f"{answer} and not one of {expected | early}"
    if then in {"kill", "stop"}:
        scene.stage.begin()
        scene.settle(upload, chunk, upload.interrupted(chunk, sent))
    else:
        scene.stage.await_idle()
    scene.look(upload)


def _elsewhere(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk) -> None:
    """Send a chunk to where the stalled one has no place: that does not wait for it."""
    start, stop = upload.place(chunk)
    free = [each for each in upload.gaps if each[1] <= start or stop <= each[0]]
    if free and not upload.gone:
        (first, last), size = free[0], upload.size
        scene.append(upload, NATIVE, Chunk(first, last, scene.chance.randbytes(last - first), total=size))


def _asked(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk, sent: int) -> set[str]:
    speaker = TUS if chunk.last is None else IETF
    answer = scene.stage.ask(upload.project, speaker.inspect(upload.id))
    scene.settle(upload, chunk, upload.interrupted(chunk, sent))
    assert answer.status == 410 if upload.gone else answer.status < 300, answer
    assert upload.gone or answer.offset == upload.offset, f"{answer} and then {upload.offset}"
    return {SUPERSEDED}


def _sent_again(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk, sent: int) -> set[str]:
    """The same bytes as far as they were sent, and others where the late ones would land."""
    kept = upload.interrupted(chunk, sent)
    body = bytearray(chunk.body)
    for start, stop in upload.gaps:
        first, last = max(start, chunk.start + sent), min(stop, chunk.start + len(body))
        if first < last:
            body[first - chunk.start : last - chunk.start] = scene.chance.randbytes(last - first)
    again = dataclasses.replace(chunk, body=bytes(body), declared=())
    outcomes = upload.outcomes(again)
    answer = scene.stage.ask(upload.project, speaker.append(upload.id, again))
    if answer.reason == "wrong-offset" and not upload.refused_by_head(again):
        scene.settle(upload, chunk, kept)  # what the first one had brought has moved the offset
        assert answer.offset == upload.offset > chunk.start
        return {SUPERSEDED}
    assert answer.reason in outcomes, f"{answer} and not one of {list(outcomes)}"
    of_this = outcomes[answer.reason]
    if of_this.least < kept.most:  # it was refused itself, and the first one's bytes count
        of_this = Kept(of_this.least, max(of_this.most, kept.most))
    scene.settle(upload, again, of_this)
    return {SUPERSEDED}


def _discarded(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk, sent: int) -> set[str]:
    scene.discard(upload, speaker)
    return {"upload-cancelled"}


def _killed(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk, sent: int) -> set[str]:
    scene.stage.end(gracefully=False)
    return set()


def _stopped(scene: Scene, upload: Modelled, speaker: Speaker, chunk: Chunk, sent: int) -> set[str]:
    scene.stage.end(gracefully=True)
    return {"shutting-down"}


TAKEN_OVER: dict[str, Callable[[Scene, Modelled, Speaker, Chunk, int], set[str]]] = {
    "asked": _asked,
    "again": _sent_again,
    "discarded": _discarded,
    "kill": _killed,
    "stop": _stopped,
}
