"""What the trial of mutants makes of mutants: whichever no test notices has to be explained, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reliability.mutants import explained, problems_of

SURVIVES = ("module.function", ("-a < b", "+a <= b"))
KILLED = ("module.function", ("-a + b", "+a - b"))


def found(outcome: str, function: str, change: tuple[str, ...]) -> dict[str, Any]:
    return {"name": "x", "function": function, "change": list(change), "outcome": outcome}


FOUND = [found("survived", *SURVIVES), *[found("killed", *KILLED)] * 19]


@pytest.mark.parametrize("whole", [False, True])
def test_a_few_explained_survivors_are_no_problem(whole: bool) -> None:
    assert problems_of(FOUND, {SURVIVES: "Both are right."}, whole) == []


@pytest.mark.parametrize("outcome", ["survived", "unreached"])
def test_a_survivor_that_is_not_explained_is_shown(outcome: str) -> None:
    (problem,) = problems_of([found(outcome, *SURVIVES), *FOUND[1:]], {}, whole=True)
    assert "module.function" in problem
    assert "+a <= b" in problem


@pytest.mark.parametrize("outcome", ["killed", "hung"])
def test_a_killed_mutant_needs_no_explanation(outcome: str) -> None:
    assert len(problems_of([found(outcome, *SURVIVES)], {SURVIVES: "Both are right."}, whole=False)) == 1


def test_an_outdated_explanation_is_shown() -> None:
    assert problems_of(FOUND[1:], {SURVIVES: "Both are right."}, whole=False) == []
    assert len(problems_of(FOUND[1:], {SURVIVES: "Both are right."}, whole=True)) == 1


def test_too_many_explained_survivors_are_a_problem() -> None:
    assert len(problems_of(FOUND[:19], {SURVIVES: "Both are right."}, whole=True)) == 1


def test_every_explanation_has_a_reason() -> None:
    assert all(why.endswith(".") for why in explained().values())
