"""Bodies of known length, received from the socket straight into buffers that are used again and again.

uvicorn copies a body several times on the event loop, which costs more than half of the socket's speed. Here uvicorn
and httptools still parse request heads, but while a body of known length comes, the transport's protocol is a
TransportReceiver. It never reads a byte beyond the end of the body, so that a new parser can continue with the next
head.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from resumable_glance.api.http11.body import RECEIVER
from resumable_glance.uploads.body import BATCH

READ_SIZE = 256 * 1024  # bytes: the most that one read takes for a body without buffers of its own
BUFFER = 2 * BATCH  # bytes that are written and hashed at once of a body that comes fast
MAX_BUFFERS = 32  # buffers of all bodies together; a body that comes fast has two


class Buffers:
    """At most `count` buffers of BUFFER bytes, made when first needed and then kept."""

    def __init__(self, count: int = MAX_BUFFERS) -> None:
        self._count = self._unmade = count
        self._idle: list[bytearray] = []

    @property
    def lent(self) -> int:
        """The number of buffers that are lent right now."""
        return self._count - self._unmade - len(self._idle)

    def pair(self) -> list[bytearray]:
        """Lend one buffer to fill and one to read; none if fewer than two are left."""
        if len(self._idle) + self._unmade < 2:
            return []
        taken, self._idle = self._idle[-2:], self._idle[:-2]
        self._unmade -= 2 - len(taken)
        return taken + [bytearray(BUFFER) for _ in range(2 - len(taken))]

    def give_back(self, buffers: list[bytearray]) -> None:
        self._idle += buffers


class TransportReceiver(asyncio.BufferedProtocol):
    """The receiver of a body of known length; `rest` bytes of it have not come yet.

    At first its bytes are collected in uvicorn's cycle. Once the reader is as fast as the network, they fill two
    buffers in turn: one is read while the other one is filled.
    """

    def __init__(self, http: HttpProtocol, rest: int) -> None:
        self.received = len(http.cycle.body)
        self.rest = rest
        self._http = http
        self._cycle = http.cycle
        self._waiting = False  # more() is
        self._paused = False
        self._filling: bytearray | None = None
        self._filled = 0  # bytes of it
        self._full: memoryview | None = None  # not taken yet
        self._taken: bytearray | None = None  # being read
        self._spare: list[bytearray] = []

    # For the transport

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._filling is None or self._cycle.response_complete:
            return memoryview(self._http.common)[: self.rest]
        return memoryview(self._filling)[self._filled : self._filled + self.rest]

    def buffer_updated(self, nbytes: int) -> None:
        self._http._unset_keepalive_if_required()
        self.received += nbytes
        self.rest -= nbytes
        if self._cycle.response_complete:
            pass  # the body is not read any more
        elif self._filling is not None:
            self._filled += nbytes
            self._turn_over()
        else:
            self._collect(memoryview(self._http.common)[:nbytes])
        if not self.rest:
            self._http.body_ended()

    def eof_received(self) -> None:
        self._http.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()

    # For the reader

    @property
    def ended(self) -> bool:
        return not self.rest

    def is_ready(self, size: int) -> bool:
        if not self.rest or self._full is not None:
            return True
        return len(self._cycle.body) >= (size if self._filling is None else 1)  # what came before the buffers is first

    async def more(self) -> None:
        self._http.send_continue(self._cycle)
        if self._cycle.disconnected:
            raise ClientDisconnect
        self._waiting, self._paused = True, False
        self._http.flow.resume_reading()
        self._cycle.message_event.clear()
        try:
            await self._cycle.message_event.wait()
        finally:
            self._waiting = False

    def take(self) -> memoryview:
        self._take_back()
        if self._cycle.body:
            taken, self._cycle.body = memoryview(self._cycle.body), bytearray()
        elif self._full is not None:
            taken, self._taken, self._full = self._full, cast(bytearray, self._full.obj), None
            if self._filling is None and self._spare:
                self._filling = self._spare.pop()
            self._turn_over()
        else:
            taken = self._slow_down()
        if not self._paused and (self._full is None or (self._filling is not None and self._filled < BUFFER)):
            self._http.flow.resume_reading()
        return taken

    def pause(self) -> None:
        self._paused = True
        self._http.flow.pause_reading()

    def release(self) -> None:
        """Give all buffers back, and discard their content."""
        self._paused = True
        while self.take():
            pass
        self._take_back()
        if self._cycle.response_complete:
            self._http.flow.resume_reading()  # what is left of the body comes before the next request

    def _collect(self, piece: memoryview) -> None:
        self._cycle.body += piece
        self._cycle.message_event.set()
        if self._waiting and len(piece) == len(self._http.common) and self.rest >= BUFFER:
            self._speed_up()
        elif len(self._cycle.body) >= (BATCH if self._waiting else HIGH_WATER_LIMIT):
            self._http.flow.pause_reading()

    def _take_back(self) -> None:
        if self._taken is not None:
            self._spare.append(self._taken)
            self._taken = None
        if self._filling is None and self._full is None:
            self._http.buffers.give_back(self._spare)
            self._spare = []

    def _speed_up(self) -> None:
        if pair := self._http.buffers.pair():
            self._filling, self._filled = pair.pop(), 0
            self._spare += pair

    def _turn_over(self) -> None:
        """Offer a full buffer to the reader, one at a time, and fill the other one."""
        if self._filling is None or not self._filled or (self._filled < BUFFER and self.rest):
            return
        if self._full is None:
            self._full = memoryview(self._filling)[: self._filled]
            self._filling, self._filled = self._spare.pop() if self._spare else None, 0
            self._cycle.message_event.set()
        if self._filling is None or self._filled == BUFFER:
            self._http.flow.pause_reading()

    def _slow_down(self) -> memoryview:
        """Collect bytes in uvicorn's cycle again; return those in the buffer that was being filled."""
        if self._filling is None:
            return memoryview(b"")
        taken = memoryview(self._filling)[: self._filled]
        self._taken, self._filling, self._filled = self._filling, None, 0
        return taken


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, but for bodies of known length. All connections share `buffers` and `common`."""

    buffers = Buffers()
    common = bytearray(READ_SIZE)
    app: Any  # uvicorn has types of its own for ASGI
    _rest = 0  # bytes of the body that the parser still waits for

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = _releasing(self.app)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._rest = sum(int(value) for name, value in self.headers if name == b"content-length")

    def on_body(self, body: bytes) -> None:
        self._rest -= len(body)
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.hand_over()

    def hand_over(self) -> None:
        """Make a receiver the transport's protocol, if a body of known length has begun."""
        # A pipelined request is rare, and left to uvicorn.
        if self._rest > 0 and not self.pipeline and not self.transport.is_closing():
            receiver = TransportReceiver(self, self._rest)
            self._rest = 0
            cast(dict[str, Any], self.cycle.scope).setdefault("extensions", {})[RECEIVER] = receiver
            self.transport.set_protocol(receiver)

    def body_ended(self) -> None:
        """Take the transport back from a receiver whose body has ended."""
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self.renew_parser()
        self.transport.set_protocol(self)

    def renew_parser(self) -> None:
        """Parse what comes next with a new parser, which is as lenient as uvicorn's."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def send_continue(self, cycle: RequestResponseCycle) -> None:
        """Send 100 Continue to a client that expects it (RFC 9110, section 10.1.1)."""
        if cycle.waiting_for_100_continue and not self.transport.is_closing():
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _releasing(app: ASGIApp) -> ASGIApp:
    async def released(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            receiver = scope.get("extensions", {}).get(RECEIVER)
            if isinstance(receiver, TransportReceiver):
                receiver.release()

    return released
