"""Wake-ups for tasks that wait for a change of an upload.

A notification is only a wake-up: a task looks at the catalog when it is woken, and now and then without that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator


class ChangeNotifier:
    """Notifications of all uploads; used from the event loop's thread only."""

    def __init__(self) -> None:
        self.closed = False
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def notify(self, upload_ids: Iterable[str]) -> None:
        """Wake all tasks that wait for a change of these uploads."""
        for each in upload_ids:
            for event in self._waiting.get(each, ()):
                event.set()

    def close(self) -> None:
        """Wake all waiting tasks for the last time."""
        self.closed = True
        self.notify(self._waiting)

    @contextlib.contextmanager
    def subscribe(self, upload_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at each change of an upload; it is set at first, for one that was missed."""
        event = asyncio.Event()
        event.set()
        self._waiting.setdefault(upload_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[upload_id].discard(event)
            if not self._waiting[upload_id]:
                del self._waiting[upload_id]
