"""Parts are joined into one upload, or refused: whatever is named as a part, in whatever order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import Modelled, joined, unfit
from tests.speakers import TUS

if TYPE_CHECKING:
    from tests.scene import Scene

UNKNOWN = "a-" + "0" * 32


def join(scene: Scene, project: str, picks: list[int], fill: bool) -> Modelled | None:
    """Join some of the parts that wait for it; with `fill` they have all of their bytes. The whole, if there is one."""
    waiting = _waiting(scene, project)
    chosen = list({each.id: each for each in (waiting[pick % len(waiting)] for pick in picks if waiting)}.values())
    if not chosen:
        return None
    for each in chosen if fill else ():
        scene.fill(each)
    return _ask(scene, project, chosen)


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
    assert answer.status == 201, answer
    upload_id, image_id = scene.newest(project)
    assert upload_id == answer.created
    whole = joined(upload_id, image_id, tuple(parts))
    assert answer.offset == whole.size
    scene.uploads.append(whole)
    for each in (whole, *parts):
        scene.look(each)
    return whole
