"""Notifications of changes of uploads.

A notification only wakes a task, which then reads the catalog.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator


class ChangeNotifier:
    """Notifications of all uploads. Not thread-safe: for the event loop's thread."""

    def __init__(self) -> None:
        self.closed = False
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def notify(self, upload_ids: Iterable[str]) -> None:
        """Wake all subscribers of these uploads."""
        for each in upload_ids:
            for event in self._waiting.get(each, ()):
                event.set()

    def close(self) -> None:
        """Wake all subscribers for the last time."""
        self.closed = True
        self.notify(self._waiting)

    @contextlib.contextmanager
    def subscribe(self, upload_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set now and at each change."""
        event = asyncio.Event()
        event.set()
        self._waiting.setdefault(upload_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[upload_id].discard(event)
            if not self._waiting[upload_id]:
                del self._waiting[upload_id]
