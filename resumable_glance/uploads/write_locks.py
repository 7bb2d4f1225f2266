"""Locks on ranges of uploads, so that at most one request writes to a byte.

A newer request evicts an older one, and waits until that has stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.ranges import Range
from resumable_glance.uploads.body import Body

_SENTENCES = {
    Reason.SUPERSEDED: "A newer request has taken over these bytes. Ask for the upload's offset.",
    Reason.CLOSING: "The service is restarting. Try again in a moment; all acknowledged bytes are safe.",
    Reason.CANCELLED: "This upload was cancelled. Create a new one.",
    Reason.EXPIRED: "This upload has expired. Create a new one.",
}


@dataclass(frozen=True, slots=True, eq=False)
class WriteLock:
    """The right of the request with `body` to write to a range."""

    range: Range
    body: Body
    released: asyncio.Event = field(default_factory=asyncio.Event)


class WriteLocks:
    """The write locks of all uploads of this instance."""

    def __init__(self) -> None:
        self._locks: dict[str, set[WriteLock]] = {}
        self._closed = False

    @contextlib.asynccontextmanager
    async def hold(self, upload_id: str, range_: Range, body: Body) -> AsyncIterator[None]:
        """Lock a range, after evicting all older locks that overlap it.

        Evictions interrupt the bodies of requests, also `body` if this lock is evicted later. Raises Refused(CLOSING).
        """
        self.check_open()
        lock = WriteLock(range_, body)
        rivals = [each for each in self._locks.get(upload_id, ()) if each.range.overlaps(range_)]
        self._locks.setdefault(upload_id, set()).add(lock)
        try:
            await _evict(rivals, Reason.SUPERSEDED)
            yield
        finally:
            lock.released.set()
            self._locks[upload_id].discard(lock)
            if not self._locks[upload_id]:
                del self._locks[upload_id]

    def held(self, upload_id: str) -> bool:
        """Return whether a request writes to an upload."""
        return upload_id in self._locks

    async def evict(self, reason: Reason, upload_id: str) -> None:
        """Evict all writers of an upload, and wait until they have stopped."""
        await _evict(list(self._locks.get(upload_id, ())), reason)

    def evict_nowait(self, reason: Reason, upload_id: str) -> None:
        """Evict all writers of an upload without waiting, even from one of them."""
        for each in self._locks.get(upload_id, ()):
            each.body.interrupt(_eviction(reason))

    async def close(self) -> None:
        """Refuse new locks, evict all writers, and wait until they have stopped."""
        self._closed = True
        await _evict([each for locks in self._locks.values() for each in locks], Reason.CLOSING)

    def check_open(self) -> None:
        """Raise Refused(CLOSING) after close()."""
        if self._closed:
            raise _eviction(Reason.CLOSING)


async def _evict(locks: list[WriteLock], reason: Reason) -> None:
    for each in locks:
        each.body.interrupt(_eviction(reason))
    for each in locks:
        await each.released.wait()


def _eviction(reason: Reason) -> Refused:
    sentence = _SENTENCES.get(reason, "The image was rejected. The upload's last error says why.")
    facts = {"retry_after": 1} if reason in {Reason.SUPERSEDED, Reason.CLOSING} else {}
    return Refused(reason, sentence, **facts)
