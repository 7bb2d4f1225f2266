"""The sink that the project is for: an image in Glance, made and filled as its owner.

Its one rule: a request that carries image data is sent once and never again by anybody below us. A stream
that was half read can't be sent again, and Glance takes what is left of it for the whole image.
glanceclient and keystoneauth1 block, and take 400 ms to import: they run in threads and are imported late.
"""

from __future__ import annotations

import html
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import (
    CERTAIN,
    CONNECTION_LOST,
    SERVER_ERROR,
    Actor,
    DeliveryFailed,
    ImageStatus,
    Source,
)
from resumable_glance.images.glance import parsing
from resumable_glance.images.glance.clients import GlanceClients
from resumable_glance.images.glance.quota import Quota
from resumable_glance.model.stores import DIRECT, StoreList, choose
from resumable_glance.model.upload import FailureReason, Image, ImageRequest
from resumable_glance.runtime.config import SESSION_TIMEOUT
from resumable_glance.runtime.threads import Threads

if TYPE_CHECKING:
    from keystoneauth1.session import Session

LOG = logging.getLogger(__name__)
GROUP = "glance"
AT_ONCE = 16  # questions to Glance, besides the deliveries
_REFUSALS = {
    400: Reason.IMAGE_REFUSED,
    401: Reason.UNAUTHENTICATED,
    403: Reason.FORBIDDEN,
    404: Reason.IMAGE_UNKNOWN,
    409: Reason.IMAGE_REFUSED,
    413: Reason.OVER_QUOTA,
}
# What Glance answers to image data that it will never take (glance/api/v2/image_data.py).
_FINAL = {400: FailureReason.IMAGE_REFUSED, 403: FailureReason.IMAGE_REFUSED, 404: FailureReason.IMAGE_GONE, 410: FailureReason.IMAGE_GONE,
          413: FailureReason.OVER_QUOTA, 415: FailureReason.IMAGE_REFUSED}  # fmt: skip
# After a 415 the bytes stay in the store, and whatever comes next is a 500: there is something in its place.
_SUSPICION = {415: CERTAIN, 500: SERVER_ERROR}
# What Glance says of an image that its maker could not have said.
_GLANCES = frozenset({
    "id", "status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "owner", "created_at",
    "updated_at", "self", "file", "schema", "direct_url", "locations", "stores",
})  # fmt: skip


class GlanceImageService:
    """Glance as [glance] describes it; `service` is a session of our own service user.

    The service user's token goes along with the owner's, so that Glance takes an owner's token that has
    expired since (`[keystone_authtoken] service_token_roles` of Glance). `workers` is how many images are
    delivered at a time, `glance_timeout` how many seconds Glance may take to answer after their last byte.
    """

    def __init__(self, conf: cfg.ConfigOpts, service: Session, workers: int, glance_timeout: float) -> None:
        from keystoneauth1 import loading

        loading.register_session_conf_options(conf, GROUP)
        conf.set_default("timeout", SESSION_TIMEOUT, GROUP)
        loading.register_adapter_conf_options(conf, GROUP, include_deprecated=False)
        self._service = service  # speaks to Keystone
        self._plain = loading.load_session_from_conf_options(conf, GROUP, auth=service.auth)  # speaks to Glance
        self._adapter = loading.load_adapter_from_conf_options(conf, GROUP, session=service)
        if self._adapter.service_type is None and self._adapter.endpoint_override is None:
            self._adapter.service_type = "image"
        self._glance_timeout = glance_timeout
        self._clients = GlanceClients()
        self._quota = Quota()
        self._deliveries = Threads(workers, "deliver")
        self._questions = Threads(AT_ONCE, "glance")

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        return await self._questions.run(self._prepare, request, size, actor)

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        def work() -> None:
            with _failures():
                images = self._client(actor).images
                # Always the size: without it Glance makes an empty body into an active image of no bytes.
                if image.imports:
                    images.stage(image.id, source, image_size=size)
                    _import(images, image)
                else:
                    images.upload(image.id, source, image_size=size, backend=image.store)

        await self._deliveries.run(work)

    async def import_staged(self, image: Image, actor: Actor) -> None:
        def work() -> None:
            with _failures():
                _import(self._client(actor).images, image)

        await self._questions.run(work)

    async def stores(self, actor: Actor) -> StoreList:
        def work() -> StoreList:
            with _failures():
                return _stores(self._client(actor))

        return await self._questions.run(work)

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        return await self._questions.run(self._status, image.id, actor)

    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        found = await self._questions.run(self._found, image.id, actor)
        if found is None:
            return None
        return {name: value for name, value in found.items() if _ours_to_say(name) and value is not None}

    async def set_format(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        def work() -> None:
            with _failures():
                client = self._client(actor)
                smallest = client.images.get(image.id).get("min_disk") or min_disk or 0
                client.images.update(image.id, disk_format=disk_format, min_disk=smallest)

        await self._questions.run(work)

    async def content(self, image: Image, actor: Actor) -> AsyncGenerator[bytes]:
        def work() -> Iterator[bytes]:
            with _failures():
                return iter(self._client(actor).images.data(image.id).iterable)  # it checks Glance's hash at the end

        data = await self._questions.run(work)

        async def pieces() -> AsyncGenerator[bytes]:
            while piece := await self._questions.run(next, data, b""):
                yield piece

        return pieces()

    async def delete(self, image: Image, actor: Actor) -> None:
        await self._questions.run(self._delete, image.id, actor)

    async def check(self) -> str:
        def work() -> str:
            with _failures():
                endpoint = self._endpoint()
                self._service.get_token()
                answer = self._plain.get(endpoint + "/v2/schemas/image", raise_exc=False)
            if answer.status_code != 200:
                raise DeliveryFailed(
                    FailureReason.IMAGE_SERVICE_UNAVAILABLE, f"Glance at {endpoint} answered {answer.status_code}."
                )
            return f"images go into Glance at {endpoint}"

        return await self._questions.run(work)

    def _prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        with _refusals():
            client = self._client(actor)
            self._quota.check(client, size or 0)
            asked = request.store is not None or request.imports  # Glance itself looks only when the data comes
            stores = choose(request, _stores(client)) if asked else None
            if request.image_id is not None:
                return self._adopt(client, request, stores, actor)
            created = client.images.create(**request.properties)
        return Image(created["id"], created.get("name"), request.store, stores=stores)

    def _adopt(self, client: Any, request: ImageRequest, stores: tuple[str, ...] | None, actor: Actor) -> Image:
        found = client.images.get(request.image_id)
        if found["owner"] != actor.owner.project_id:  # shared or public: visible, but not theirs to fill
            raise Refused(Reason.IMAGE_UNKNOWN, "There is no such image in your project.")
        if found["status"] != "queued":
            raise Refused(Reason.IMAGE_NOT_QUEUED, f"The image is {found['status']}; it must be queued.")
        if not found.get("disk_format") or not found.get("container_format"):
            raise Refused(
                Reason.IMAGE_REFUSED,
                "Set the image's disk_format and container_format first: Glance takes no data before.",
            )
        return Image(found["id"], found.get("name"), request.store, adopted=True, stores=stores)

    def _found(self, image_id: str, actor: Actor) -> Any:
        """The image as Glance shows it, None if there is none."""
        from glanceclient import exc

        try:
            with _failures():
                return self._client(actor).images.get(image_id)
        except DeliveryFailed as failed:
            if isinstance(failed.__cause__, exc.HTTPNotFound):
                return None
            raise

    def _status(self, image_id: str, actor: Actor) -> ImageStatus:
        return parsing.image_status(self._found(image_id, actor))

    def _delete(self, image_id: str, actor: Actor) -> None:
        from glanceclient import exc

        try:
            with _failures():
                client = self._client(actor)
                if client.images.get(image_id).get("protected"):
                    client.images.update(image_id, protected=False)
                client.images.delete(image_id)
        except DeliveryFailed as failed:
            if not isinstance(failed.__cause__, exc.HTTPNotFound):
                raise

    def _client(self, actor: Actor) -> Any:
        from resumable_glance.images.glance.session import as_owner

        self._service.get_token()  # the other session finds it in the plugin, and has not to ask Keystone
        session = as_owner(self._plain, self._endpoint(), actor.token, self._glance_timeout)
        return self._clients.client(session, actor.request_id)

    def _endpoint(self) -> str:
        endpoint = self._adapter.get_endpoint()
        if endpoint is None:
            raise DeliveryFailed(
                FailureReason.IMAGE_SERVICE_UNAVAILABLE,
                "Keystone's catalog has no image service that [glance] describes.",
            )
        return str(endpoint).rstrip("/").removesuffix("/v2")


def _import(images: Any, image: Image) -> None:
    """Into all of the stores, or none: so an image is never active before it is wherever it shall be."""
    images.image_import(image.id, method=DIRECT, stores=list(image.stores or ()) or None, allow_failure=False)


def _stores(client: Any) -> StoreList:
    """404: it has one store, without a name; or it is too old for imports."""
    from glanceclient import exc

    def asked(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except exc.HTTPNotFound:
            return {}

    return parsing.store_list(asked(client.images.get_stores_info), asked(client.images.get_import_info))


def _ours_to_say(name: str) -> bool:
    return name not in _GLANCES and not name.startswith("os_glance_")


def _said(problem: Exception) -> str:
    return f"Glance says: {html.unescape(str(problem))}"  # it answers in HTML


@contextmanager
def _refusals() -> Iterator[None]:
    """While an image is made: what Glance says goes to the client, as our refusal."""
    from glanceclient import exc
    from keystoneauth1 import exceptions

    try:
        yield
    except (TypeError, exc.HTTPException) as problem:
        code = getattr(problem, "code", 400)
        if code not in _REFUSALS:
            raise _unavailable(problem) from problem
        raise Refused(_REFUSALS[code], _said(problem)) from problem
    except (exc.CommunicationError, exc.InvalidEndpoint, exceptions.ClientException, DeliveryFailed) as problem:
        raise _unavailable(problem) from problem


def _unavailable(problem: Exception) -> Refused:
    LOG.error("Glance can't make an image: %s", problem)
    return Refused(
        Reason.IMAGE_SERVICE_UNAVAILABLE, "The image service can't be used right now. Try again soon.", retry_after=5
    )


@contextmanager
def _failures() -> Iterator[None]:
    """During a handoff: whether it is worth another attempt."""
    from glanceclient import exc
    from keystoneauth1 import exceptions

    try:
        yield
    except exc.HTTPUnauthorized as problem:
        raise DeliveryFailed(
            FailureReason.TOKEN_EXPIRED,
            "Glance does not take the owner's token any more. The bytes are safe. To go on, the owner asks for this "
            "upload with a fresh token, or for a new ticket.",
        ) from problem
    except exc.HTTPException as problem:
        final = problem.code in _FINAL
        hitch = _FINAL.get(problem.code, FailureReason.IMAGE_SERVICE_UNAVAILABLE)
        raise DeliveryFailed(hitch, _said(problem), final=final, suspicion=_SUSPICION.get(problem.code, 0)) from problem
    except (exc.CommunicationError, exc.InvalidEndpoint, exceptions.ClientException, OSError) as problem:
        LOG.warning("Glance can't be reached: %s", problem)  # addresses inside the cloud: not for clients
        raise DeliveryFailed(
            FailureReason.IMAGE_SERVICE_UNAVAILABLE,
            "Glance can't be reached right now. It will be tried again.",
            suspicion=CONNECTION_LOST,
        ) from problem
