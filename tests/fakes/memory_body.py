"""The body of a request without a connection: a real RequestBody over pieces in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from resumable_glance.api.http11.body import RequestBody
from resumable_glance.errors import Refused

PATIENCE = 3600.0  # seconds


class MemoryReceiver:
    """A receiver that gives one piece at each wait; then the body ends, is refused, or is silent."""

    def __init__(self, pieces: Sequence[bytes], end: Refused | None = None, *, silent: bool = False) -> None:
        self.received = 0
        self.rest: float = math.inf
        self.ended = False
        self.waits = 0
        self.is_silent = asyncio.Event()
        self._pieces = [each for each in pieces if each]
        self._end = end
        self._silent = silent
        self._held = bytearray()

    def is_ready(self, size: int) -> bool:
        return self.ended or len(self._held) >= size

    async def more(self) -> None:
        self.waits += 1
        piece = await self.next()
        self._held += piece
        self.received += len(piece)
        if not piece:
            self.ended, self.rest = True, 0

    async def next(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._silent:
            self.is_silent.set()
            await asyncio.Event().wait()
        if self._end is not None:
            raise self._end
        return b""

    def take(self) -> memoryview:
        taken, self._held = self._held, bytearray()
        return memoryview(taken)

    def pause(self) -> None:
        """Nothing comes unless it is asked for."""


def body_of(pieces: Sequence[bytes] = (), end: Refused | None = None, *, silent: bool = False) -> RequestBody:
    """A body that comes in these pieces, and then ends, is refused, or is silent."""
    return RequestBody(MemoryReceiver(pieces, end, silent=silent), PATIENCE)
