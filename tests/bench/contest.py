"""A contest: the same work for all contestants, in turn, and the goals."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Measure:
    """One value. `setting` names the work; in a contest about growth it is a number."""

    setting: str
    who: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A contestant that can't run on this machine, and why: a clause."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Figure:
    """All values of one contestant in one setting, in the order of the rounds."""

    setting: str
    who: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of `ours` in every setting that `settings` (a regular expression) matches as a whole.

    A ratio or a difference is to the best of `others`, round by round; a value stands alone.
    """

    sentence: str
    settings: str
    ours: str
    how: Literal["ratio", "difference", "value"]
    sense: Literal["at least", "at most"]
    limit: float
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for a goal in one setting."""

    setting: str
    value: float
    reached: bool


Run = Callable[[bool], Iterator[Measure | LeftOut]]  # the argument: whether it has to be quick


@dataclass(frozen=True, slots=True)
class Contest:
    """A contest. `text` describes it in Markdown. `drawing` is the kind of the plot, `axis` the unit of the settings.

    All contestants are compared with `base`, if there is one.
    """

    name: str
    title: str
    text: str
    run: Run
    goals: tuple[Goal, ...] = ()
    drawing: Literal["bars", "lines", "shares", "none"] = "bars"
    axis: str = ""
    base: str = ""


@dataclass
class Outcome:
    """The values of a contest so far."""

    left_out: list[LeftOut] = field(default_factory=list)
    _values: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def take(self, brought: Measure | LeftOut) -> None:
        if isinstance(brought, LeftOut):
            self.left_out.append(brought)
        else:
            self._values.setdefault((brought.setting, brought.who, brought.unit), []).append(brought.value)

    @property
    def figures(self) -> list[Figure]:
        return [Figure(*key, tuple(values)) for key, values in self._values.items()]


def figures_of(record: Sequence[dict[str, Any]]) -> list[Figure]:
    """Return the figures of a record."""
    return [Figure(each["setting"], each["who"], each["unit"], tuple(each["values"])) for each in record]


def verdicts(goal: Goal, figures: Iterable[Figure]) -> list[Verdict]:
    """Return the verdict on a goal in each setting in which it was measured."""
    measured: dict[str, dict[str, Figure]] = {}
    for each in figures:
        if re.fullmatch(goal.settings, each.setting):
            measured.setdefault(each.setting, {})[each.who] = each
    found = []
    for setting, by_who in measured.items():
        others = [by_who[who].values for who in goal.others if who in by_who]
        if goal.ours not in by_who or (goal.others and not others):
            continue
        value = _value(goal, by_who[goal.ours].values, others)
        found.append(Verdict(setting, value, value >= goal.limit if goal.sense == "at least" else value <= goal.limit))
    return found


def ratio(figure: Figure, base: Figure) -> float:
    """Return the median of the ratios of a figure to another one, round by round."""
    pairs = zip(figure.values, base.values, strict=False)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def in_turn(rounds: int, contestants: Sequence[str]) -> Iterator[str]:
    """Yield the contestants round by round, every second round backwards, so that their neighbours change."""
    for number in range(rounds):
        yield from contestants if number % 2 == 0 else reversed(contestants)


def _value(goal: Goal, ours: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """Return the median over the rounds: within one round the machine was the same for all."""
    if goal.how == "value":
        return statistics.median(ours)
    best = max if goal.sense == "at least" else min
    whole = min(map(len, [ours, *others]))
    rounds = [(ours[number], best(each[number] for each in others)) for number in range(whole)]
    return statistics.median(mine / theirs if goal.how == "ratio" else mine - theirs for mine, theirs in rounds)
