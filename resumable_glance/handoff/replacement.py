"""Another image in place of one that can't be filled any more.

Its one rule: the new image's id is written down before it is made, and the old image goes only after the new one has
its place. So wherever the service is killed, either the same replacement goes on, or what is left over is known.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping

from resumable_glance.catalog.backlog import Backlog
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService, Presence
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, Upload, known

LOG = logging.getLogger(__name__)
# Why an image can't be made: whether that passes, and what the upload has met then.
_HITCHES: Mapping[Reason, tuple[FailureReason, bool]] = {
    Reason.UNAUTHENTICATED: (FailureReason.TOKEN_EXPIRED, False),
    Reason.IMAGE_SERVICE_UNAVAILABLE: (FailureReason.IMAGE_SERVICE_UNAVAILABLE, False),
    Reason.OVER_QUOTA: (FailureReason.OVER_QUOTA, True),
    Reason.UPLOAD_TOO_LARGE: (FailureReason.OVER_QUOTA, True),
}


class Replacement:
    """`clock` gives seconds since the epoch."""

    def __init__(self, catalog: Catalog, sink: ImageService, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._backlog = Backlog(catalog)
        self._sink = sink
        self._clock = clock

    async def replace(self, upload: Upload, actor: Actor) -> Upload:
        """The upload with an image like the one that it has, which waits for its bytes. DeliveryFailed."""
        old = known(upload.image)
        if upload.successor is None:
            upload = await self._catalog.note(upload.id, successor=str(uuid.uuid4()))
        new = await self._made(upload, old, actor)
        upload = await self._catalog.replace(upload.id, new, self._clock())
        LOG.warning(
            "image %s of upload %s could not be filled any more: image %s is there now", old.id, upload.id, new.id
        )
        await self.remove(old, actor)
        return upload

    async def remove(self, image: Image, actor: Actor) -> None:
        """Remove an image that the catalog has as a leftover; if that can't be done now, the janitor does it."""
        with contextlib.suppress(DeliveryFailed, OSError):
            await self._sink.discard(image, actor)
            await self._backlog.cleared(image.id)

    async def _made(self, upload: Upload, old: Image, actor: Actor) -> Image:
        new = Image(known(upload.successor), old.name, old.store, stores=old.stores)
        if (await self._sink.receipt(new, actor)).presence is not Presence.DELETED:
            return new  # by an earlier attempt, which was broken off
        properties = await self._sink.properties(old, actor)
        if properties is None and upload.request is not None:
            properties = upload.request.properties
        if properties is None:
            raise DeliveryFailed(
                FailureReason.IMAGE_GONE, "The image is gone, and nobody knows any more what it was.", final=True
            )
        request = ImageRequest({**properties, "id": new.id}, store=old.store, stores=old.stores)
        try:
            return await self._sink.prepare(request, upload.size, actor)
        except Refused as refused:
            hitch, final = _HITCHES.get(refused.reason, (FailureReason.IMAGE_REFUSED, True))
            if final:
                await self._catalog.forgo(upload.id, self._clock())
            detail = (
                f"The image can't be filled any more, and a new one could not be made in its place: {refused.detail}"
            )
            raise DeliveryFailed(hitch, detail, final=final) from refused
