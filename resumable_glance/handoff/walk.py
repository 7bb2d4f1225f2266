"""The walk of an attempt: small steps to an image that is verified.

Each step ends with one transaction. plan.next_step() chooses each from the upload's record and the image's state, so an
attempt needs to know nothing of the one before.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from resumable_glance.auth.delegation import Delegation
from resumable_glance.handoff.plan import Step, next_step
from resumable_glance.handoff.reader import Readers
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService, ImageStatus
from resumable_glance.model.states import WITH_HANDOFF
from resumable_glance.model.upload import FailureReason, Image, Upload, require


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a handoff, as its steps see it: the upload, the state of its image, and the owner to act for.

    A step raises HandoffStopped once `stop` is set.
    """

    upload: Upload
    status: ImageStatus
    actor: Actor
    stop: threading.Event

    @property
    def image(self) -> Image:
        """The image to deliver to."""
        return require(self.upload.image)


@dataclass(frozen=True)
class Walk:
    """Walks from a started handoff to its end. `steps` has the function of each Step."""

    images: ImageService
    delegation: Delegation
    readers: Readers
    steps: Mapping[Step, Callable[[Attempt], Awaitable[Upload]]]
    clock: Callable[[], float]

    async def run(self, upload: Upload, stop: threading.Event) -> Upload:
        """Return the upload once it is active, or has failed since its image differs.

        Raises:
            DeliveryFailed: the image service did not take the bytes.
            StorageDiffers: storage does not give back the bytes that were received.
            HandoffStopped: `stop` was set.
            IllegalTransition: the upload was cancelled.
        """
        request_id = f"req-{uuid.uuid4()}"  # for Glance's log
        actor = Actor(upload.owner, await self.delegation.token(upload), request_id)
        try:
            return await self._run(upload, actor, stop)
        except DeliveryFailed as failed:
            if failed.error.reason is FailureReason.TOKEN_EXPIRED:
                await self.delegation.refused(upload, actor.token)
            raise
        finally:
            self.readers.progress.pop(upload.id, None)

    def lately(self) -> Mapping[str, float]:
        """Return the bytes that were read for handoffs lately, by project."""
        return self.readers.lately.amounts()

    async def _run(self, upload: Upload, actor: Actor, stop: threading.Event) -> Upload:
        while upload.state in WITH_HANDOFF:
            status = await self.images.status(require(upload.image), actor)
            step = next_step(upload, status, self.clock())
            upload = await self.steps[step](Attempt(upload, status, actor, stop))
        return upload
