"""Middleware for all requests, in plain ASGI."""

from __future__ import annotations

import asyncio
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resumable_glance.api.health import ALIVE, READY
from resumable_glance.api.http11.body import discard, receiver_of
from resumable_glance.runtime import log
from resumable_glance.runtime.rate_limit import Pacer

DRAIN_LIMIT = 16 * 1024 * 1024  # bytes of a body that are received and discarded after the response
DRAIN_TIMEOUT = 2  # seconds
CREDENTIALS = frozenset({b"x-auth-token", b"authorization"})


class RequestId:
    """Gives each request an id, which is in log lines and in X-Openstack-Request-Id of the response.

    An id that the request has already, of its caller, is logged beside it.
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


class StrangersWait:
    """Lets requests of callers that the service does not know wait for their turns.

    However many strangers ask, and however often, the time that they take from others is bounded. A request without
    credentials waits before anything is done for it; one with credentials waits before its response, unless the
    endpoint has admitted it. Health checks have no credentials, and never wait.
    """

    def __init__(self, app: ASGIApp, pacer: Pacer) -> None:
        self._app = app
        self._pacer = pacer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in {ALIVE, READY}:
            await self._app(scope, receive, send)
            return
        claims = any(name in CREDENTIALS for name, _ in scope["headers"])
        if not claims:
            await asyncio.sleep(self._pacer.delay())

        async def send_in_turn(message: Message) -> None:
            if claims and message["type"] == "http.response.start":
                admitted = scope.get("state", {}).get("admitted", False)
                if not admitted or message["status"] == 401:  # 401: a ticket that was revoked, for example
                    await asyncio.sleep(self._pacer.delay())
            await send(message)

        await self._app(scope, receive, send_in_turn)


class EarlyResponse:
    """Closes the connection after a response that is sent before most of the request's body has come.

    uvicorn would receive such a body to its end, in vain. Many clients, such as Chromium, read no response before they
    have sent the whole body, so that a refused chunk would cost them as much time as an accepted one. The connection is
    closed a moment after the response, which could be lost otherwise (RFC 9112, section 9.6).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        receiver = receiver_of(scope, receive) if scope["type"] == "http" else None
        if receiver is None or not receiver.rest:
            await self._app(scope, receive, send)
            return
        closing = False

        async def send_and_close(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start" and receiver.rest > DRAIN_LIMIT:
                closing = True
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif closing and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await discard(receiver, DRAIN_LIMIT, DRAIN_TIMEOUT)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive, send_and_close)
