"""Cross-origin requests (CORS): pages of the origins that the operator has named may read every response.

This middleware surrounds all others, so that pages can read refusals, too: to their users an unreadable one would look
like a broken network.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resumable_glance.api.protocols import PROTOCOLS, problems

Fields = list[tuple[bytes, bytes]]
METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"]
REQUEST_HEADERS = sorted(
    {"Authorization", "X-Auth-Token", "X-Openstack-Request-Id", "X-Requested-With"}
    | {name for each in PROTOCOLS for name in each.REQUEST_HEADERS.split()}
)
RESPONSE_HEADERS = sorted(
    {"WWW-Authenticate", "X-Openstack-Request-Id", *problems.HEADERS.values()}
    | {name for each in PROTOCOLS for name in each.RESPONSE_HEADERS.split()}
)


class Cors:
    """Middleware that answers preflights. `max_age` in seconds: how long a browser may remember one."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], max_age: int) -> None:
        self._app = app
        self._origins = origins
        self._preflight: Fields = [
            (b"access-control-allow-methods", ", ".join(METHODS).encode()),
            (b"access-control-allow-headers", ", ".join(REQUEST_HEADERS).encode()),
            (b"access-control-max-age", str(max_age).encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        request: Fields = scope["headers"]
        fields = headers(self._origins, request)
        preflight = scope["method"] == "OPTIONS" and b"access-control-request-method" in dict(request)
        if preflight and len(fields) > 1:
            # For any method and headers: the browser compares, and its console names what is not allowed.
            await send({"type": "http.response.start", "status": 204, "headers": [*fields, *self._preflight]})
            await send({"type": "http.response.body"})
            return

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        await self._app(scope, receive, send_with_fields)


def headers(origins: Sequence[str], request: Fields) -> Fields:
    """Return the CORS headers of the response to a request with these headers. The origin `null` is never allowed."""
    if not origins:
        return []
    fields: Fields = [(b"vary", b"Origin")]
    origin = [value for name, value in request if name == b"origin"]
    if len(origin) == 1 and origin[0].decode("latin-1") in origins:
        fields += [
            (b"access-control-allow-origin", origin[0]),
            (b"access-control-expose-headers", ", ".join(RESPONSE_HEADERS).encode()),
        ]
    return fields
