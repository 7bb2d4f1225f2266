"""uvicorn's HTTP protocol with an edge: heads that are bounded in size and time, and refusals that say what they are.

The one rule: nothing that comes over a connection may occupy this process without a bound, in bytes or in seconds, and
each request ends where its sender and every proxy between think that it ends.
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
from resumable_glance.api.http11.body import Http
from resumable_glance.api.protocols import problems
from resumable_glance.api.protocols.base import RequestContext
from resumable_glance.api.rate_limit import is_one_of, network_of
from resumable_glance.errors import Reason, Refused

LOG = logging.getLogger(__name__)
LINGER = 2  # seconds for which a refused client can read why, before its connection ends


@dataclass(frozen=True)
class Rules:
    """What a connection may do. Times in seconds; `connections` in all and `per_peer`, 0 for any number.

    Those of `trusted` addresses are not counted by peer: behind a proxy everybody comes from it.
    """

    bounds: request_head.HeadLimits
    head_timeout: float
    send_timeout: float
    connections: int
    per_peer: int
    trusted: Sequence[str]
    origins: Sequence[str]
    peers: Counter[str] = field(default_factory=Counter)

    def come(self, peer: str, connections: int) -> None:
        """Count a connection of `peer`, of now so many. Refused: BUSY, OVER_LIMIT."""
        counted = self._counted(peer)
        self.peers[peer] += counted
        if self.connections and connections > self.connections:
            raise Refused(Reason.BUSY, "Too many connections are open right now. Try again soon.", retry_after=5)
        if counted and self.peers[peer] > self.per_peer:
            sentence = f"More than {self.per_peer} connections are open from your address. Use fewer."
            raise Refused(Reason.OVER_LIMIT, sentence, retry_after=5)

    def gone(self, peer: str) -> None:
        self.peers[peer] -= self._counted(peer)
        if not self.peers[peer]:
            del self.peers[peer]

    def _counted(self, peer: str) -> bool:
        return bool(self.per_peer) and not is_one_of(peer, self.trusted)


def protocol(rules: Rules) -> type[Http]:
    """The class that uvicorn makes one object of for each connection."""
    return type("ConnectionProtocol", (Connection,), {"rules": rules})


class Connection(Http):
    """Heads; bodies are those of receiving.py."""

    rules: Rules

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True  # else in a body
        self._begun = self._completed = False  # a head; a message, with what comes right now
        self._size = self._fields = 0  # of the head or of the trailer that is coming, as far as it was understood
        self._pending = 0  # bytes of a head that has not come to its end
        self._refusal: Refused | None = None
        self._deaf = False  # nothing that still comes is looked at
        self._muted = False  # the parser is told what it has to know, which no client has sent
        self._clocks: dict[str, asyncio.TimerHandle] = {}

    # How a connection begins and ends

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = network_of(self.client[0]) if self.client else ""
        self._start("head", self.rules.head_timeout, self._head_is_late)
        try:
            self.rules.come(self._peer, len(self.connections))
        except Refused as refusal:
            self._refuse(refusal)
            transport.close()  # at once: it is one too many

    def connection_lost(self, exc: Exception | None) -> None:
        self.rules.gone(self._peer)
        for each in list(self._clocks):
            self._stop(each)
        super().connection_lost(exc)

    def _start(self, name: str, seconds: float, late: Callable[[], None]) -> None:
        if name not in self._clocks:
            self._clocks[name] = self.loop.call_later(seconds, late)

    def _stop(self, name: str) -> None:
        if clock := self._clocks.pop(name, None):
            clock.cancel()

    # What comes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        was_in_head, self._completed = self._in_head, False
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if not self._in_head:
            self.pass_on()
            return
        self._pending = self._pending + len(data) if was_in_head and not self._completed else 0
        try:
            self.rules.bounds.check(self._pending, 0)
        except Refused as refusal:
            self._refuse(refusal)
        else:
            if self._pending or self._begun:
                self._start("head", self.rules.head_timeout, self._head_is_late)

    def _feed(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                self._stay()
                data = data[upgrade.args[0] :]

    def _stay(self) -> None:
        """Go on with the body of a request that wants another protocol: nobody has to follow (RFC 9110, section 7.8).

        httptools would take the body for the next request. So another parser reads it, which is told how long it is.
        """
        keep = b"" if self.cycle.keep_alive else b"Connection: close\r\n"
        length = [name + b": " + value + b"\r\n" for name, value in self.scope["headers"]
                  if name in {b"content-length", b"transfer-encoding"}]  # fmt: skip
        self.parse_anew()
        self._muted = True
        self.parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", keep, *length, b"\r\n"]))
        self._muted = False

    def on_message_begin(self) -> None:
        if not self._muted:
            self._begun = True
            self._size = self._fields = 0
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._muted:
            self._count(len(url), 0)
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._muted:
            return
        self._count(len(name) + len(value) + 4, 1)
        if self._in_head:  # a trailer is no header: the head was acted on without it
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        self._guarded(request_head.check, self.parser.get_http_version(), self.parser.get_method().decode("ascii"),
                      self.url, self.headers)  # fmt: skip
        super().on_headers_complete()
        self._in_head = self._begun = False
        self._size = self._fields = 0
        self._stop("head")

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it has a body, perhaps: see _feed
        self._in_head = self._completed = True
        self._stop("rest")
        super().on_message_complete()

    def body_ended(self) -> None:
        self._in_head = True
        self._stop("rest")
        super().body_ended()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:  # the rest of a body that nobody wants must not take for ever
            self._start("rest", self.rules.head_timeout, self.transport.close)

    def _count(self, size: int, fields: int) -> None:
        self._size += size
        self._fields += fields
        self._guarded(self.rules.bounds.check, self._size, self._fields)

    def _guarded(self, check: Callable[..., None], *args: object) -> None:
        """A parser passes on only that a callback has failed, so the reason is kept here."""
        try:
            check(*args)
        except Refused as refusal:
            self._refusal = refusal
            raise

    # What is refused

    def send_400_response(self, msg: str) -> None:
        sentence = "This is not HTTP as it has to be written: two programs could read it in two ways."
        refusal, self._refusal = self._refusal or Refused(Reason.MALFORMED, sentence), None
        self._refuse(refusal)

    def _head_is_late(self) -> None:
        self._stop("head")
        if self.cycle is not None and not self.cycle.response_complete:
            self._start("head", self.rules.head_timeout, self._head_is_late)  # others are still being answered
        elif self._begun:
            sentence = f"The request's head did not come within {self.rules.head_timeout} s. Send it again."
            self._refuse(Refused(Reason.STALLED, sentence, retry_after=1))
        else:
            self.transport.close()

    def _refuse(self, refusal: Refused) -> None:
        """Answer without the application, and end the connection."""
        self._deaf = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._in_head:
                cycle.keep_alive = False  # what came before is answered, and is the last one
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
        LOG.info("refused before the application saw it: %s (%s, from %s)", refusal.detail, request_id, self._peer)
        reply = problems.refuse(refusal, RequestContext("", request_id, 0, 0))
        body = json.dumps(reply.document).encode()
        fields = [
            *((name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()),
            (b"x-openstack-request-id", request_id.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *cors.headers(self.rules.origins, self.headers or []),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
        return STATUS_LINE[reply.status] + lines + b"\r\n" + body

    # Who does not read

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("send", self.rules.send_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop("send")
        super().resume_writing()
