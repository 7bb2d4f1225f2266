"""Who waits for news of an upload is woken when there is some. What the news is, the catalog tells.

Its one rule: it is only a wake-up. Whoever was woken looks, and whoever looks now and then misses nothing for long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator


class ChangeNotifier:
    """Of all uploads; used from the event loop's thread only."""

    def __init__(self) -> None:
        self.over = False
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def tell(self, upload_ids: Iterable[str]) -> None:
        """Something of these has changed."""
        for each in upload_ids:
            for event in self._waiting.get(each, ()):
                event.set()

    def close(self) -> None:
        """There will be no more: whoever waits is woken for the last time."""
        self.over = True
        self.tell(self._waiting)

    @contextlib.contextmanager
    def of(self, upload_id: str) -> Iterator[asyncio.Event]:
        """What is set when there is news of an upload; it is, at first, for there may have been some before."""
        event = asyncio.Event()
        event.set()
        self._waiting.setdefault(upload_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[upload_id].discard(event)
            if not self._waiting[upload_id]:
                del self._waiting[upload_id]
