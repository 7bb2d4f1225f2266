"""HTTP: the one endpoint that all uploads go through, and what is around it.

request head -> dialect.parse -> gate.admit -> uploads.perform(command, body) -> dialect.render
                          any refusal: Refused(reason) -> dialect.refuse
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

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
from resumable_glance.api.middleware import EarlyResponse, RequestId
from resumable_glance.api.page import WebPage
from resumable_glance.api.protocols import native, parsing, problems, rufh, tus
from resumable_glance.api.protocols.base import Head, Reply, RequestContext, WireProtocol
from resumable_glance.api.rate_limit import Rate, network_of
from resumable_glance.api.sse import EventStreams
from resumable_glance.auth.base import Authenticator
from resumable_glance.auth.signing import ReceiptSigner
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Content, Watch
from resumable_glance.runtime import log
from resumable_glance.runtime.config import Settings
from resumable_glance.uploads.service import UploadService

LOG = logging.getLogger(__name__)
PROTOCOLS: tuple[WireProtocol, ...] = (native, tus, rufh)


class Endpoint:
    """Carries requests from a dialect to the uploads and back."""

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
        self._of_project = Rate(settings.limits.requests_per_project)
        self._of_peer = Rate(settings.limits.requests_per_peer)
        self.page = WebPage(settings)

    async def speak(self, dialect: WireProtocol, request: Request, aspect: str | None = None) -> Response:
        """Answer a request in a dialect."""
        place = self.place(request)
        try:
            return await self._answer(dialect, request, place, aspect)
        except Refused as refusal:
            if refusal.reason is Reason.DISCONNECTED:
                LOG.info("the client went away in the middle of a body")
            return _response(dialect.refuse(refusal, request.method, place))
        except Exception:
            LOG.exception("%s %s met a defect of ours", request.method, request.url.path)
            return _response(dialect.refuse(_defect(), request.method, place))

    async def root(self, request: Request) -> Response:
        """What this service is and can do; for somebody with a browser a page."""
        if request.method != "OPTIONS" and self.page.is_meant(request):
            return self.page.answer()
        described = {"name": "resumable-glance", "version": __version__}
        place = self.place(request)
        protocols = {
            "native": native.capabilities(place),
            "tus": {"href": f"{place.base}{tus.MOUNT}", "versions": [tus.VERSION], "extensions": list(tus.EXTENSIONS)},
            "rufh": {"href": f"{place.base}{rufh.MOUNT}", "interop_versions": list(rufh.VERSIONS)},
        }
        return JSONResponse(
            {**described, "protocols": protocols}, headers={"Allow": "GET, HEAD, OPTIONS", "Vary": "Accept"}
        )

    async def keys(self, request: Request) -> Response:
        """The public keys of receipts (JWKS, RFC 7517), for anybody."""
        return JSONResponse(self._signer.published, headers={"Allow": "GET, HEAD, OPTIONS"})

    def place(self, request: Request) -> RequestContext:
        settings = self._settings
        return RequestContext(
            base=settings.service.public_endpoint or str(request.base_url).rstrip("/"),
            request_id=log.request_id(),
            max_upload_size=settings.service.max_upload_size,
            max_chunk_size=settings.service.max_chunk_size,
            record_retention=settings.service.record_retention,
            upload_expiry=settings.service.upload_expiry,
            now=self._clock(),
        )

    async def _answer(
        self, dialect: WireProtocol, request: Request, place: RequestContext, aspect: str | None
    ) -> Response:
        self._of_peer.take(network_of(request.client.host) if request.client else "")
        head, settings = _head(request, aspect), self._settings.service
        receiver = receiver_of(request.scope, request.receive)
        body = RequestBody(receiver, settings.idle_timeout, settings.min_rate)
        if head.method == "OPTIONS":
            return _response(dialect.options(head, place))
        described = head.method == "POST" and dialect.LARGEST_DOCUMENT
        document = await body.whole(dialect.LARGEST_DOCUMENT, settings.idle_timeout) if described else b""
        command = dialect.parse(head, document, place)
        identity = await self._authenticator.admit(request.headers)
        self._of_project.take(identity.owner.project_id)
        if isinstance(command, Watch):
            return await self._streams.open(
                command,
                identity,
                lambda: self._authenticator.admit(request.headers),
                lambda outcome: dialect.render(outcome, place),
                lambda refusal: dialect.refuse(refusal, head.method, place),
            )
        outcome = await self._uploads.perform(command, identity, body, place.request_id)
        return _response(dialect.render(outcome, place), outcome.stream if isinstance(outcome, Content) else None)


def application(
    settings: Settings, endpoint: Endpoint, health: Health, lifespan: Lifespan[Starlette] | None
) -> ASGIApp:
    """Return the ASGI application."""

    async def nothing_here(request: Request, _: Exception) -> Response:
        refusal = Refused(Reason.NOT_FOUND, "There is nothing at this address. GET / tells what there is.")
        return _response(problems.refuse(refusal, endpoint.place(request)))

    async def nothing_of_that_kind(request: Request, unsupported: Exception) -> Response:
        refusal = parsing.method_not_allowed(request.method, _allowed(unsupported))
        return _response(problems.refuse(refusal, endpoint.place(request)))

    async def defect(request: Request, _: Exception) -> Response:
        return _response(problems.refuse(_defect(), endpoint.place(request)))

    made = Starlette(
        routes=routes(endpoint, health),
        middleware=[Middleware(EarlyResponse)],
        exception_handlers={404: nothing_here, 405: nothing_of_that_kind, Exception: defect},
        lifespan=lifespan,
    )
    made.router.redirect_slashes = False  # its Location would not know public_endpoint
    return Cors(RequestId(made), settings.cors.allowed_origin, settings.cors.max_age)


def routes(endpoint: Endpoint, health: Health) -> list[BaseRoute]:
    """All paths of the service."""
    return [
        Route("/", endpoint.root, methods=["GET", "OPTIONS"]),
        *health.routes(),
        *endpoint.page.routes(),
        Route("/v1/keys", endpoint.keys, methods=["GET", "OPTIONS"]),
        Route(f"/v1/{native.STORES}", _AnyMethod(endpoint, native, native.STORES)),
        *(
            Route(dialect.MOUNT + rest, _AnyMethod(endpoint, dialect))
            for dialect in PROTOCOLS
            for rest in ("", "/{upload_id}")
        ),
        *(
            Route(f"{dialect.MOUNT}/{{upload_id}}/{aspect}", _AnyMethod(endpoint, dialect, aspect))
            for dialect in PROTOCOLS
            for aspect in dialect.ASPECTS
        ),
    ]


class _AnyMethod:
    """An ASGI application, since Starlette gives functions only the methods that it is told; ours the dialect knows."""

    def __init__(self, endpoint: Endpoint, dialect: WireProtocol, aspect: str | None = None) -> None:
        self._endpoint = endpoint
        self._dialect = dialect
        self._aspect = aspect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint.speak(self._dialect, Request(scope, receive, send), self._aspect)
        await response(scope, receive, send)


def _defect() -> Refused:
    sorry = "Something went wrong here. What was acknowledged is safe. Tell the operator the request id."
    return Refused(Reason.INTERNAL, sorry)


def _allowed(unsupported: Exception) -> Sequence[str]:
    """The methods that a 405 of Starlette names, in order."""
    headers = unsupported.headers if isinstance(unsupported, HTTPException) else None
    return sorted((headers or {}).get("Allow", "").split(", "))


def _head(request: Request, aspect: str | None) -> Head:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in request.headers.items():
        headers[name] = (*headers.get(name, ()), value)
    query = dict(request.query_params)
    if len(query) < len(request.query_params.multi_items()):
        raise Refused(Reason.MALFORMED, "A query parameter came twice. Send it once.")
    return Head(request.method, request.path_params.get("upload_id"), headers, query, aspect)


def _response(reply: Reply, stream: AsyncIterator[bytes] | None = None) -> Response:
    headers: Mapping[str, str] = reply.headers
    if stream is not None:
        return StreamingResponse(stream, reply.status, headers)
    if reply.document is None:
        return Response(status_code=reply.status, headers=headers)
    media_type = headers.get("Content-Type", "application/json")
    return JSONResponse(dict(reply.document), reply.status, headers, media_type)
