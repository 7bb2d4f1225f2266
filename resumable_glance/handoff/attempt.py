"""One attempt of a handoff: the upload, what the image service shows of its image, and for whom it is done."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resumable_glance.images.base import Actor, ImageStatus
from resumable_glance.model.upload import Image, Upload, require


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a step works on. A step ends with HandoffStopped once `stop` is set."""

    upload: Upload
    status: ImageStatus
    actor: Actor
    stop: threading.Event

    @property
    def image(self) -> Image:
        """The image that is to be filled."""
        return require(self.upload.image)


StepFunction = Callable[[Attempt], Awaitable[Upload]]
