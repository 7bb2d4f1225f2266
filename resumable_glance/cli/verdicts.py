"""How `check` says what it has found: one line a part, and a next step where something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable


class Failed(Exception):
    """A part that is not well: what is wrong with it, and what to do."""

    def __init__(self, problem: object, next_step: str) -> None:
        super().__init__(str(problem))
        self.next_step = next_step


def tried(name: str, part: Callable[[], str]) -> int:
    """Say how a part is: 0 if it is well, else 1."""
    try:
        say(name, "ok", part())
    except Failed as failed:
        say(name, "FAIL", str(failed), failed.next_step)
        return 1
    return 0


def say(part: str, verdict: str, sentence: str, next_step: str = "") -> None:
    print(f"{verdict:>4}  {part:<13}  {sentence}", file=sys.stdout)
    if next_step:
        print(f"      {'':<13}  -> {next_step}", file=sys.stdout, flush=True)
