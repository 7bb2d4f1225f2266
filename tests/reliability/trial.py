"""What a trial is: something that is tried so many times, with a seed, and may not fail once."""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

UNAVAILABLE = 4  # exit status where this machine lacks what it takes
FAILED = 3  # exit status of a trial that found what it looks for; any other one is a defect of the trial


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What a trial that did not fail has reached: a sentence with its figures, and the same as numbers."""

    sentence: str
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Sabotage:
    """A change of the service that its trial must find within `count`: what is wrong then (a clause), and where.

    `old` is there exactly once in `file` (below resumable_glance/), and gets replaced by `new`.
    """

    what: str
    file: str
    old: str
    new: str
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """`run(count, seed)` raises AssertionError where a promise is broken. The counts are those of a share in every
    test run, of the full run and of the deep one; `unit` says of what. `sabotages` prove that it can fail. One that
    measures has to be `alone` on the machine."""

    name: str  # of its module
    promise: str
    unit: str
    share: int
    full: int
    deep: int
    run: Callable[[int, int], Result]
    sabotages: tuple[Sabotage, ...] = ()
    alone: bool = False


class Missing(Exception):
    """This machine can't run the trial; says what it lacks."""


def main(trial: Trial) -> int:
    """One trial from the command line; its exit status."""
    parser = argparse.ArgumentParser(f"python -m tests.reliability.{trial.name}", description=trial.promise)
    parser.add_argument("--count", type=int, default=trial.full, help=f"{trial.unit} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--result", type=Path, metavar="FILE", help="write what was reached there, as JSON")
    arguments = parser.parse_args()
    again = f"python -m tests.reliability.{trial.name} --count {arguments.count} --seed {arguments.seed}"
    print(again, flush=True)
    try:
        result = trial.run(arguments.count, arguments.seed)
    except AssertionError as problem:
        print("\n".join([f"FAILED: {problem}", *getattr(problem, "__notes__", ()), f"again: {again}"]))
        return FAILED
    except Missing as lack:
        print(f"can't be run here: {lack}")
        return UNAVAILABLE
    print(result.sentence, flush=True)
    if arguments.result is not None:
        arguments.result.write_text(json.dumps(dataclasses.asdict(result)))
    return 0


def run_as_program(trial: Trial) -> None:
    sys.exit(main(trial))
