"""Parts are joined into one upload, or refused: whatever is named as a part, in whatever order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reliability.model import Modelled, joined, unfit
from tests.reliability.speakers import PARTS, TUS
from tests.support.launcher import token
from tests.support.raw import Answer

if TYPE_CHECKING:
    from tests.reliability.fixture import Scene

UNKNOWN = "a-" + "0" * 32


def join(scene: Scene, project: str, picks: list[int], fill: bool) -> Modelled:
    """Join some of the parts that wait for it; with `fill` they have all of their bytes. The whole, else a part."""
    chosen = _chosen(scene, project, picks, fill)
    return _ask(scene, project, chosen) or chosen[0]


def race(scene: Scene, project: str, picks: list[int], rival: str) -> Modelled:
    """Join parts twice at the same time, or join and cancel: there is one upload with all bytes, or none, and then a
    part is given back. Something is in any case, for what the machine chooses from must not depend on who wins."""
    chosen = _chosen(scene, project, picks, fill=True)
    asked = TUS.join(each.id for each in chosen)
    requests = [asked, asked if rival == "join" else TUS.discard(chosen[-1].id)]
    with scene.stage.apart() as one, scene.stage.apart() as two:
        lines = list(zip((one, two), requests, strict=True))
        for line, request in lines if rival == "join" or picks[0] % 2 else reversed(lines):
            line.send(request.plus(token(project)).wire())
        first, second = [line.answer(request.method) for line, request in lines]
    scene.stage.noted(project, asked, f"at once with {rival}: {first} {second}")
    if rival == "join":
        assert (first.status, second.status) == (201, 201), f"{first} {second}"
        assert first.created == second.created
    elif first.status == 201:
        assert second.reason == "upload-joined", second
    else:
        assert (first.reason, second.status) == ("upload-cancelled", 204), f"{first} {second}"
        chosen[-1].cancel()
        for each in chosen:
            scene.look(each)
        return chosen[0]
    return _made(scene, project, chosen, first)


def join_wrongly(scene: Scene, project: str, picks: list[int], wrong: str) -> None:
    """Name what is no part, or nobody's, or a part twice; or ask for the same once more."""
    mine = [each for each in scene.uploads if each.project == project]
    chosen = [mine[pick % len(mine)] for pick in picks if mine]
    wholes = [each for each in mine if each.parts]
    if wrong == "again" and wholes:
        _once_more(scene, wholes[picks[0] % len(wholes)])
    elif wrong in {"unknown", "foreign"}:
        strange = [each.id for each in scene.uploads if each.project != project and wrong == "foreign"]
        ids = [*(each.id for each in chosen), (strange or [UNKNOWN])[-1]]
        answer = scene.stage.ask(project, TUS.join(ids))
        assert answer.reason == "unknown-upload", answer
    elif chosen:
        if wrong == "twice":
            chosen.append(chosen[0])
        named = tuple(chosen)
        before = next((each for each in wholes if each.parts == named), None)
        if before is not None:
            _once_more(scene, before)
        elif len(set(named)) < len(named):
            answer = scene.stage.ask(project, TUS.join(each.id for each in named))
            assert answer.reason == "malformed-request", answer
        elif unfit(named):
            _ask(scene, project, chosen)
    for each in chosen:
        scene.look(each)


def join_the_rest(scene: Scene, project: str) -> None:
    """Whatever part still waits becomes a piece of one last upload."""
    waiting = [each for each in _waiting(scene, project) if each.full]
    if waiting:
        _ask(scene, project, waiting)


def _chosen(scene: Scene, project: str, picks: list[int], fill: bool) -> list[Modelled]:
    """Parts that wait, each once; new ones where too few do."""
    while len(waiting := _waiting(scene, project)) < 2:
        size = picks[-1] * 79
        scene.create(project, PARTS, size, size, None)
    chosen = list({each.id: each for each in (waiting[pick % len(waiting)] for pick in picks)}.values())
    for each in chosen if fill else ():
        scene.fill(each)
    return chosen


def _waiting(scene: Scene, project: str) -> list[Modelled]:
    return [each for each in scene.uploads if each.project == project and each.part and each.state == "receiving"]


def _once_more(scene: Scene, whole: Modelled) -> None:
    """The answer to a join may have been lost: the same one again is the same upload."""
    answer = scene.stage.ask(whole.project, TUS.join(each.id for each in whole.parts))
    assert answer.reason == whole.gone, answer
    assert whole.gone or answer.created == whole.id, answer


def _ask(scene: Scene, project: str, parts: list[Modelled]) -> Modelled | None:
    refused = unfit(parts)
    answer = scene.stage.ask(project, TUS.join(each.id for each in parts))
    assert answer.reason == refused, f"{answer} and not {refused!r}"
    if refused:
        return None
    return _made(scene, project, parts, answer)


def _made(scene: Scene, project: str, parts: list[Modelled], answer: Answer) -> Modelled:
    assert answer.status == 201, answer
    upload_id, image_id = scene.newest(project)
    assert upload_id == answer.created
    whole = joined(upload_id, image_id, tuple(parts))
    assert answer.offset == whole.size
    scene.uploads.append(whole)
    for each in (whole, *parts):
        scene.look(each)
    return whole
