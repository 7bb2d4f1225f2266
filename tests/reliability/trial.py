"""A trial: an accident that is repeated `count` times, with a seed, and may not break its promise once."""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

UNAVAILABLE = 4  # exit status on a machine that can't run the trial
FAILED = 3  # exit status of a broken promise; any other status but 0 is a defect of the trial


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The figures of a trial that held: a sentence, and the same as numbers."""

    sentence: str
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Sabotage:
    """A change of the service that its trial must find within `count`. `what` is the defect, as a clause.

    `old` occurs exactly once in `file` (below resumable_glance/), and is replaced by `new`.
    """

    what: str
    file: str
    old: str
    new: str
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """A promise, and `run(count, seed)`, which raises AssertionError where the promise is broken.

    `share`, `full` and `deep` are the counts of a test run, the full run and the deep run, of `unit`. The `sabotages`
    prove that the trial can fail. A trial that measures time or memory runs `alone` on the machine.
    """

    name: str  # the name of its module
    promise: str
    unit: str
    share: int
    full: int
    deep: int
    run: Callable[[int, int], Result]
    sabotages: tuple[Sabotage, ...] = ()
    alone: bool = False


class Missing(Exception):
    """This machine can't run the trial; the sentence says what it lacks."""


def main(trial: Trial) -> int:
    """Run one trial from the command line; return its exit status."""
    parser = argparse.ArgumentParser(f"python -m tests.reliability.{trial.name}", description=trial.promise)
    parser.add_argument("--count", type=int, default=trial.full, help=f"{trial.unit} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--result", type=Path, metavar="FILE", help="write the figures there, as JSON")
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
