"""Who may look at answers from within a browser: pages of the origins that the operator has named, exactly as written.

Around everything else, so that an answer is never without these headers, whoever gives it: a refusal that a page can't
read looks to its user like a broken network.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Fields = list[tuple[bytes, bytes]]

EXPOSED = [
    "Accept-Patch",
    "Allow",
    "Content-Disposition",
    "Location",
    "Repr-Digest",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Expires",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
    "Upload-Ranges",
    "Upload-State",
    "WWW-Authenticate",
    "X-Openstack-Request-Id",
]
METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"]
# What a page may send besides what every page may (Accept, Content-Language ...).
SENT = [
    "Authorization",
    "Content-Digest",
    "Content-Disposition",
    "Content-MD5",
    "Content-Range",
    "Content-Type",
    "Idempotency-Key",
    "Repr-Digest",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "Want-Repr-Digest",
    "X-Auth-Token",
    "X-Http-Method-Override",
    "X-Openstack-Request-Id",
    "X-Requested-With",
]


class Cors:
    """Around an ASGI application. `max_age` in seconds: for how long a browser may remember a preflight."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], max_age: int) -> None:
        self._app = app
        self._origins = origins
        self._preflight: Fields = [
            (b"access-control-allow-methods", ", ".join(METHODS).encode()),
            (b"access-control-allow-headers", ", ".join(SENT).encode()),
            (b"access-control-max-age", str(max_age).encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        came: Fields = scope["headers"]
        fields = headers(self._origins, came)
        asked = scope["method"] == "OPTIONS" and any(name == b"access-control-request-method" for name, _ in came)
        if asked and len(fields) > 1:
            # Whatever method and headers it asks for: the browser compares, and tells its console what is not allowed.
            await send({"type": "http.response.start", "status": 204, "headers": [*fields, *self._preflight]})
            await send({"type": "http.response.body"})
            return

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        await self._app(scope, receive, send_with_fields)


def headers(origins: Sequence[str], came: Fields) -> Fields:
    """What goes into an answer to a request with the headers `came`. `null` is nobody's origin, and never allowed."""
    if not origins:
        return []
    fields: Fields = [(b"vary", b"Origin")]
    origin = [value for name, value in came if name == b"origin"]
    if len(origin) == 1 and origin[0].decode("latin-1") in origins:
        fields += [
            (b"access-control-allow-origin", origin[0]),
            (b"access-control-expose-headers", ", ".join(EXPOSED).encode()),
        ]
    return fields
