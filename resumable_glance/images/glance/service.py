"""Images in Glance, created and filled as their owners.

glanceclient blocks, and takes 400 ms to import: it runs in threads and is imported late.
"""

from __future__ import annotations

import contextlib
import functools
import html
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from oslo_config import cfg

from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import (
    CERTAIN,
    CONNECTION_LOST,
    PIECE,
    SERVER_ERROR,
    Actor,
    DeliveryFailed,
    ImageStatus,
    Source,
)
from resumable_glance.images.glance import parsing
from resumable_glance.images.glance.quota import Quota
from resumable_glance.model.stores import DIRECT, StoreList, choose
from resumable_glance.model.upload import FailureReason, Image, ImageRequest
from resumable_glance.runtime.config import SESSION_TIMEOUT
from resumable_glance.runtime.threads import Threads

if TYPE_CHECKING:
    from keystoneauth1.session import Session

    from resumable_glance.images.glance.clients import GlanceClients

T = TypeVar("T")
LOG = logging.getLogger(__name__)
GROUP = "glance"
MAX_REQUESTS = 16  # at a time, besides deliveries
_REASONS = {
    400: Reason.IMAGE_REFUSED,
    401: Reason.UNAUTHENTICATED,
    403: Reason.FORBIDDEN,
    404: Reason.IMAGE_UNKNOWN,
    409: Reason.IMAGE_REFUSED,
    413: Reason.OVER_QUOTA,
}
# The statuses for image data that Glance will never take (glance/api/v2/image_data.py).
_FINAL_FAILURES = {
    400: FailureReason.IMAGE_REFUSED, 403: FailureReason.IMAGE_REFUSED,
    404: FailureReason.IMAGE_GONE, 410: FailureReason.IMAGE_GONE,
    413: FailureReason.OVER_QUOTA, 415: FailureReason.IMAGE_REFUSED}  # fmt: skip
# After a 415 the bytes stay in the store, so that every later attempt ends with a 500.
_SUSPICION = {415: CERTAIN, 500: SERVER_ERROR}
_READ_ONLY = frozenset({  # properties that only Glance sets
    "id", "status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "owner", "created_at",
    "updated_at", "self", "file", "schema", "direct_url", "locations", "stores",
})  # fmt: skip


class _Pieces:
    """A source as glanceclient must be given it: an object with read() and nothing else.

    glanceclient measures, serializes or iterates whatever it can. It reads 1 MiB at a time, and uWSGI in front of
    Glance refuses such a chunk, framing included, as longer than 1 MiB.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, size: int = PIECE, /) -> bytes:
        return self._source.read(min(size, PIECE))


class GlanceImageService:
    """The Glance that [glance] describes; `service` is a session of the service user.

    The service user's token accompanies the owner's, so that Glance accepts an owner's token that has expired since
    (Glance's [keystone_authtoken] service_token_roles). `workers` deliveries run at a time; Glance has `glance_timeout`
    seconds to answer after the last byte of one.
    """

    def __init__(self, conf: cfg.ConfigOpts, service: Session, workers: int, glance_timeout: float) -> None:
        from keystoneauth1 import loading

        loading.register_session_conf_options(conf, GROUP)
        conf.set_default("timeout", SESSION_TIMEOUT, GROUP)
        loading.register_adapter_conf_options(conf, GROUP, include_deprecated=False)
        self._service = service  # for requests to Keystone
        self._plain = loading.load_session_from_conf_options(conf, GROUP, auth=service.auth)  # for requests to Glance
        self._adapter = loading.load_adapter_from_conf_options(conf, GROUP, session=service)
        if self._adapter.service_type is None and self._adapter.endpoint_override is None:
            self._adapter.service_type = "image"
        self._glance_timeout = glance_timeout
        self._quota = Quota()
        self._deliveries = Threads(workers, "deliver")
        self._requests = Threads(MAX_REQUESTS, "glance")

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        return await self._requests.run(self._prepare, request, size, actor)

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        def work(client: Any) -> None:
            # Always with the size, or Glance would turn an empty body into an active image of no bytes.
            if image.imports:
                client.images.stage(image.id, _Pieces(source), image_size=size)
                _import(client, image)
            else:
                client.images.upload(image.id, _Pieces(source), image_size=size, backend=image.store)

        await self._deliveries.run(self._as_owner, actor, work)

    async def import_staged(self, image: Image, actor: Actor) -> None:
        await self._requests.run(self._as_owner, actor, lambda client: _import(client, image))

    async def stores(self, actor: Actor) -> StoreList:
        return await self._requests.run(self._as_owner, actor, _stores)

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        return parsing.image_status(await self._found(image, actor))

    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        found = await self._found(image, actor)
        return found and {name: value for name, value in found.items() if _is_settable(name) and value is not None}

    async def set_format(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        def work(client: Any) -> None:
            smallest = client.images.get(image.id).get("min_disk") or min_disk or 0
            client.images.update(image.id, disk_format=disk_format, min_disk=smallest)

        await self._requests.run(self._as_owner, actor, work)

    async def content(self, image: Image, actor: Actor) -> AsyncGenerator[bytes]:
        def work(client: Any) -> Iterator[bytes]:
            return iter(client.images.data(image.id).iterable)  # glanceclient verifies Glance's hash at the end

        data = await self._requests.run(self._as_owner, actor, work)

        async def pieces() -> AsyncGenerator[bytes]:
            while piece := await self._requests.run(next, data, b""):
                yield piece

        return pieces()

    async def delete(self, image: Image, actor: Actor) -> None:
        def work(client: Any) -> None:
            if client.images.get(image.id).get("protected"):
                client.images.update(image.id, protected=False)
            client.images.delete(image.id)

        await self._requests.run(self._as_owner, actor, lambda client: _unless_missing(work, client))

    async def check(self) -> str:
        def work() -> str:
            with _delivery_failures():
                endpoint = self._endpoint()
                self._service.get_token()
                answer = self._plain.get(endpoint + "/v2/schemas/image", raise_exc=False)
            if answer.status_code != 200:
                sentence = f"Glance at {endpoint} answered {answer.status_code}."
                raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, sentence)
            return f"images go into Glance at {endpoint}"

        return await self._requests.run(work)

    def _prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        with _refusals():
            client = self._client(actor)
            self._quota.check(client, size or 0)
            chooses = request.store is not None or request.imports  # Glance itself checks stores only with the data
            stores = choose(request, _stores(client)) if chooses else None
            if request.image_id is not None:
                return self._adopt(client, request, stores, actor)
            # Not by images.create(), whose model validates all properties again with each one.
            _, created = client.http_client.post("/v2/images", data=dict(request.properties))
        return Image(created["id"], created.get("name"), request.store, stores=stores)

    def _adopt(self, client: Any, request: ImageRequest, stores: tuple[str, ...] | None, actor: Actor) -> Image:
        found = client.images.get(request.image_id)
        if found["owner"] != actor.owner.project_id:  # shared or public: the caller may see it, but not fill it
            raise Refused(Reason.IMAGE_UNKNOWN, "There is no such image in your project.")
        if found["status"] != "queued":
            raise Refused(Reason.IMAGE_NOT_QUEUED, f"The image is {found['status']}; it must be queued.")
        if not found.get("disk_format") or not found.get("container_format"):
            sentence = "Set the image's disk_format and container_format first: Glance takes no data before."
            raise Refused(Reason.IMAGE_REFUSED, sentence)
        return Image(found["id"], found.get("name"), request.store, adopted=True, stores=stores)

    async def _found(self, image: Image, actor: Actor) -> Any:
        """Return the image's document; None if there is no such image."""

        def work(client: Any) -> Any:
            return _unless_missing(client.images.get, image.id)

        return await self._requests.run(self._as_owner, actor, work)

    def _as_owner(self, actor: Actor, work: Callable[[Any], T]) -> T:
        """Return the result of `work` with a client of Glance. Raises DeliveryFailed."""
        with _delivery_failures():
            return work(self._client(actor))

    @functools.cached_property
    def _clients(self) -> GlanceClients:
        from resumable_glance.images.glance.clients import GlanceClients

        return GlanceClients(self._plain, self._glance_timeout)

    def _client(self, actor: Actor) -> Any:
        self._service.get_token()  # fetched here, it comes from Keystone with the settings of this session
        return self._clients.client(self._endpoint(), actor.token, actor.request_id)

    def _endpoint(self) -> str:
        endpoint = self._adapter.get_endpoint()
        if endpoint is None:
            sentence = "Keystone's catalog has no image service as [glance] describes it."
            raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, sentence)
        return str(endpoint).rstrip("/").removesuffix("/v2")


def _import(client: Any, image: Image) -> None:
    """Start the import into all stores or none."""
    client.images.image_import(image.id, method=DIRECT, stores=list(image.stores or ()) or None, allow_failure=False)


def _stores(client: Any) -> StoreList:
    stores = _unless_missing(client.images.get_stores_info)  # None: a Glance with a single store
    imports = _unless_missing(client.images.get_import_info)  # None: a Glance too old for imports
    return parsing.store_list(stores or {}, imports or {})


def _unless_missing(request: Callable[..., T], *args: object) -> T | None:
    """Return the result of requests to Glance; None if it answers one with 404."""
    from glanceclient import exc

    try:
        return request(*args)
    except exc.HTTPNotFound:
        return None


def _is_settable(name: str) -> bool:
    return name not in _READ_ONLY and not name.startswith("os_glance_")


def _quoted(problem: Exception) -> str:
    return f"Glance says: {html.unescape(str(problem))}"  # its errors are in HTML


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what Glance says while an image is created into a refusal for the client."""
    from glanceclient import exc
    from keystoneauth1 import exceptions

    try:
        yield
    except (TypeError, exc.HTTPException) as problem:
        code = getattr(problem, "code", 400)
        if code not in _REASONS:
            raise _unavailable(problem) from problem
        raise Refused(_REASONS[code], _quoted(problem)) from problem
    except (exc.CommunicationError, exc.InvalidEndpoint, exceptions.ClientException, DeliveryFailed) as problem:
        raise _unavailable(problem) from problem


def _unavailable(problem: Exception) -> Refused:
    LOG.error("Glance can't create an image: %s", problem)
    return Refused(
        Reason.IMAGE_SERVICE_UNAVAILABLE, "The image service can't be used right now. Try again soon.", retry_after=5
    )


@contextlib.contextmanager
def _delivery_failures() -> Iterator[None]:
    """Turn errors of Glance into DeliveryFailed, which tells whether another attempt makes sense."""
    from glanceclient import exc
    from keystoneauth1 import exceptions

    try:
        yield
    except exc.HTTPUnauthorized as problem:
        raise DeliveryFailed(
            FailureReason.TOKEN_EXPIRED,
            "Glance does not accept the owner's token any more. The bytes are safe. To go on, the owner requests this "
            "upload with a fresh token, or a new ticket.",
        ) from problem
    except exc.HTTPException as problem:
        final, suspicion = problem.code in _FINAL_FAILURES, _SUSPICION.get(problem.code, 0)
        reason = _FINAL_FAILURES.get(problem.code, FailureReason.IMAGE_SERVICE_UNAVAILABLE)
        raise DeliveryFailed(reason, _quoted(problem), final=final, suspicion=suspicion) from problem
    except (exc.CommunicationError, exc.InvalidEndpoint, exceptions.ClientException, OSError) as problem:
        LOG.warning("Glance can't be reached: %s", problem)  # not for clients: it has addresses inside the cloud
        raise DeliveryFailed(
            FailureReason.IMAGE_SERVICE_UNAVAILABLE,
            "Glance can't be reached right now. It will be tried again.",
            suspicion=CONNECTION_LOST,
        ) from problem
