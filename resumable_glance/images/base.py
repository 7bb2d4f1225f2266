"""Image services, which uploads are delivered to. tests/contracts/images.py checks that a member keeps this contract.

DO    create the image before any byte moves, so that policy and quota are checked first.
DO    return an image whose delivery broke off to QUEUED; it is never active with a part of its bytes.
DO    import an image into all of its stores or into none, so that it is active only once it is in all.
DON'T read a source twice, nor go on after it has raised: it is a stream that verifies itself.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.model.stores import StoreList
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, LastError, Owner, Upload, require

PIECE = 256 * 1024  # bytes: the most that one read gives, whatever a library asks for

# By how much a failed delivery raises the suspicion that the image itself is unusable; from UNUSABLE on it is replaced.
UNUSABLE = 6
CERTAIN = UNUSABLE  # the bytes were refused, and what is left of them may block every later attempt
SERVER_ERROR = UNUSABLE // 2  # status 500 may be an accident once, but not twice
CONNECTION_LOST = 1  # an answer that is sent while bytes still come gets lost now and then


class Presence(enum.Enum):
    """The presence of an image in the image service."""

    QUEUED = "queued"  # no bytes yet
    SAVING = "saving"  # it is receiving or importing bytes, perhaps those of an earlier attempt
    STAGED = "staged"  # all bytes are there and wait to be imported (in Glance: uploading, with a size)
    IMPORT_FAILED = "import-failed"  # its import failed, and it takes no other bytes
    ACTIVE = "active"  # its bytes can be read
    DELETED = "deleted"  # there is no such image, or it can't be used any more


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """The state of an image. `size` in bytes, digests in hexadecimal; `detail` is a sentence for people."""

    presence: Presence
    size: int | None = None
    md5: str | None = None
    sha512: str | None = None
    detail: str | None = None


class Source(Protocol):
    """A stream of the bytes of an upload. It blocks, so it is read in a thread."""

    def read(self, size: int = PIECE, /) -> bytes:
        """Return the next bytes, at most PIECE of them; empty at the end. Raises if they can't be verified."""


class DeliveryFailed(Exception):
    """The image service did not do what it was asked for.

    `final` means that it never will; `suspicion` is how much that speaks against the image itself (see UNUSABLE).
    """

    def __init__(self, reason: FailureReason, detail: str, *, final: bool = False, suspicion: int = 0) -> None:
        super().__init__(detail)
        self.error = LastError(reason, detail)
        self.final = final
        self.suspicion = suspicion


@dataclass(frozen=True, slots=True)
class Actor:
    """The owner to act for, with a token and a request id. `expires_at`, of the token, in seconds since the epoch."""

    owner: Owner
    token: str | None = field(default=None, repr=False)
    request_id: str | None = None
    expires_at: float = float("inf")


class ImageService(Protocol):
    """A service that keeps images. All methods but prepare() raise DeliveryFailed."""

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        """Create an image, or adopt one that the caller has created.

        An adopted image has to be queued. The properties of a new one may have the `id` that it is to get. `size` in
        bytes, None while it is unknown.

        Raises:
            Refused: FORBIDDEN, OVER_QUOTA, UPLOAD_TOO_LARGE, IMAGE_UNKNOWN, IMAGE_NOT_QUEUED, IMAGE_REFUSED (the
                detail quotes the image service), UNAUTHENTICATED, IMAGE_SERVICE_UNAVAILABLE.
        """

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        """Give an image all `size` bytes of `source`, and start its import.

        Raises:
            DeliveryFailed: the image service did not take them.
            Exception: the exception that `source` has raised.
        """

    async def import_staged(self, image: Image, actor: Actor) -> None:
        """Start the import of a staged image; idempotent."""

    async def stores(self, actor: Actor) -> StoreList:
        """Return the stores and import methods."""

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        """Return the state of an image."""

    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        """Return the properties for another image like this one; None if deleted."""

    async def set_format(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        """Set the disk format of an image that was created without one; idempotent.

        `min_disk` in GiB, for an image that has none.
        """

    async def content(self, image: Image, actor: Actor) -> AsyncGenerator[bytes]:
        """Return the bytes of an active image."""

    async def delete(self, image: Image, actor: Actor) -> None:
        """Delete an image; idempotent."""

    async def check(self) -> str:
        """Return a sentence on where images go, for `resumable-glance check`."""


async def set_detected_format(images: ImageService, upload: Upload, actor: Actor) -> None:
    """Set the disk format of an image that was created without one. Raises DeliveryFailed."""
    format = upload.format
    if format is not None and format.declared is None and format.disk_format is not None:
        await images.set_format(require(upload.image), format.disk_format, format.min_disk, actor)
