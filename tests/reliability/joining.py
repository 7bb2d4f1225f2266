"""Joins of parts into one upload, and joins that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reliability.model import Modelled, joined, unfit
from tests.reliability.protocols import PARTS, TUS
from tests.support.launcher import token
from tests.support.raw import Answer

if TYPE_CHECKING:
    from tests.reliability.fixture import Fixture

UNKNOWN = "a-" + "0" * 32


def join(fixture: Fixture, project: str, picks: list[int], fill: bool) -> Modelled:
    """Join some of the waiting parts, filled first with `fill`. Return the whole, or a part if that is refused."""
    chosen = _chosen(fixture, project, picks, fill)
    return _ask(fixture, project, chosen) or chosen[0]


def race(fixture: Fixture, project: str, picks: list[int], rival: str) -> Modelled:
    """Join parts twice at the same time, or join them and cancel one. Return the whole, or a part if there is none.

    The state machine gets an upload in either case: its choices must not depend on the winner.
    """
    chosen = _chosen(fixture, project, picks, fill=True)
    asked = TUS.join(each.id for each in chosen)
    requests = [asked, asked if rival == "join" else TUS.cancel(chosen[-1].id)]
    with fixture.harness.apart() as one, fixture.harness.apart() as two:
        lines = list(zip((one, two), requests, strict=True))
        for line, request in lines if rival == "join" or picks[0] % 2 else reversed(lines):
            line.send(request.plus(token(project)).wire())
        first, second = [line.answer(request.method) for line, request in lines]
    fixture.harness.noted(project, asked, f"at once with {rival}: {first} {second}")
    if rival == "join":
        assert (first.status, second.status) == (201, 201), f"{first} {second}"
        assert first.created == second.created
    elif first.status == 201:
        assert second.reason == "upload-joined", second
    else:
        assert (first.reason, second.status) == ("upload-cancelled", 204), f"{first} {second}"
        chosen[-1].cancel()
        for each in chosen:
            fixture.look(each)
        return chosen[0]
    return _made(fixture, project, chosen, first)


def join_wrongly(fixture: Fixture, project: str, picks: list[int], wrong: str) -> None:
    """Join an upload that is no part, an unknown or foreign one, or a part twice; or repeat a join."""
    mine = [each for each in fixture.uploads if each.project == project]
    chosen = [mine[pick % len(mine)] for pick in picks if mine]
    wholes = [each for each in mine if each.parts]
    if wrong == "again" and wholes:
        _once_more(fixture, wholes[picks[0] % len(wholes)])
    elif wrong in {"unknown", "foreign"}:
        strange = [each.id for each in fixture.uploads if each.project != project and wrong == "foreign"]
        ids = [*(each.id for each in chosen), (strange or [UNKNOWN])[-1]]
        answer = fixture.harness.ask(project, TUS.join(ids))
        assert answer.reason == "unknown-upload", answer
    elif chosen:
        if wrong == "twice":
            chosen.append(chosen[0])
        named = tuple(chosen)
        before = next((each for each in wholes if each.parts == named), None)
        if before is not None:
            _once_more(fixture, before)
        elif len(set(named)) < len(named):
            answer = fixture.harness.ask(project, TUS.join(each.id for each in named))
            assert answer.reason == "malformed-request", answer
        elif unfit(named):
            _ask(fixture, project, chosen)
    for each in chosen:
        fixture.look(each)


def join_the_rest(fixture: Fixture, project: str) -> None:
    """Join all waiting parts that have all of their bytes into one last upload."""
    waiting = [each for each in _waiting(fixture, project) if each.full]
    if waiting:
        _ask(fixture, project, waiting)


def _chosen(fixture: Fixture, project: str, picks: list[int], fill: bool) -> list[Modelled]:
    """Return some waiting parts, each once; create parts if there are too few."""
    while len(waiting := _waiting(fixture, project)) < 2:
        size = picks[-1] * 79
        fixture.create(project, PARTS, size, size, None)
    chosen = list({each.id: each for each in (waiting[pick % len(waiting)] for pick in picks)}.values())
    for each in chosen if fill else ():
        fixture.fill(each)
    return chosen


def _waiting(fixture: Fixture, project: str) -> list[Modelled]:
    return [each for each in fixture.uploads if each.project == project and each.part and each.state == "receiving"]


def _once_more(fixture: Fixture, whole: Modelled) -> None:
    """Repeat a join, as after a lost answer: it is the same upload."""
    answer = fixture.harness.ask(whole.project, TUS.join(each.id for each in whole.parts))
    assert answer.reason == whole.gone, answer
    assert whole.gone or answer.created == whole.id, answer


def _ask(fixture: Fixture, project: str, parts: list[Modelled]) -> Modelled | None:
    refused = unfit(parts)
    answer = fixture.harness.ask(project, TUS.join(each.id for each in parts))
    assert answer.reason == refused, f"{answer} and not {refused!r}"
    if refused:
        return None
    return _made(fixture, project, parts, answer)


def _made(fixture: Fixture, project: str, parts: list[Modelled], answer: Answer) -> Modelled:
    assert answer.status == 201, answer
    upload_id, image_id = fixture.newest(project)
    assert upload_id == answer.created
    whole = joined(upload_id, image_id, tuple(parts))
    assert answer.offset == whole.size
    fixture.uploads.append(whole)
    for each in (whole, *parts):
        fixture.look(each)
    return whole
