"""Bodies of known length, from the socket straight into buffers that are used again and again.

uvicorn copies a body several times on the event loop, which costs more than half of what a socket can give. Here
uvicorn and httptools read heads, as ever; while a body of known length comes, the transport speaks to a `Body`. Under
any other ASGI server everything works too, only slower: who wants a body asks the scope whether there is one of these.

Its one rule: never a byte beyond the end of the body is read. So the parser need not know that there was a body, and
what comes next is a head again.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from starlette.requests import ClientDisconnect
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from resumable_glance.api.middleware import BODY
from resumable_glance.uploads.chunk_writer import BATCH, GATHER_TIMEOUT

READ = 256 * 1024  # bytes: the most that one read takes from those who have no buffers of their own
BUFFER = 2 * BATCH  # bytes: so much is written and hashed at once of a body that comes fast
MOST = 32  # buffers for all bodies together; one that comes fast has two


class Buffers:
    """At most `count` buffers of BUFFER bytes, made when they are needed and then kept."""

    def __init__(self, count: int = MOST) -> None:
        self._unmade = count
        self._idle: list[bytearray] = []

    def pair(self) -> list[bytearray]:
        """One to be filled while another is read; none if there are no two left."""
        if len(self._idle) + self._unmade < 2:
            return []
        taken, self._idle = self._idle[-2:], self._idle[:-2]
        self._unmade -= 2 - len(taken)
        return taken + [bytearray(BUFFER) for _ in range(2 - len(taken))]

    def give_back(self, buffers: list[bytearray]) -> None:
        self._idle += buffers


class Body(asyncio.BufferedProtocol):
    """A body while it comes; `rest` bytes of it have not come yet.

    At first they come in uvicorn's way. When somebody reads who is as fast as they come, they fill two buffers in turn.
    """

    def __init__(self, http: Http, rest: int) -> None:
        self.rest = rest
        self._http = http
        self._cycle = http.cycle
        self._wanted = False
        self._filling: bytearray | None = None
        self._filled = 0  # bytes of it
        self._full: memoryview | None = None  # waits to be read
        self._lent: bytearray | None = None  # is being read
        self._spare: list[bytearray] = []

    # For the transport

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._filling is None or self._cycle.response_complete:
            return memoryview(self._http.common)[: self.rest]
        return memoryview(self._filling)[self._filled : self._filled + self.rest]

    def buffer_updated(self, nbytes: int) -> None:
        self._http._unset_keepalive_if_required()
        self.rest -= nbytes
        if self._cycle.response_complete:
            pass  # nobody wants it any more
        elif self._filling is not None:
            self._filled += nbytes
            self._turn_over()
        else:
            self._cycle.body += memoryview(self._http.common)[:nbytes]
            self._cycle.message_event.set()
            if self._wanted and nbytes == len(self._http.common) and self.rest >= BUFFER:
                self._speed_up()
            elif len(self._cycle.body) > HIGH_WATER_LIMIT:
                self._http.flow.pause_reading()
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

    # For who reads

    async def read(self) -> bytes | memoryview:
        """The next piece, empty at the end; a memoryview is good until the next call. Raises ClientDisconnect."""
        self._wanted = True
        self._http.expected(self._cycle)
        while not (piece := self._next()):
            if self._cycle.disconnected:
                if piece := self.arrived():
                    return piece
                raise ClientDisconnect
            if not self.rest:
                return b""
            self._cycle.message_event.clear()
            try:
                async with asyncio.timeout(None if self._filling is None else GATHER_TIMEOUT):
                    await self._cycle.message_event.wait()
            except TimeoutError:  # and even so a buffer may have become full just now: it comes first
                if piece := self.arrived():
                    return piece
        return piece

    def arrived(self) -> bytes | memoryview:
        """The next piece of what has come and was not read; empty if nothing has. Does not wait."""
        return self._next() or self._slow_down()

    def release(self) -> None:
        """Nobody reads any more."""
        self._wanted = False
        while self.arrived():
            pass  # each piece is of a buffer, which is taken back with the next one
        self._take_back()

    def _next(self) -> bytes | memoryview:
        self._take_back()
        piece: bytes | memoryview = b""
        if self._cycle.body:
            piece = bytes(self._cycle.body)
            self._cycle.body = bytearray()
        elif self._full is not None:
            piece, self._lent, self._full = self._full, cast(bytearray, self._full.obj), None
            if self._filling is None and self._spare:
                self._filling = self._spare.pop()
            self._turn_over()
        if self._full is None or (self._filling is not None and self._filled < BUFFER):
            self._http.flow.resume_reading()
        return piece

    def _take_back(self) -> None:
        if self._lent is not None:
            self._spare.append(self._lent)
            self._lent = None
        if self._filling is None and self._full is None:
            self._http.buffers.give_back(self._spare)
            self._spare = []

    def _speed_up(self) -> None:
        if pair := self._http.buffers.pair():
            self._filling, self._filled = pair.pop(), 0
            self._spare += pair

    def _turn_over(self) -> None:
        """A buffer that is full waits to be read, one at a time; meanwhile the other one is filled."""
        if self._filling is None or not self._filled or (self._filled < BUFFER and self.rest):
            return
        if self._full is None:
            self._full = memoryview(self._filling)[: self._filled]
            self._filling, self._filled = self._spare.pop() if self._spare else None, 0
            self._cycle.message_event.set()
        if self._filling is None or self._filled == BUFFER:
            self._http.flow.pause_reading()

    def _slow_down(self) -> memoryview | bytes:
        """From now on in uvicorn's way again; what is in the buffer that was being filled."""
        if self._filling is None:
            return b""
        piece = memoryview(self._filling)[: self._filled]
        self._lent, self._filling, self._filled = self._filling, None, 0
        return piece


class Http(HttpToolsProtocol):
    """uvicorn's protocol, but for bodies of known length. `buffers` and `common` serve all connections."""

    buffers = Buffers()
    common = bytearray(READ)
    _rest = 0  # bytes of the body that the parser still waits for

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.app = _releasing(self.app)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._rest = sum(int(value) for name, value in self.headers if name == b"content-length")

    def on_body(self, body: bytes) -> None:
        self._rest -= len(body)
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.pass_on()

    def pass_on(self) -> None:
        """Let the transport speak to a body from here on, if one of known length has begun."""
        # A request that waits for the answer to an earlier one is rare enough to be left to uvicorn.
        if self._rest > 0 and not self.pipeline and not self.transport.is_closing():
            body = Body(self, self._rest)
            self._rest = 0
            cast(dict[str, Any], self.cycle.scope).setdefault("extensions", {})[BODY] = body
            self.transport.set_protocol(body)

    def body_ended(self) -> None:
        """All of a body has come; from now on the transport speaks to us again."""
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self.parse_anew()
        self.transport.set_protocol(self)

    def parse_anew(self) -> None:
        """Let another parser read what comes next, as lenient as the one that uvicorn makes."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def expected(self, cycle: RequestResponseCycle) -> None:
        """Tell a client that waits for it to go on (RFC 9110, section 10.1.1)."""
        if cycle.waiting_for_100_continue and not self.transport.is_closing():
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _releasing(app: ASGI3Application) -> ASGI3Application:
    async def released(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if body := cast(dict[str, Any], scope).get("extensions", {}).get(BODY):
                body.release()

    return released
