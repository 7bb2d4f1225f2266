"""Where a handoff goes. The contract that every sink keeps (testing.check_image_service holds them to it).

DO    make the image known before any byte moves, so that policy and quota have their say first.
DO    leave an image that got half of its bytes waiting for them again, never complete.
DO    import an image that is to be imported into all of its stores, or into none: it is complete when it is in all.
DON'T read a source ahead of the bytes that were asked for, or twice: it is a stream that checks itself,
      and raises in the middle when scratch does not give back what was sent.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.model.stores import StoreList
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, LastError, Owner

PIECE = 256 * 1024  # bytes: the most that one read gives (see sinks/glance.py)

# How much a failed delivery speaks against the image itself; at UNUSABLE another one is made in its place.
UNUSABLE = 6
CERTAIN = UNUSABLE  # the bytes were refused, and what was refused may block every later attempt
SERVER_ERROR = UNUSABLE // 2  # a 500 of the image service: it may pass once
CONNECTION_LOST = 1  # no answer: one that is sent while bytes still come is lost now and then


class Presence(enum.Enum):
    """What the image service has under an image's id."""

    QUEUED = "queued"  # it waits for its bytes
    SAVING = "saving"  # it takes bytes right now, perhaps those of an earlier attempt
    STAGED = "staged"  # all bytes are there and wait to be imported (Glance: uploading, with a size)
    IMPORT_FAILED = "import-failed"  # its import failed, and it takes no other bytes
    ACTIVE = "active"  # its bytes can be read
    DELETED = "deleted"  # there is no such image, or it can't be used any more


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """An image as the image service shows it.

    `size` in bytes, digests in hexadecimal; `detail` is a sentence for people.
    """

    presence: Presence
    size: int | None = None
    md5: str | None = None
    sha512: str | None = None
    detail: str | None = None


class Source(Protocol):
    """The bytes of a sealed upload, once, in order. Blocking: it is read in a thread."""

    def read(self, size: int = PIECE, /) -> bytes:
        """The next bytes, at most PIECE of them; empty at the end."""


class DeliveryFailed(Exception):
    """The sink did not take the bytes. `final`: it never will, however often it is asked.

    `doubt` says how much that speaks against the image, of which all others might be taken: see delivery.UNUSABLE.
    """

    def __init__(self, hitch: FailureReason, detail: str, *, final: bool = False, doubt: int = 0) -> None:
        super().__init__(detail)
        self.trouble = LastError(hitch, detail)
        self.final = final
        self.doubt = doubt


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf a sink acts: with the owner's token, if it needs one, and a request id for the logs."""

    owner: Owner
    token: str | None = field(default=None, repr=False)
    request_id: str | None = None


class ImageService(Protocol):
    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        """Make the image, or check that the one that the client made waits for bytes and is the caller's.

        Among the properties of a new one may be the `id` that it shall have. `size` in bytes, None while the client
        has not said it.

        Refused: FORBIDDEN, OVER_QUOTA, UPLOAD_TOO_LARGE, IMAGE_UNKNOWN, IMAGE_NOT_QUEUED, IMAGE_REFUSED (the sink's
        words are in the detail), UNAUTHENTICATED, IMAGE_SERVICE_UNAVAILABLE.
        """

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        """Give the image all `size` bytes of `source`; one that is to be imported may be busy for a while then.

        DeliveryFailed, or what `source` itself raises.
        """

    async def finish(self, image: Image, actor: Actor) -> None:
        """Have an image that is STAGED imported; again, it is no error. DeliveryFailed."""

    async def offer(self, actor: Actor) -> StoreList:
        """Which stores and import methods there are. DeliveryFailed if that can't be asked."""

    async def receipt(self, image: Image, actor: Actor) -> ImageStatus:
        """What the sink has by now. DeliveryFailed if it can't be asked."""

    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        """What describes the image, so that another one like it can be prepared; None if it is gone.

        DeliveryFailed if it can't be asked.
        """

    async def describe(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        """Say what the bytes will be of an image that was made without a disk format; again, it is no error.

        `min_disk` in GiB, for an image that has none. DeliveryFailed.
        """

    async def content(self, image: Image, actor: Actor) -> AsyncGenerator[bytes]:
        """The bytes of a complete image. DeliveryFailed if it can't be read."""

    async def discard(self, image: Image, actor: Actor) -> None:
        """Remove the image; it is no error if it is gone. DeliveryFailed if that can't be done."""

    async def check(self) -> str:
        """A sentence on where images go, for `resumable-glance check`. DeliveryFailed if they can't."""
