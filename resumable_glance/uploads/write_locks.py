"""Who may write where, for how long, and how long its bytes are waited for.

Its one rule: at most one request writes to any byte. A newer one takes over, after the older has really stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.ranges import Range

_SENTENCES = {
    Reason.STALLED: "No byte came for too long, or too few. Ask where the upload is, and go on from there.",
    Reason.SUPERSEDED: "A newer request has taken over these bytes. Ask where the upload is.",
    Reason.CLOSING: "The service is being restarted. Try again in a moment; what it has acknowledged is safe.",
    Reason.CANCELLED: "This upload was cancelled. Create a new one.",
    Reason.EXPIRED: "This upload has expired. Create a new one.",
}


class Body(Protocol):
    """A request's body. A memoryview is good until something else is asked for."""

    async def read(self) -> bytes | memoryview:
        """The next piece, empty at the end. Refused(DISCONNECTED) if the client is gone."""

    def arrived(self) -> bytes | memoryview:
        """The next piece of what has come and was not read, empty if nothing has: for who stops reading."""
        return b""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a body is waited for: `idle` seconds for its next byte, and on average for `min_rate` bytes a second."""

    idle: float
    min_rate: float = 0.0


class WriteLock:
    """The right to write to a range, until it is taken away. It also watches that the body keeps coming."""

    def __init__(self, range_: Range, patience: Patience) -> None:
        self.range = range_
        self.released = asyncio.Event()
        self._patience = patience
        self._waited = 0.0  # seconds, for `_came` bytes
        self._came = 0
        self._evicted: Reason | None = None
        self._timer: asyncio.Timeout | None = None

    def evict(self, reason: Reason) -> None:
        """End the holder's next or present wait for bytes, at once."""
        self._evicted = self._evicted or reason
        if self._timer is not None:
            self._timer.reschedule(asyncio.get_running_loop().time())

    def check(self) -> None:
        """Refused with the reason of the eviction, if there was one."""
        if self._evicted is not None:
            raise _taken(self._evicted)

    async def read(self, body: Body) -> bytes | memoryview:
        """As body.read(). Refused: STALLED, or the reason of the eviction."""
        if self._evicted is None and not self._too_slow():
            began = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(self._patience.idle) as self._timer:
                    piece = await body.read()
                self._came += len(piece)
                return piece
            except TimeoutError:
                pass
            finally:
                self._timer = None
                self._waited += asyncio.get_running_loop().time() - began
        raise _taken(self._evicted or Reason.STALLED)

    def _too_slow(self) -> bool:
        """Looked at once in as long as no byte at all would be waited for; our own work does not count."""
        if self._waited < self._patience.idle:
            return False
        waited, came, self._waited, self._came = self._waited, self._came, 0.0, 0
        return came < waited * self._patience.min_rate


def _taken(reason: Reason) -> Refused:
    if reason not in _SENTENCES:
        return Refused(reason, "The image was refused for its first bytes. The upload tells what was wrong.")
    facts = {} if reason in {Reason.CANCELLED, Reason.EXPIRED} else {"retry_after": 1}
    return Refused(reason, _SENTENCES[reason], **facts)


class WriteLocks:
    """All leases of all uploads."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._held: dict[str, set[WriteLock]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, upload_id: str, range_: Range) -> AsyncIterator[WriteLock]:
        """A lease on a range, once nobody else writes there. Only those who came before us are waited for."""
        mine = WriteLock(range_, self._patience)
        rivals = [each for each in self._held.get(upload_id, ()) if each.range.overlaps(range_)]
        self._held.setdefault(upload_id, set()).add(mine)
        try:
            await _ended(rivals, Reason.SUPERSEDED)
            yield mine
        finally:
            mine.released.set()
            self._held[upload_id].discard(mine)
            if not self._held[upload_id]:
                del self._held[upload_id]

    def turn_away(self, reason: Reason, upload_id: str) -> None:
        """Stop whoever writes to an upload, without waiting for it: also for one of those."""
        for each in self._held.get(upload_id, ()):
            each.evict(reason)

    def held(self, upload_id: str) -> bool:
        """Whether anybody writes to an upload."""
        return upload_id in self._held

    async def evict(self, reason: Reason, upload_id: str | None = None) -> None:
        """Stop whoever writes to an upload, or to any; returns when they have."""
        of = [upload_id] if upload_id is not None else list(self._held)
        await _ended([lease for each in of for lease in self._held.get(each, ())], reason)


async def _ended(leases: list[WriteLock], reason: Reason) -> None:
    for each in leases:
        each.evict(reason)
    for each in leases:
        await each.released.wait()
