"""A connection: limits on request heads in size and time, and refusals that are problem documents.

Everything that a connection sends has a limit, in bytes and in seconds. And each request ends where its sender and all
proxies in between take it to end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from resumable_glance.api import cors
from resumable_glance.api.http11 import request_head
from resumable_glance.api.http11.transport import HttpProtocol
from resumable_glance.api.protocols import problems
from resumable_glance.api.protocols.base import RequestContext
from resumable_glance.errors import Reason, Refused
from resumable_glance.runtime.rate_limit import is_one_of, network_of

LOG = logging.getLogger(__name__)
LINGER = 2  # seconds in which a refused client can read the answer before its connection is closed


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of all connections. Times in seconds; 0 is no limit for `connections` in all and `per_peer`.

    `head_size` is in bytes, of the request line and the fields; `head_fields` is their number.
    Connections from `trusted` addresses are not counted by peer: all clients behind a proxy have its address.
    `origins` are those that CORS allows to read refusals.
    """

    head_size: int
    head_fields: int
    head_timeout: float
    send_timeout: float
    connections: int
    per_peer: int
    trusted: Sequence[str]
    origins: Sequence[str]
    peers: Counter[str] = field(default_factory=Counter)

    def check_head(self, size: int, fields: int) -> None:
        """Raise Refused(HEAD_TOO_LARGE) for a head of more bytes or fields."""
        if size > self.head_size:
            sentence = f"The head of the request has more than {self.head_size} bytes. Send fewer or shorter headers."
            raise Refused(Reason.HEAD_TOO_LARGE, sentence, limit=self.head_size)
        if fields > self.head_fields:
            raise Refused(Reason.HEAD_TOO_LARGE, f"The request has more than {self.head_fields} headers. Send fewer.")

    def add(self, peer: str, connections: int) -> None:
        """Count one more connection of `peer`, one of `connections` in all. Raises Refused: BUSY, OVER_LIMIT."""
        counted = self._counted(peer)
        self.peers[peer] += counted
        if self.connections and connections > self.connections:
            raise Refused(Reason.BUSY, "Too many connections are open. Try again soon.", retry_after=5)
        if counted and self.peers[peer] > self.per_peer:
            sentence = f"More than {self.per_peer} connections are open from your address. Use fewer."
            raise Refused(Reason.OVER_LIMIT, sentence, retry_after=5)

    def remove(self, peer: str) -> None:
        self.peers[peer] -= self._counted(peer)
        if not self.peers[peer]:
            del self.peers[peer]

    def _counted(self, peer: str) -> bool:
        return bool(self.per_peer) and not is_one_of(peer, self.trusted)


def protocol(limits: ConnectionLimits) -> type[HttpProtocol]:
    """Return the class of which uvicorn makes one object for each connection."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


class Connection(HttpProtocol):
    """One connection: its request heads, its timers and its refusals. Bodies are received by transport.py."""

    limits: ConnectionLimits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True  # or between two requests; false in a body
        self._begun = self._completed = False  # a head has begun; a message ended with the latest data
        self._size = self._fields = 0  # parsed of the present head or trailer: bytes and fields
        self._pending = 0  # bytes of a head that is not complete
        self._refusal: Refused | None = None
        self._ignores_input = False  # a refusal is the last response
        self._replaying = False  # the parser reads a head that no client has sent: see _ignore_upgrade
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # Begin and end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = network_of(self.client[0]) if self.client else ""
        self._start("head", self.limits.head_timeout, self._head_is_late)
        try:
            self.limits.add(self._peer, len(self.connections))
        except Refused as refusal:
            self._refuse(refusal)
            transport.close()  # at once: it is one too many

    def connection_lost(self, exc: Exception | None) -> None:
        self.limits.remove(self._peer)
        for each in list(self._timers):
            self._stop(each)
        super().connection_lost(exc)

    def _start(self, name: str, seconds: float, late: Callable[[], None]) -> None:
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, late)

    def _stop(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    # Requests

    def data_received(self, data: bytes) -> None:
        if self._ignores_input:
            return
        was_in_head, self._completed = self._in_head, False
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if not self._in_head:
            self.hand_over()
            return
        self._pending = self._pending + len(data) if was_in_head and not self._completed else 0
        try:
            self.limits.check_head(self._pending, 0)
        except Refused as refusal:
            self._refuse(refusal)
        else:
            if self._pending or self._begun:
                self._start("head", self.limits.head_timeout, self._head_is_late)

    def _feed(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                self._ignore_upgrade()
                data = data[upgrade.args[0] :]

    def _ignore_upgrade(self) -> None:
        """Continue in HTTP/1.1 with a request that asks for another protocol, as RFC 9110, section 7.8, allows.

        httptools would parse its body as the next request. So a new parser gets a head with the body's length first.
        """
        keep = b"" if self.cycle.keep_alive else b"Connection: close\r\n"
        length = [name + b": " + value + b"\r\n" for name, value in self.scope["headers"]
                  if name in {b"content-length", b"transfer-encoding"}]  # fmt: skip
        self.renew_parser()
        self._replaying = True
        self.parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", keep, *length, b"\r\n"]))
        self._replaying = False

    def on_message_begin(self) -> None:
        if not self._replaying:
            self._begun = True
            self._size = self._fields = 0
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            self._count(len(url), 0)
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._replaying:
            return
        self._count(len(name) + len(value) + 4, 1)
        if self._in_head:  # trailers come after the head was acted on, and are ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._replaying:
            return
        self._guarded(request_head.check, self.parser.get_http_version(), self.parser.get_method().decode("ascii"),
                      self.url, self.headers)  # fmt: skip
        super().on_headers_complete()
        self._in_head = self._begun = False
        self._size = self._fields = 0
        self._stop("head")

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it may have a body: see _feed
        self._in_head = self._completed = True
        self._stop("rest")
        super().on_message_complete()

    def body_ended(self) -> None:
        self._in_head = True
        self._stop("rest")
        super().body_ended()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:  # the rest of an unread body has a time limit
            self._start("rest", self.limits.head_timeout, self.transport.close)

    def _count(self, size: int, fields: int) -> None:
        self._size += size
        self._fields += fields
        self._guarded(self.limits.check_head, self._size, self._fields)

    def _guarded(self, check: Callable[..., None], *args: object) -> None:
        """Keep the refusal of a check: the parser reports only that a callback has failed."""
        try:
            check(*args)
        except Refused as refusal:
            self._refusal = refusal
            raise

    # Refusals

    def send_400_response(self, msg: str) -> None:
        sentence = "The request is not valid HTTP/1.1."
        refusal, self._refusal = self._refusal or Refused(Reason.MALFORMED, sentence), None
        self._refuse(refusal)

    def _head_is_late(self) -> None:
        self._stop("head")
        if self.cycle is not None and not self.cycle.response_complete:
            self._start("head", self.limits.head_timeout, self._head_is_late)  # an earlier request is still running
        elif self._begun:
            sentence = f"The head of the request was not complete within {self.limits.head_timeout} s. Send it again."
            self._refuse(Refused(Reason.STALLED, sentence, retry_after=1))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refused) -> None:
        """Answer without the application, and close the connection."""
        self._ignores_input = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._in_head:
                cycle.keep_alive = False  # the earlier request still gets its response, as the last one
                return
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(self._answer(refusal))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._start("end", LINGER, self.transport.close)

    def _answer(self, refusal: Refused) -> bytes:
        request_id = f"req-{uuid.uuid4()}"
        LOG.info("refused before the application: %s (%s, from %s)", refusal.detail, request_id, self._peer)
        reply = problems.refuse(refusal, RequestContext("", request_id, 0, 0))
        body = json.dumps(reply.document).encode()
        fields = [
            *((name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()),
            (b"x-openstack-request-id", request_id.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *cors.headers(self.limits.origins, self.headers or []),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
        return STATUS_LINE[reply.status] + lines + b"\r\n" + body

    # Clients that do not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("send", self.limits.send_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop("send")
        super().resume_writing()
