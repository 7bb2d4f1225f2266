"""A clock that can't be set, so that changes of the wall clock expire nothing.

Durations count only the time for which the service ran. After a jump of the wall clock, or a stop of the service,
recorded times are shifted accordingly (Cleaner.tidy).
"""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """Seconds since the epoch that never jump: unlike `wall`, which people and NTP set, `steady` only advances."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._begin = wall() - steady()

    def __call__(self) -> float:
        return self._begin + self._steady()

    def drift(self) -> float:
        """Return the seconds by which the wall clock is ahead of this one."""
        return self._wall() - self()

    def jump(self, seconds: float) -> None:
        """Shift this clock by so many seconds."""
        self._begin += seconds
