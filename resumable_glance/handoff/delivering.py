"""The steps that fill an image and verify it. Each may be interrupted anywhere, and repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.handoff.plan import differences
from resumable_glance.handoff.reader import HandoffStopped, Readers
from resumable_glance.handoff.replacement import Replacement
from resumable_glance.handoff.walk import Attempt
from resumable_glance.images.base import CERTAIN, UNUSABLE, DeliveryFailed, ImageService, Presence, set_detected_format
from resumable_glance.model.states import Event, State
from resumable_glance.model.upload import FailureReason, LastError, Upload, Verified, require
from resumable_glance.runtime.config import HandoffSettings

LOG = logging.getLogger(__name__)
IMPORT_POLL_INTERVAL = 0.5  # seconds


@dataclass(frozen=True)
class Delivering:
    """The steps DELIVER, IMPORT, RECORD, VERIFY, WAIT, BACK_OFF and GIVE_UP. `clock` gives seconds since the epoch."""

    uploads: UploadRecords
    images: ImageService
    readers: Readers
    replacement: Replacement
    settings: HandoffSettings
    clock: Callable[[], float]

    async def deliver(self, attempt: Attempt) -> Upload:
        """Give the image service all bytes."""
        upload = await self._not_stuck(attempt.upload)
        await set_detected_format(self.images, upload, attempt.actor)
        async with self.readers.open(upload, attempt.stop) as reader:
            try:
                await self.images.deliver(attempt.image, require(upload.size), reader, attempt.actor)
            except DeliveryFailed as failed:
                await self._suspect(attempt, failed.suspicion)
                raise
        return await self._transition(upload, Event.DELIVERED, proof=reader.proof(), suspicion=0)

    async def import_staged(self, attempt: Attempt) -> Upload:
        """Start the import of a staged image."""
        upload = await self._not_stuck(attempt.upload)
        await self.images.import_staged(attempt.image, attempt.actor)
        return upload if upload.state is State.VERIFYING else await self._transition(upload, Event.DELIVERED)

    async def record(self, attempt: Attempt) -> Upload:
        """Record a delivery that an interrupted attempt has left unrecorded."""
        return await self._transition(attempt.upload, Event.DELIVERED)

    async def verify(self, attempt: Attempt) -> Upload:
        """Compare the image with the digests: the upload becomes active or fails."""
        upload, status = attempt.upload, attempt.status
        proof = require(upload.delivery.proof)
        wrong = differences(require(upload.size), proof, status)
        if not wrong:
            LOG.info("upload %s is active: image %s, sha512 %s", upload.id, attempt.image.id, proof.sha512)
            size, md5, sha512 = require(status.size), require(status.md5), require(status.sha512)
            shown = Verified(self.clock(), size, md5, sha512, attempt.actor.request_id)
            return await self._transition(upload, Event.VERIFIED, last_error=None, verified=shown)
        error = LastError(FailureReason.IMAGE_DIFFERS, f"Glance has other bytes: {'; '.join(wrong)}.")
        LOG.error("upload %s has failed: %s", upload.id, error.detail)
        upload = await self.uploads.reject(upload.id, self.clock(), error)
        if not attempt.image.adopted:
            await self.replacement.remove(attempt.image, attempt.actor)  # nobody may boot from wrong bytes
        return upload

    async def wait(self, attempt: Attempt) -> Upload:
        """Wait for a busy image: poll our own import, else fail this attempt."""
        upload, image = attempt.upload, attempt.image
        if not upload.delivery.stuck_at:
            # Glance fills one store after the other
            timeout = self.settings.glance_timeout * max(1, len(image.stores or ()))
            upload = await self.uploads.update(upload.id, stuck_at=self.clock() + timeout)
        if upload.state is not State.VERIFYING or not image.imports:
            raise DeliveryFailed(FailureReason.IMAGE_BUSY, "Glance is still busy with an earlier attempt.")
        await asyncio.sleep(IMPORT_POLL_INTERVAL)
        if attempt.stop.is_set():
            raise HandoffStopped
        return upload

    async def back_off(self, attempt: Attempt) -> Upload:
        """Fail this attempt after a failed import, so that the next one replaces the image."""
        suspicion = attempt.upload.delivery.suspicion + CERTAIN
        await self.uploads.update(attempt.upload.id, suspicion=suspicion)
        cause = attempt.status.detail or "Glance has failed to import the image."
        raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, f"{cause} It will be tried again.")

    async def give_up(self, attempt: Attempt) -> Upload:
        """Fail for good, with a sentence that says what the owner can do."""
        adopted = attempt.image.adopted
        if attempt.status.presence is Presence.DELETED:
            advice = "Create a new upload." if adopted else "Retry the upload to get a new image."
            sentence = f"The image was deleted, or can't be used any more. {advice}"
            raise DeliveryFailed(FailureReason.IMAGE_GONE, sentence, final=True)
        saving = attempt.status.presence is Presence.SAVING
        reason = FailureReason.IMAGE_BUSY if saving else FailureReason.IMAGE_REFUSED
        sentence = (
            "The image can't be filled any more: an interrupted attempt has left data in it. You created the image, so "
            "it is not replaced. Delete it, and create a new upload."
        )
        raise DeliveryFailed(reason, sentence, final=True)

    async def _not_stuck(self, upload: Upload) -> Upload:
        """Restart the time after which the image counts as stuck."""
        return await self.uploads.update(upload.id, stuck_at=0.0) if upload.delivery.stuck_at else upload

    async def _suspect(self, attempt: Attempt, suspicion: int) -> None:
        """Note when the image counts as stuck, and how suspicious it is."""
        upload = attempt.upload
        whole = self.readers.progress.get(upload.id, 0) == upload.size
        timeout = self.settings.glance_timeout if whole else self.settings.abort_grace
        if attempt.image.adopted and suspicion < UNUSABLE:
            suspicion = 0  # it can't be replaced: errors that may pass don't add up
        suspicion += upload.delivery.suspicion
        await self.uploads.update(upload.id, stuck_at=self.clock() + timeout, suspicion=suspicion)

    async def _transition(self, upload: Upload, event: Event, **delivery: Any) -> Upload:
        return await self.uploads.transition(upload.id, event, self.clock(), **delivery)
