"""The body of a request: gathered into batches, with an idle timeout, a minimum rate and a way to interrupt it.

The bytes come from a receiver: the one of transport.py where a connection offers it, else ASGI's `receive`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from resumable_glance.errors import Reason, Refused
from resumable_glance.uploads.body import BATCH, Body

RECEIVER = "resumable_glance.receiver"  # an extension in ASGI's scope: the receiver of the request's body
GATHER_TIMEOUT = 5.0  # seconds until fewer bytes than a batch are passed on: a thousand slow clients stay small


class Receiver(Protocol):
    """The bytes of a body that have come and were not taken yet."""

    @property
    def received(self) -> int:
        """The number of bytes that have come so far, taken or not."""

    @property
    def rest(self) -> float:
        """The number of bytes that have not come yet; infinite while it is unknown."""

    @property
    def ended(self) -> bool:
        """Whether all of the body has come."""

    def is_ready(self, size: int) -> bool:
        """Return whether `size` bytes, or as many as will ever be in one piece, can be taken."""

    async def more(self) -> None:
        """Wait until more has come, or the end. Raises ClientDisconnect."""

    def take(self) -> memoryview:
        """Return the oldest bytes that have come, empty if there are none; valid until the next call."""

    def pause(self) -> None:
        """Receive nothing until the next more()."""


class AsgiReceiver:
    """A receiver for any ASGI server, and for bodies of unknown length."""

    def __init__(self, receive: Receive, announced: float) -> None:
        self.received = 0
        self.rest = announced
        self.ended = False
        self._receive = receive
        self._waiting = bytearray()

    def is_ready(self, size: int) -> bool:
        return self.ended or len(self._waiting) >= size

    async def more(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        self._waiting += piece
        self.received += len(piece)
        self.ended = not message.get("more_body", False)
        self.rest = 0 if self.ended else self.rest - len(piece)

    def take(self) -> memoryview:
        taken, self._waiting = self._waiting, bytearray()
        return memoryview(taken)

    def pause(self) -> None:
        """Do nothing: only more() receives."""


def receiver_of(scope: Scope, receive: Receive) -> Receiver:
    """Return the receiver of a request's body, always the same one."""
    headers = dict(scope["headers"])
    announced = math.inf if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
    extensions = scope.setdefault("extensions", {})
    receiver: Receiver = extensions.setdefault(RECEIVER, AsgiReceiver(receive, announced))
    return receiver


async def discard(receiver: Receiver, limit: int, seconds: float) -> None:
    """Receive the rest of a body and throw it away, for at most `limit` bytes and so many seconds."""
    stop = receiver.received + limit
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(seconds):
            while not receiver.ended and receiver.received < stop:
                await receiver.more()
                while receiver.take():
                    pass


class RequestBody(Body):
    """A body that has to come within `idle_timeout` seconds a byte and at `min_rate` bytes a second.

    Only the time spent waiting for the client counts, not what is done with its bytes.
    """

    def __init__(self, receiver: Receiver, idle_timeout: float, min_rate: float = 0.0) -> None:
        self._receiver = receiver
        self._idle_timeout = idle_timeout
        self._min_rate = min_rate
        self._idle = 0.0  # seconds waited since the last byte
        self._waited = 0.0  # seconds waited since the rate was last checked
        self._checked = 0  # bytes that had come by then
        self._interruption: Refused | None = None
        self._timer: asyncio.Timeout | None = None

    async def batches(self, limit: int) -> AsyncIterator[memoryview]:
        left, interruption = limit, None
        while True:
            if interruption is None:
                try:
                    await self._gather(min(BATCH, left + 1))
                except Refused as refusal:
                    self._receiver.pause()  # else a fast client could continue for ever
                    interruption = refusal
            batch = self._receiver.take()
            if len(batch) > left:
                if left:
                    yield batch[:left]
                raise Refused(Reason.BODY_TOO_LONG, f"The body has more than the allowed {limit} bytes.")
            left -= len(batch)
            if batch:
                yield batch
            elif interruption is not None:
                raise interruption
            elif self._receiver.ended:
                return

    async def is_empty(self) -> bool:
        try:
            async for _ in self.batches(0):
                pass
        except Refused as refusal:
            if refusal.reason is Reason.BODY_TOO_LONG:
                return False
            raise
        return True

    def interrupt(self, refusal: Refused) -> None:
        self._interruption = self._interruption or refusal
        if self._timer is not None and not self._timer.expired():  # one that expires can't be changed any more
            self._timer.reschedule(asyncio.get_running_loop().time())

    def check(self) -> None:
        if self._interruption is not None:
            raise self._interruption

    async def whole(self, limit: int, seconds: float) -> bytes:
        """Return the whole body: a document of at most `limit` bytes that comes within so many seconds.

        Raises Refused: BODY_TOO_LONG, STALLED, DISCONNECTED.
        """
        document = bytearray()
        try:
            async with asyncio.timeout(seconds):
                async for batch in self.batches(limit):
                    document += batch
        except TimeoutError:
            raise _stalled() from None
        except Refused as refusal:
            if refusal.reason is Reason.BODY_TOO_LONG:
                refusal.facts["limit"] = limit
            raise
        return bytes(document)

    async def _gather(self, size: int) -> None:
        """Wait until `size` bytes have come, the body has ended, or GATHER_TIMEOUT is over."""
        self.check()
        now = asyncio.get_running_loop().time
        deadline = now() + GATHER_TIMEOUT
        while not self._receiver.is_ready(size) and (left := deadline - now()) > 0:
            await self._more(left)

    async def _more(self, most: float) -> None:
        """Wait for more to come, for at most so many seconds."""
        self._check_rate()
        now = asyncio.get_running_loop().time
        before, began = self._receiver.received, now()
        try:
            async with asyncio.timeout(min(most, self._idle_timeout - self._idle)) as self._timer:
                await self._receiver.more()
        except TimeoutError:
            self.check()
        except ClientDisconnect:
            raise Refused(Reason.DISCONNECTED, "The connection was closed before the end of the body.") from None
        finally:
            self._timer = None
            waited = now() - began
            self._waited += waited
            self._idle = 0.0 if self._receiver.received > before else self._idle + waited
        if self._idle >= self._idle_timeout:
            raise _stalled()

    def _check_rate(self) -> None:
        """Check the minimum rate as soon as a body without a single byte would have been given up."""
        if self._waited < self._idle_timeout:
            return
        came = self._receiver.received - self._checked
        if came < self._waited * self._min_rate:
            raise _stalled()
        self._waited, self._checked = 0.0, self._receiver.received


def _stalled() -> Refused:
    sentence = "The body came too slowly, or not at all. Send it again; continue an upload at its current offset."
    return Refused(Reason.STALLED, sentence, retry_after=1)
