"""The output of `check`: one line for each part, and a next step below a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVarTuple

Arguments = TypeVarTuple("Arguments")


class CheckFailed(Exception):
    """A part of the check failed; `next_step` says what to do."""

    def __init__(self, problem: object, next_step: str) -> None:
        super().__init__(str(problem))
        self.next_step = next_step


def run_part(name: str, part: Callable[[*Arguments], str], *arguments: *Arguments) -> int:
    """Run one part and print its line. Return 0 for success, 1 for failure."""
    try:
        print_line(name, "ok", part(*arguments))
    except CheckFailed as failed:
        print_line(name, "FAIL", str(failed), failed.next_step)
        return 1
    return 0


def print_line(part: str, result: str, sentence: str, next_step: str = "") -> None:
    print(f"{result:>4}  {part:<13}  {sentence}", flush=True)
    if next_step:
        print(f"      {'':<13}  -> {next_step}", flush=True)
