"""The replacement of images that can't be filled any more.

The new image's id is recorded before the image is created, and the old one is deleted only after the new one has taken
its place. So wherever the service is killed, the replacement goes on, or the orphaned image is on record.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from resumable_glance.catalog.orphans import OrphanedImages
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.walk import Attempt
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService, Presence
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, Upload, require

LOG = logging.getLogger(__name__)
# The failure of an upload whose new image is refused, and whether it is final.
_FAILURES: Mapping[Reason, tuple[FailureReason, bool]] = {
    Reason.UNAUTHENTICATED: (FailureReason.TOKEN_EXPIRED, False),
    Reason.IMAGE_SERVICE_UNAVAILABLE: (FailureReason.IMAGE_SERVICE_UNAVAILABLE, False),
    Reason.OVER_QUOTA: (FailureReason.OVER_QUOTA, True),
    Reason.UPLOAD_TOO_LARGE: (FailureReason.OVER_QUOTA, True),
}


@dataclass(frozen=True)
class Replacement:
    """The step REPLACE. `clock` gives seconds since the epoch."""

    uploads: UploadRecords
    orphans: OrphanedImages
    images: ImageService
    clock: Callable[[], float]

    async def replace(self, attempt: Attempt) -> Upload:
        """Return the upload with a new image like its old one. Raises DeliveryFailed."""
        upload, old = attempt.upload, attempt.image
        if upload.delivery.successor is None:
            upload = await self.uploads.update(upload.id, successor=str(uuid.uuid4()))
        new = await self._create(upload, old, attempt.actor)
        upload = await self.uploads.replace_image(upload.id, new, self.clock())
        LOG.warning("upload %s: image %s could not be filled any more, and %s replaces it", upload.id, old.id, new.id)
        await self.remove(old, attempt.actor)
        return upload

    async def remove(self, image: Image, actor: Actor) -> None:
        """Delete an orphaned image, or leave that to the cleaner."""
        with contextlib.suppress(DeliveryFailed, OSError):
            await self.images.delete(image, actor)
            await self.orphans.remove(image.id)

    async def _create(self, upload: Upload, old: Image, actor: Actor) -> Image:
        new = Image(require(upload.delivery.successor), old.name, old.store, stores=old.stores)
        if (await self.images.status(new, actor)).presence is not Presence.DELETED:
            return new  # created by an attempt that was interrupted
        properties = await self.images.properties(old, actor)
        if properties is None and upload.request is not None:
            properties = upload.request.properties
        if properties is None:
            sentence = "The image was deleted, and its properties with it. Create a new upload."
            raise DeliveryFailed(FailureReason.IMAGE_GONE, sentence, final=True)
        request = ImageRequest({**properties, "id": new.id}, store=old.store, stores=old.stores)
        try:
            return await self.images.prepare(request, upload.size, actor)
        except Refused as refused:
            reason, final = _FAILURES.get(refused.reason, (FailureReason.IMAGE_REFUSED, True))
            if final:
                await self.uploads.abandon_successor(upload.id, self.clock())
            sentence = (
                f"The image can't be filled any more, and no new one could be made in its place: {refused.detail}"
            )
            raise DeliveryFailed(reason, sentence, final=final) from refused
