"""What a person sees meanwhile, on stderr: a bar on a terminal, a line now and then elsewhere, or sentences only.

Bytes that are shown as uploaded are durable at the service. No display ever runs backwards.
"""

from __future__ import annotations

import enum
import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_INTERVAL = 2.0  # seconds; no lines closer than this
LINE_STEP = 0.05  # of the whole: a line when so much more is done
LINE_SILENCE = 30.0  # seconds; a line in any case


class Phase(enum.StrEnum):
    HASHING = "hashing"  # our own digest, before the upload is created
    UPLOADING = "uploading"
    HANDING_OVER = "handing over"  # from the service into Glance
    CHECKING = "checking"  # our own digest is not ready yet


class Progress(Protocol):
    """Where an upload is. Sizes in bytes."""

    def begin(self, phase: Phase, total: int, done: int) -> None:
        """A phase of `total` bytes begins, with `done` of them done before."""

    def at(self, done: int) -> None:
        """So many bytes of the phase are done."""

    def say(self, sentence: str) -> None:
        """Something that a person should know."""

    def close(self) -> None:
        """Nothing more comes."""


class Sentences:
    """Sentences only."""

    def begin(self, phase: Phase, total: int, done: int) -> None:
        pass

    def at(self, done: int) -> None:
        pass

    def say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Lines:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._phase = Phase.UPLOADING
        self._total = self._done = self._first = self._shown = 0
        self._begun = self._spoke = 0.0

    def begin(self, phase: Phase, total: int, done: int) -> None:
        self._phase, self._total, self._done, self._first = phase, total, done, done
        self._begun = time.monotonic()
        self._line()

    def at(self, done: int) -> None:
        self._done = max(self._done, done)
        silence = time.monotonic() - self._spoke
        step = self._done - self._shown >= self._total * LINE_STEP
        finished = self._done == self._total and self._shown < self._total
        if finished or silence >= LINE_SILENCE or (step and silence >= LINE_INTERVAL):
            self._line()

    def say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass

    def _line(self) -> None:
        now = time.monotonic()
        self._shown, self._spoke = self._done, now
        percent = 100 * self._done // self._total if self._total else 100
        line = f"{self._phase}: {size(self._done)} of {size(self._total)} ({percent} %)"
        rate = (self._done - self._first) / (now - self._begun) if now > self._begun else 0.0
        if rate and self._done > self._first:
            line += f", {size(rate)}/s"
            if self._done < self._total:
                line += f", {(self._total - self._done) / rate:.0f} s left"
        print(line, file=sys.stderr, flush=True)


class Bar:
    """A bar with bytes, rate and the time that is left, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._display = Progress(
            TextColumn("{task.description:>12}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None
        self._done = 0

    def begin(self, phase: Phase, total: int, done: int) -> None:
        self._display.start()
        self._done = done
        self._task = self._display.add_task(phase.value, total=total, completed=done)

    def at(self, done: int) -> None:
        self._done = max(self._done, done)
        if self._task is not None:
            self._display.update(self._task, completed=self._done)

    def say(self, sentence: str) -> None:
        self._display.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._display.stop()


def size(count: float) -> str:
    """Bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
