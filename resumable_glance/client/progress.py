"""Progress for people, on stderr: a bar on a terminal, occasional lines elsewhere, or messages only.

Bytes shown as uploaded are durable at the service. No display ever goes backwards.
"""

from __future__ import annotations

import enum
import math
import sys
import time
from typing import Protocol

LINE_INTERVAL = 2.0  # seconds between two lines at least
LINE_STEP = 0.05  # of the total: the progress that is worth a line
LINE_SILENCE = 30.0  # seconds between two lines at most


class Phase(enum.StrEnum):
    HASHING = "hashing"  # the digest to declare, before the upload is created
    UPLOADING = "uploading"
    HANDING_OVER = "handing over"  # from the service to Glance
    CHECKING = "checking"  # the digests of the file are not ready yet


class Progress(Protocol):
    """A display of one upload. Sizes in bytes."""

    def begin(self, phase: Phase, total: int, done: int) -> None:
        """Begin a phase of `total` bytes, `done` of them done before."""

    def update(self, done: int) -> None:
        """Show that `done` bytes of the phase are done."""

    def say(self, message: str) -> None:
        """Show a message."""

    def close(self) -> None:
        """End the display."""


class Silent:
    """No display."""

    def begin(self, phase: Phase, total: int, done: int) -> None:
        pass

    def update(self, done: int) -> None:
        pass

    def say(self, message: str) -> None:
        pass

    def close(self) -> None:
        pass


class Messages(Silent):
    """Messages only."""

    def say(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class Lines(Messages):
    """Occasional lines, for logs."""

    def __init__(self) -> None:
        self._phase = Phase.UPLOADING
        self._total = self._done = self._first = self._shown = 0
        self._begun = self._last = 0.0

    def begin(self, phase: Phase, total: int, done: int) -> None:
        self._phase, self._total, self._done, self._first = phase, total, done, done
        self._begun = time.monotonic()
        self._line()

    def update(self, done: int) -> None:
        self._done = max(self._done, done)
        silence = time.monotonic() - self._last
        step = self._done - self._shown >= self._total * LINE_STEP
        finished = self._done == self._total and self._shown < self._total
        if finished or silence >= LINE_SILENCE or (step and silence >= LINE_INTERVAL):
            self._line()

    def _line(self) -> None:
        now = time.monotonic()
        self._shown, self._last = self._done, now
        percent = 100 * self._done // self._total if self._total else 100
        line = f"{self._phase}: {format_size(self._done)} of {format_size(self._total)} ({percent} %)"
        rate = (self._done - self._first) / (now - self._begun) if now > self._begun else 0.0
        if rate:
            line += f", {format_size(rate)}/s"
            if self._done < self._total:
                line += f", {(self._total - self._done) / rate:.0f} s left"
        print(line, file=sys.stderr, flush=True)


class Bar:
    """A bar with bytes, rate and remaining time, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._display = Progress(
            TextColumn("{task.description:>12}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[sizes]}", markup=False),  # not rich's own columns: theirs have decimal units
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def begin(self, phase: Phase, total: int, done: int) -> None:
        self._display.start()
        self._display.add_task(phase.value, total=total, completed=done, sizes="")

    def update(self, done: int) -> None:
        if self._display.tasks:  # none before begin()
            task = self._display.tasks[-1]
            completed = max(task.completed, done)
            sizes = f"{format_size(completed)} of {format_size(task.total or 0)}"
            rate = f", {format_size(task.speed)}/s" if task.speed else ""
            self._display.update(task.id, completed=completed, sizes=sizes + rate)

    def say(self, message: str) -> None:
        self._display.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._display.stop()


def format_size(count: float) -> str:
    """Return bytes in binary units, such as 1.5 GiB: one decimal, rounded half up; below 1 KiB whole bytes."""
    if count < 1024:
        return f"{int(count)} B"
    power = 1
    while (tenths := math.floor(10 * count / 1024**power + 0.5)) >= 10 * 1024 and power < 4:
        power += 1
    return f"{tenths // 10}.{tenths % 10} {'KMGT'[power - 1]}iB"
