"""What time it is, so that nothing expires because somebody has set the clock.

Its one rule: what must last so long, lasts so long while the service runs. A jump of the wall clock, and the time for
which the service did not run, count for nothing: whatever is recorded moves along with them (Uploads.tidy).
"""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """Seconds since the epoch that never jump by themselves. People and NTP set `wall`, and nobody sets `steady`."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._begin = wall() - steady()

    def __call__(self) -> float:
        return self._begin + self._steady()

    def drift(self) -> float:
        """By how many seconds the wall clock is ahead of this one."""
        return self._wall() - self()

    def jump(self, seconds: float) -> None:
        """From now on it is so many seconds later."""
        self._begin += seconds
