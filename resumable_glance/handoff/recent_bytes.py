"""The bytes that were read for each project lately, so that handoffs take turns by bytes and not by images."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

HALF_LIFE = 600.0  # seconds after which bytes count half


class RecentBytes:
    """Amounts by project, which halve every HALF_LIFE. Added to in threads. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._amounts: dict[str, float] = {}
        self._counted_at = clock()

    def add(self, project_id: str, count: int) -> None:
        """Add bytes of a project."""
        with self._lock:
            self._amounts[project_id] = self._amounts.get(project_id, 0.0) + count

    def amounts(self) -> dict[str, float]:
        """Return the present amounts of all projects that have any."""
        with self._lock:
            now = self._clock()
            factor = 0.5 ** ((now - self._counted_at) / HALF_LIFE)
            left = {project_id: amount * factor for project_id, amount in self._amounts.items()}
            self._amounts = {project_id: amount for project_id, amount in left.items() if amount >= 1}
            self._counted_at = now
            return dict(self._amounts)
