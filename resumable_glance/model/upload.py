"""The record of an upload: its owner, its image, its progress and its delivery."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import HOLDING_STORAGE, WITH_HANDOFF, State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Owner:
    """The project and user that an upload belongs to."""

    project_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The requested image: a new one with `properties`, or the existing, queued image `image_id`.

    `properties` are Glance's (name, disk_format, tags ...). The image is uploaded to `store`, or to the default store.
    With `stores` or `all_stores` it is imported instead: into these stores (none: the default one), or into all.
    """

    properties: Mapping[str, object] = field(default_factory=dict)
    image_id: str | None = None
    store: str | None = None
    stores: tuple[str, ...] | None = None
    all_stores: bool = False

    @property
    def imports(self) -> bool:
        """Whether the bytes are staged and imported, not uploaded."""
        return self.all_stores or self.stores is not None


@dataclass(frozen=True, slots=True)
class Image:
    """The Glance image of an upload. An `adopted` one was made by the client, and is not ours to delete.

    `replaced` are the ids of earlier images that could not be filled any more. `store` and `stores` are those of the
    request; all stores are named here.
    """

    id: str
    name: str | None = None
    store: str | None = None
    adopted: bool = False
    replaced: tuple[str, ...] = ()
    stores: tuple[str, ...] | None = None

    @property
    def imports(self) -> bool:
        """Whether the bytes are staged and imported, not uploaded."""
        return self.stores is not None


class InspectionState(enum.StrEnum):
    """The progress of a format inspection. An upload whose bytes are rejected fails instead."""

    PENDING = "pending"  # not begun
    PARTIAL = "partial"  # the head of the image passed; the result needs all bytes
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Format:
    """The declared and the detected format of an image, by the names of Glance and oslo.utils.

    `declared` is None if the service is to detect it. `virtual_size` in bytes, None while it is unknown.
    """

    declared: str | None
    detected: str | None = None
    virtual_size: int | None = None
    inspection: InspectionState = InspectionState.PENDING

    @property
    def disk_format(self) -> str | None:
        """The disk_format of Glance for the detected format."""
        return _DISK_FORMATS.get(str(self.detected), self.detected)

    @property
    def min_disk(self) -> int | None:
        """The size of the smallest disk that the image fits on, in GiB."""
        return None if self.virtual_size is None else -(-self.virtual_size // GIB)


GIB = 1024**3
_DISK_FORMATS = {"gpt": "raw", "luks": "raw"}  # formats without a disk_format of their own in Glance


@dataclass(frozen=True, slots=True)
class Proof:
    """Our digests of all bytes, as read back from storage; in hexadecimal, as Glance shows its own."""

    md5: str
    sha512: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Glance's own size and digests of an image, found equal to our proof.

    `at` in seconds since the epoch; `request_id` identifies the handoff in Glance's log.
    """

    at: float
    size: int
    md5: str
    sha512: str
    request_id: str | None = None


class FailureReason(enum.StrEnum):
    """A reason for a failed or waiting handoff; clients see the values."""

    IMAGE_SERVICE_UNAVAILABLE = "image-service-unavailable"
    TOKEN_EXPIRED = "token-expired"
    IMAGE_BUSY = "image-busy"
    IMAGE_GONE = "image-gone"
    IMAGE_REFUSED = "image-refused"
    OVER_QUOTA = "over-quota"
    DIGEST_MISMATCH = "digest-mismatch"
    IMAGE_DIFFERS = "image-differs"
    SCRATCH_UNREADABLE = "scratch-unreadable"
    SCRATCH_DIFFERS = "scratch-differs"
    SCRATCH_LOST = "scratch-lost"
    INTERNAL_ERROR = "internal-error"
    # The format of the image; refusals of chunks have the same names
    FORMAT_MISMATCH = "format-mismatch"
    UNSAFE_IMAGE = "unsafe-image"
    DISK_TOO_LARGE = "disk-too-large"


FORMAT_FAILURES = frozenset({FailureReason.FORMAT_MISMATCH, FailureReason.UNSAFE_IMAGE, FailureReason.DISK_TOO_LARGE})


@dataclass(frozen=True, slots=True)
class LastError:
    """The reason why an upload waits or has failed; `detail` is a sentence for people."""

    reason: FailureReason
    detail: str


@dataclass(frozen=True, slots=True)
class Extent:
    """A durable range and the digest of its bytes.

    If a client declared the digest, `checksum` is one of ours that is cheaper to compute again.
    """

    range: Range
    digest: Digest
    checksum: Digest | None = field(default=None, compare=False)

    @property
    def check(self) -> Digest:
        """The digest to verify the bytes with."""
        return self.checksum or self.digest


@dataclass(frozen=True, slots=True)
class Delivery:
    """The progress of an upload's handoff. Times in seconds since the epoch."""

    attempts: int = 0  # since the upload was sealed or retried
    next_attempt_at: float = 0.0
    last_error: LastError | None = None  # the reason why it waits or has failed
    proof: Proof | None = None  # our digests over all bytes
    verified: Verified | None = None  # once the image is active
    suspicion: int = 0  # evidence against the image itself: see images.base.UNUSABLE
    stuck_at: float = 0.0  # when an image that is saving, but not from us, counts as stuck; 0: it is not saving
    successor: str | None = None  # the id of the image that is being made to replace this one


@dataclass(frozen=True, slots=True)
class Upload:
    """An image on its way to Glance. Sizes and offsets in bytes, times in seconds since the epoch."""

    id: str
    owner: Owner
    size: int | None  # None until the client has declared it
    state: State
    image: Image | None  # None: a part, to be joined with others
    created_at: float
    updated_at: float
    expires_at: float
    declared: tuple[Digest, ...] = ()
    metadata: str | None = None  # of the client, kept unchanged
    offset: int = 0  # the length of the gap-free prefix that is durable
    received: int = 0  # durable bytes at any offset
    reserved: int = 0  # bytes of storage that are reserved: its size, once that is known
    parts: tuple[str, ...] = ()  # the uploads that were joined into this one, in order
    joined_into: str | None = None
    generation: int = 0  # of its tickets; each revocation begins a new one
    request: ImageRequest | None = None  # the requested image
    request_id: str | None = None  # of its creation
    format: Format | None = None  # None: the format is not inspected
    delivery: Delivery = Delivery()

    def with_delivery(self, **changes: Any) -> Upload:
        """Return this upload with other values of `delivery`'s fields."""
        return dataclasses.replace(self, delivery=dataclasses.replace(self.delivery, **changes))

    @property
    def filled(self) -> bool:
        """Whether all bytes are durable. A part, or an upload whose client has not completed it, is still receiving."""
        return self.received == self.size

    @property
    def expiry(self) -> float | None:
        """The time of its removal, if nothing happens before; None if it goes on by itself, or has ended.

        The handoff has a last error only between two attempts. So no upload expires while it is delivered, nor while it
        waits for its first turn.
        """
        waits = self.state in WITH_HANDOFF and self.delivery.last_error is not None
        return self.expires_at if waits or self.state in {State.RECEIVING, State.FAILED} else None

    @property
    def held(self) -> int:
        """The bytes of storage that it holds, or that are promised to it; declared zeros count."""
        if self.state is State.RECEIVING:
            return self.reserved
        return self.received if self.state in HOLDING_STORAGE else 0

    @property
    def images(self) -> tuple[str, ...]:
        """The ids of all images that may exist for it: its own, and the one that is to replace it."""
        own = None if self.image is None else self.image.id
        return tuple(each for each in (own, self.delivery.successor) if each is not None)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files in storage, in order."""
        return self.parts or (self.id,)


def require(value: T | None) -> T:
    """Return a value that an upload in its state must have. Raise LookupError if it is None."""
    if value is None:
        raise LookupError("the catalog lacks what an upload in this state has")
    return value


def check_alive(upload: Upload) -> None:
    """Check that an upload still exists. Raises Refused: CANCELLED, EXPIRED."""
    if upload.state is State.CANCELLED:
        raise Refused(Reason.CANCELLED, "This upload was cancelled. Create a new one.")
    if upload.state is State.EXPIRED:
        raise Refused(Reason.EXPIRED, "This upload has expired and its bytes are gone. Create a new one.")


def expired(upload: Upload, now: float) -> bool:
    """Return whether an upload has waited for so long that its bytes may be removed."""
    return upload.expiry is not None and upload.expiry <= now
