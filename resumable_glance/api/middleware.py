"""What is around every request, whatever it asks for. Plain ASGI, so that bodies pass untouched."""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resumable_glance.runtime import log

BODY = "resumable_glance.body"  # an extension of ASGI's scope: a body that comes in another way (receiving.py)
REST = 16 * 1024 * 1024  # bytes of a body that are taken after its answer
LINGER = 2  # seconds for which they are


class RequestId:
    """Gives every request an id of its own, in the log and in X-Openstack-Request-Id of the answer.

    An id that came with the request (the caller's, also `req-` and a UUID) is logged next to ours.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req-{uuid.uuid4()}"
        log.bind(request_id, dict(scope["headers"]).get(b"x-openstack-request-id", b"").decode("latin-1"))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-openstack-request-id", request_id.encode())]
            await send(message)

        await self._app(scope, receive, send_with_id)


class EarlyResponse:
    """Ends the connection after an answer that came when much of the request's body was still to come.

    uvicorn takes such a body to its end and throws it away. Many clients (Chromium is one) send all of theirs before
    they look for an answer, so that a chunk that is refused at once costs as much of their link as one that counts.
    The connection ends a moment after the answer, for one that ends at once can lose it (RFC 9112, section 9.6).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get("extensions", {}).get(BODY) or _Counted(receive, _announced(scope))
        if not body.rest:
            await self._app(scope, receive, send)
            return
        ending = False

        async def send_and_end(message: Message) -> None:
            nonlocal ending
            if message["type"] == "http.response.start" and body.rest > REST:
                ending = True
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif ending and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                most = REST
                with contextlib.suppress(TimeoutError, ClientDisconnect):
                    async with asyncio.timeout(LINGER):
                        while most > 0 and (piece := await body.read()):
                            most -= len(piece)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, getattr(body, "receive", receive), send_and_end)


class _Counted:
    """A body as ASGI gives it; `rest` bytes of it have not come yet, infinitely many if nobody knows."""

    def __init__(self, receive: Receive, rest: float) -> None:
        self.rest = rest
        self._receive = receive

    async def receive(self) -> Message:
        message = await self._receive()
        self.rest = self.rest - len(message.get("body", b"")) if message.get("more_body") else 0
        return message

    async def read(self) -> bytes:
        while self.rest:
            message = await self.receive()
            if piece := message.get("body", b""):
                return bytes(piece)
        return b""


def _announced(scope: Scope) -> float:
    """Bytes of a request's body; infinite if they are not told."""
    headers = dict(scope["headers"]) if scope["type"] == "http" else {}
    return math.inf if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
