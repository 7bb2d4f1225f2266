"""The ASGI application, and the endpoint that all requests about uploads go through.

request head -> authenticator.admit -> protocol.parse -> uploads.perform(command, body) -> protocol.render
                            any refusal: Refused(reason) -> protocol.refuse
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from resumable_glance import __version__
from resumable_glance.api.cors import Cors
from resumable_glance.api.health import Health
from resumable_glance.api.http11.body import RequestBody, receiver_of
from resumable_glance.api.middleware import EarlyResponse, RequestId, StrangersWait
from resumable_glance.api.page import WebPage
from resumable_glance.api.protocols import PROTOCOLS, native, parsing, problems, rufh, tus
from resumable_glance.api.protocols.base import Reply, RequestContext, RequestHead, WireProtocol
from resumable_glance.api.sse import EventStreams
from resumable_glance.auth.base import Authenticator
from resumable_glance.auth.signing import ReceiptSigner
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Content, Watch
from resumable_glance.runtime import log
from resumable_glance.runtime.config import Settings
from resumable_glance.runtime.rate_limit import Pacer, RateLimiter, network_of
from resumable_glance.uploads.service import UploadService

LOG = logging.getLogger(__name__)
DEFECT = "The service failed. Acknowledged bytes are safe. Report the request id to the operator."


class Endpoint:
    """Carries requests of all protocols to the uploads, and outcomes back. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator,
        uploads: UploadService,
        streams: EventStreams,
        signer: ReceiptSigner,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._uploads = uploads
        self._streams = streams
        self._signer = signer
        self._clock = clock
        self._projects = RateLimiter(settings.limits.requests_per_project)
        self._peers = RateLimiter(settings.limits.requests_per_peer)
        self.page = WebPage(settings)

    async def respond(self, protocol: WireProtocol, request: Request, aspect: str | None = None) -> Response:
        """Return the response to a request in this protocol; it never raises."""
        context = self.context(request)
        try:
            return await self._respond(protocol, request, context, aspect)
        except Refused as refusal:
            if refusal.reason is Reason.DISCONNECTED:
                LOG.info("the client disconnected in the middle of a body")
            return _response(protocol.refuse(refusal, request.method, context))
        except Exception:
            LOG.exception("%s %s failed unexpectedly", request.method, request.url.path)
            return _response(protocol.refuse(Refused(Reason.INTERNAL, DEFECT), request.method, context))

    async def root(self, request: Request) -> Response:
        """Describe the service and its protocols; a browser gets the page."""
        if request.method != "OPTIONS" and self.page.is_meant(request):
            return self.page.answer()
        base = self.context(request).base
        protocols = {
            "native": native.capabilities(self.context(request)),
            "tus": {"href": f"{base}{tus.MOUNT}", "versions": [tus.VERSION], "extensions": list(tus.EXTENSIONS)},
            "rufh": {"href": f"{base}{rufh.MOUNT}", "interop_versions": list(rufh.VERSIONS)},
        }
        return JSONResponse(
            {"name": "resumable-glance", "version": __version__, "protocols": protocols},
            headers={"Allow": "GET, HEAD, OPTIONS", "Vary": "Accept"},
        )

    async def keys(self, request: Request) -> Response:
        """Publish the public keys of receipts (JWKS, RFC 7517)."""
        return JSONResponse(self._signer.published, headers={"Allow": "GET, HEAD, OPTIONS"})

    def context(self, request: Request) -> RequestContext:
        """Return what replies to this request need."""
        service = self._settings.service
        return RequestContext(
            base=service.public_endpoint or str(request.base_url).rstrip("/"),
            request_id=log.request_id(),
            max_upload_size=service.max_upload_size,
            max_chunk_size=service.max_chunk_size,
            record_retention=service.record_retention,
            upload_expiry=service.upload_expiry,
            first_byte_expiry=service.first_byte_expiry,
            waiting_retention=service.waiting_retention,
            now=self._clock(),
        )

    async def _respond(
        self, protocol: WireProtocol, request: Request, context: RequestContext, aspect: str | None
    ) -> Response:
        self._peers.take(network_of(request.client.host) if request.client else "")
        if request.method == "OPTIONS":
            return _response(protocol.options(_head(request, aspect), context))
        # A stranger costs nothing: nothing of a request is parsed or read before its caller is known.
        identity = await self._authenticator.admit(request.headers)
        request.state.admitted = True  # for StrangersWait
        self._projects.take(identity.owner.project_id)
        head, settings = _head(request, aspect), self._settings.service
        receiver = receiver_of(request.scope, request.receive)
        body = RequestBody(receiver, settings.idle_timeout, settings.min_rate)
        has_document = head.method == "POST" and protocol.MAX_DOCUMENT_SIZE
        document = await body.whole(protocol.MAX_DOCUMENT_SIZE, settings.idle_timeout) if has_document else b""
        command = protocol.parse(head, document, context)
        if isinstance(command, Watch):
            admit = partial(self._authenticator.admit, request.headers)
            return await self._streams.open(command, identity, admit, protocol, context)
        outcome = await self._uploads.perform(command, identity, body, context.request_id)
        return _response(protocol.render(outcome, context), outcome.stream if isinstance(outcome, Content) else None)


def application(
    settings: Settings, endpoint: Endpoint, health: Health, lifespan: Lifespan[Starlette] | None
) -> ASGIApp:
    """Return the ASGI application."""

    async def refuse(request: Request, error: Exception) -> Response:
        match error:
            case HTTPException(status_code=404):
                refusal = Refused(Reason.NOT_FOUND, "There is nothing at this address. GET / describes the service.")
            case HTTPException(status_code=405, headers=headers):
                allowed = sorted((headers or {}).get("Allow", "").split(", "))
                refusal = parsing.method_not_allowed(request.method, allowed)
            case _:
                refusal = Refused(Reason.INTERNAL, DEFECT)
        return _response(problems.refuse(refusal, endpoint.context(request)))

    starlette = Starlette(
        routes=routes(endpoint, health),
        middleware=[Middleware(EarlyResponse)],
        exception_handlers=dict.fromkeys([404, 405, Exception], refuse),
        lifespan=lifespan,
    )
    starlette.router.redirect_slashes = False  # its Location would not know public_endpoint
    cors = Cors(RequestId(starlette), settings.cors.allowed_origin, settings.cors.max_age)
    strangers = settings.limits.strangers_per_second
    if not strangers or settings.service.auth_strategy == "noauth":  # without authentication, nobody is a stranger
        return cors
    return StrangersWait(cors, Pacer(strangers))


def routes(endpoint: Endpoint, health: Health) -> list[BaseRoute]:
    """Return all routes of the service."""
    found: list[BaseRoute] = [
        Route("/", endpoint.root, methods=["GET", "OPTIONS"]),
        *health.routes(),
        *endpoint.page.routes(),
        Route("/v1/keys", endpoint.keys, methods=["GET", "OPTIONS"]),
        *(Route(f"/v1/{each}", _Resource(endpoint, native, each)) for each in native.CALLERS_ASPECTS),
    ]
    for protocol in PROTOCOLS:
        upload = f"{protocol.MOUNT}/{{upload_id}}"
        found += [Route(path, _Resource(endpoint, protocol)) for path in (protocol.MOUNT, upload)]
        found += [Route(f"{upload}/{each}", _Resource(endpoint, protocol, each)) for each in protocol.ASPECTS]
    return found


@dataclass(frozen=True)
class _Resource:
    """A resource of a protocol. It is an ASGI application, since Starlette would limit the methods of a function."""

    endpoint: Endpoint
    protocol: WireProtocol
    aspect: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.endpoint.respond(self.protocol, Request(scope, receive, send), self.aspect)
        await response(scope, receive, send)


def _head(request: Request, aspect: str | None) -> RequestHead:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in request.headers.items():
        headers[name] = (*headers.get(name, ()), value)
    if len(request.scope["query_string"]) > parsing.MAX_QUERY_LENGTH:
        parsing.malformed(f"The query has more than {parsing.MAX_QUERY_LENGTH} characters.")
    query = dict(request.query_params)
    if len(query) < len(request.query_params.multi_items()):
        raise Refused(Reason.MALFORMED, "A query parameter came twice. Send it once.")
    return RequestHead(request.method, request.path_params.get("upload_id"), headers, query, aspect)


def _response(reply: Reply, stream: AsyncIterator[bytes] | None = None) -> Response:
    if stream is not None:
        return StreamingResponse(stream, reply.status, reply.headers)
    if reply.document is None:
        return Response(status_code=reply.status, headers=reply.headers)
    media_type = reply.headers.get("Content-Type", "application/json")
    return JSONResponse(dict(reply.document), reply.status, reply.headers, media_type)
