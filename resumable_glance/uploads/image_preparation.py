"""The image of a new upload: created before any byte moves, and deleted if the upload fails to be created."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from resumable_glance.auth.delegation import Delegation
from resumable_glance.catalog.orphans import ImageOrphaned, OrphanedImage, OrphanedImages
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService
from resumable_glance.images.inspection import AUTO
from resumable_glance.model.upload import Format, Image, ImageRequest

BARE = "bare"  # Glance's container_format for an image without a container
CREATION_TIMEOUT = 3600.0  # seconds until the image of an upload that was not recorded counts as an orphan


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image without bytes; `format` is None if they are not inspected."""

    image: Image | None = None
    request: ImageRequest | None = None
    format: Format | None = None


@dataclass(frozen=True)
class ImagePreparation:
    """Creates or adopts images. `inspects` tells whether bytes are inspected; `clock` gives seconds since the epoch."""

    images: ImageService
    orphans: OrphanedImages
    delegation: Delegation
    inspects: bool
    clock: Callable[[], float]

    @contextlib.asynccontextmanager
    async def prepared(
        self, request: ImageRequest | None, size: int | None, actor: Actor
    ) -> AsyncIterator[PreparedImage]:
        """Yield the image for a request (None: a part has none). After an exception or a crash it is deleted.

        Raises Refused: as ImageService.prepare(), and IMAGE_SERVICE_UNAVAILABLE after CREATION_TIMEOUT.
        """
        if request is None:
            yield PreparedImage()
            return
        plain = self._without_auto(request)
        async with self._image(plain, size, actor) as image:
            yield PreparedImage(image, plain, await self._format(request, image, actor))

    @contextlib.asynccontextmanager
    async def _image(self, request: ImageRequest, size: int | None, actor: Actor) -> AsyncIterator[Image]:
        if request.image_id is not None:
            yield await self.images.prepare(request, size, actor)
            return
        image_id, now = str(uuid.uuid4()), self.clock()
        expected = OrphanedImage(Image(image_id), actor.owner, self.delegation.encrypt(actor.token, actor.expires_at))
        await self.orphans.expect(expected, now, due_at=now + CREATION_TIMEOUT)
        try:
            properties = {**request.properties, "id": image_id}
            yield await self.images.prepare(dataclasses.replace(request, properties=properties), size, actor)
        except BaseException as problem:
            with contextlib.suppress(DeliveryFailed, OSError):  # after a failure the cleaner does it
                await self.images.delete(expected.image, actor)
                await self.orphans.remove(image_id)
            if isinstance(problem, ImageOrphaned):
                sentence = "The creation of the image took too long. Create the upload again."
                raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, sentence, retry_after=5) from problem
            raise

    def _without_auto(self, request: ImageRequest) -> ImageRequest:
        """Return the request without the disk_format AUTO, which image services don't know."""
        if request.properties.get("disk_format") != AUTO:
            return request
        if not self.inspects:
            raise Refused(Reason.IMAGE_REFUSED, "Name the disk_format: this service does not inspect images.")
        if request.properties.get("container_format") != BARE:
            sentence = f"Name the disk_format: {AUTO} works only with the container_format {BARE}."
            raise Refused(Reason.IMAGE_REFUSED, sentence)
        properties = {name: value for name, value in request.properties.items() if name != "disk_format"}
        return dataclasses.replace(request, properties=properties)

    async def _format(self, request: ImageRequest, image: Image, actor: Actor) -> Format | None:
        if not self.inspects:
            return None
        described = request.properties
        if image.adopted:
            try:
                described = await self.images.properties(image, actor) or {}
            except DeliveryFailed as failed:
                raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, f"{failed}", retry_after=5) from failed
        declared = described.get("disk_format")
        if described.get("container_format") != BARE or not isinstance(declared, str):
            return None
        return Format(None if declared == AUTO else declared)
