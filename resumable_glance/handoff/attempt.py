"""One attempt of a handoff, as its steps see it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from resumable_glance.images.base import Actor, ImageStatus
from resumable_glance.model.upload import Image, Upload, require


@dataclass(frozen=True, slots=True)
class Attempt:
    """The upload, the state of its image, and the owner to act for.

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
