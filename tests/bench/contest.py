"""What a contest is: the same work for everybody who takes part, in turn, and what ought to come out."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Measure:
    """One value. `setting` is what the work was; where a contest is about growth, a number."""

    setting: str
    who: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Somebody who can't take part here, and why: a clause."""

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
    """What `ours` ought to reach in every setting that `settings` (a regular expression) matches as a whole.

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
    """What came out in one setting, beside the goal."""

    setting: str
    value: float
    reached: bool


Run = Callable[[bool], Iterator[Measure | LeftOut]]  # is given whether it has to be quick


@dataclass(frozen=True, slots=True)
class Contest:
    """`text` says in Markdown what is done, and how. `drawing`: what the plot is; `axis`: what a number in a setting
    is a number of; `base`: whom everybody is compared with."""

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
    """What a contest has brought so far."""

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
    """What was written down of them, again."""
    return [Figure(each["setting"], each["who"], each["unit"], tuple(each["values"])) for each in record]


def verdicts(goal: Goal, figures: Iterable[Figure]) -> list[Verdict]:
    """How a goal stands in each setting in which it was measured."""
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
    """Of a figure to another one, round by round; the median."""
    pairs = zip(figure.values, base.values, strict=False)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def in_turn(rounds: int, contestants: Sequence[str]) -> Iterator[str]:
    """A B C A B C ...; every second round backwards, so that nobody always comes after the same one."""
    for number in range(rounds):
        yield from contestants if number % 2 == 0 else reversed(contestants)


def _value(goal: Goal, ours: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """The median of what the rounds say: within one of them the machine was the same for everybody."""
    if goal.how == "value":
        return statistics.median(ours)
    best = max if goal.sense == "at least" else min
    whole = min(map(len, [ours, *others]))
    rounds = [(ours[number], best(each[number] for each in others)) for number in range(whole)]
    return statistics.median(mine / theirs if goal.how == "ratio" else mine - theirs for mine, theirs in rounds)
