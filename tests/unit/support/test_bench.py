"""The benchmark's arithmetic and its page, without a stop-watch: what was measured is told as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import ROOT
from tests.bench import machine, page, sampled
from tests.bench.all import EVERY
from tests.bench.contest import Contest, Figure, Goal, LeftOut, Measure, Outcome, in_turn, ratio, verdicts

DIRECT = Goal("Beside the other", "big .*", "ours", "ratio", "at most", 1.05, ("theirs",))
CONTEST = Contest("race", "A race", "Somebody runs.", lambda _: iter(()), (DIRECT,), base="theirs")
FIGURES = [
    Figure("big files", "ours", "s", (2.0, 9.0, 3.0)),
    Figure("big files", "theirs", "s", (2.0, 10.0, 2.0)),
    Figure("small files", "ours", "s", (1.0,)),
]


def test_contestants_take_turns_in_changing_order() -> None:
    assert "".join(in_turn(3, "ABC")) == "ABCCBAABC"


def test_values_are_kept_in_the_order_of_the_rounds() -> None:
    outcome = Outcome()
    for brought in (
        Measure("1", "a", 3, "s"),
        Measure("1", "b", 7, "s"),
        LeftOut("c", "it is ill"),
        Measure("1", "a", 1, "s"),
    ):
        outcome.take(brought)
    assert outcome.figures == [Figure("1", "a", "s", (3, 1)), Figure("1", "b", "s", (7,))]
    assert outcome.left_out == [LeftOut("c", "it is ill")]


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds() -> None:
    assert ratio(FIGURES[0], FIGURES[1]) == 1.0  # of 1.0, 0.9 and 1.5; that of the medians is 1.5


def test_a_goal_is_checked_in_each_of_its_settings() -> None:
    (verdict,) = verdicts(DIRECT, FIGURES)
    assert (verdict.setting, verdict.value, verdict.reached) == ("big files", 1.0, True)


@pytest.mark.parametrize(
    ("how", "sense", "limit", "value", "reached"),
    [
        ("ratio", "at least", 2.0, 1.5, False),  # the best of the others is the fastest one
        ("ratio", "at most", 2.0, 3.0, False),  # and where less is better, the least
        ("difference", "at most", 4.0, 4.0, True),
        ("value", "at least", 6.0, 6.0, True),
    ],
)
def test_a_goal_is_a_ratio_a_difference_or_a_value(how, sense, limit, value, reached) -> None:  # type: ignore[no-untyped-def]
    figures = [Figure("x", "ours", "s", (6.0,)), Figure("x", "one", "s", (2.0,)), Figure("x", "two", "s", (4.0,))]
    goal = Goal("", "x", "ours", how, sense, limit, () if how == "value" else ("one", "two", "absent"))
    (verdict,) = verdicts(goal, figures)
    assert (verdict.value, verdict.reached) == (value, reached)


def test_a_goal_without_figures_is_not_checked() -> None:
    assert verdicts(DIRECT, FIGURES[:1]) == []
    assert verdicts(DIRECT, FIGURES[1:2]) == []


def record(figures: list[Figure], quick: bool = False) -> dict[str, object]:
    made = {"date": "2026-01-02", "commit": "1234567", "machine": "1 core", "seconds": 9, "quick": quick}
    left_out = [{"who": "snail", "why": "there is none"}]
    return {"race": {**made, "left_out": left_out, "figures": [page.written(each) for each in figures]}}


def test_the_page_shows_medians_ranges_ratios_and_goals() -> None:
    text = page.render(record(FIGURES), [CONTEST])
    assert "| big files | 3 s (2–9) | 2 s (2–10) |" in text
    assert "| big files | 1.00 |" in text
    assert "| [A race](#a-race) | Beside the other: at most 1.05 | 1 (big files) | reached |" in text
    assert "Left out: snail, for there is none." in text
    assert "On 1 core." in text
    assert "2026-01-02, commit 1234567, in 9 s." in text


def test_the_page_names_missed_and_unmeasured_goals() -> None:
    late = [Figure("big files", "ours", "s", (3.0,)), Figure("big files", "theirs", "s", (2.0,))]
    assert "| 1.5 (big files) | **not reached** |" in page.render(record(late), [CONTEST])
    empty = page.render({}, [CONTEST])
    assert "| not measured | |" in empty
    assert page.NOTHING in empty


def test_a_quick_try_is_not_taken_for_figures() -> None:
    assert page.QUICK in page.render(record(FIGURES, quick=True), [CONTEST])
    kept = page.DOCS / "performance.json"
    assert not kept.exists() or not any(each["quick"] for each in json.loads(kept.read_text()).values())


def test_the_page_is_as_it_is_made() -> None:
    kept = page.DOCS / "performance.json"
    run = json.loads(kept.read_text()) if kept.exists() else {}
    made = page.render(run, EVERY)
    assert (page.DOCS / "performance.md").read_text() == made, "python -m tests.bench --page makes it"


@pytest.mark.parametrize(
    ("function", "file", "expected"),
    [
        ("_hash", "/x/resumable_glance/uploads/chunk_writer.py", "hashing"),
        ("_write_all", "/x/resumable_glance/storage/local.py", "writing to scratch"),
        ("_fdatasync", "/x/resumable_glance/storage/local.py", "flushing"),
        ("transaction", "/x/resumable_glance/catalog/transactions.py", "catalog"),
        ("run", "/x/resumable_glance/uploads/chunk_writer.py", sampled.REST),
        ("run_forever", "/lib/asyncio/base_events.py", sampled.LOOP),
        ("loads", "/lib/json/__init__.py", ""),
    ],
)
def test_a_function_is_classified_by_its_module(function: str, file: str, expected: str) -> None:
    assert sampled.named(function, file) == expected


@pytest.mark.parametrize(
    ("function", "file"),
    [
        ("_hash", "uploads/chunk_writer.py"), ("_write_all", "storage/local.py"), ("_fdatasync", "storage/local.py"),
        ("read", "handoff/reader.py"), ("_piece", "handoff/reader.py"), ("update", "model/digests.py"),
    ],
)  # fmt: skip
def test_the_functions_named_in_the_profile_exist(function: str, file: str) -> None:
    assert f"def {function}(" in (ROOT / "resumable_glance" / file).read_text()


def test_the_machine_is_described_with_its_disk() -> None:
    assert machine.mount(Path("/proc")).kind == "proc"
    assert " cores (" in machine.sentence(Path("/"))
