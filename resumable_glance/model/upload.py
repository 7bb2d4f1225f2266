"""The record of an upload: whose it is, what came of it, and how its delivery stands."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose upload it is. Only both together reach it."""

    project_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The image that is to come: a new one with `properties`, or the queued one `image_id`.

    `properties` are Glance's own (name, disk_format, tags ...). `store` names the Glance store that it is uploaded to.
    With `stores` it is staged and imported instead: into these, with none of them into the default one; with
    `all_stores` into all that there are.
    """

    properties: Mapping[str, object] = field(default_factory=dict)
    image_id: str | None = None
    store: str | None = None
    stores: tuple[str, ...] | None = None
    all_stores: bool = False

    @property
    def imports(self) -> bool:
        return self.all_stores or self.stores is not None


@dataclass(frozen=True, slots=True)
class Image:
    """The Glance image of an upload. `adopted` means that the client made it, so it is not ours to delete.

    `replaced` are the ids that it had before: of images that could not be filled any more. `store` and `stores` are as
    in its request, but that all stores have their names.
    """

    id: str
    name: str | None = None
    store: str | None = None
    adopted: bool = False
    replaced: tuple[str, ...] = ()
    stores: tuple[str, ...] | None = None

    @property
    def imports(self) -> bool:
        """Whether its bytes are staged and imported, not uploaded."""
        return self.stores is not None


class InspectionState(enum.StrEnum):
    """How far the look into an image's bytes is. Bytes that are refused have no verdict: their upload has failed."""

    PENDING = "pending"  # nobody has looked at them
    PARTIAL = "partial"  # their head may be what it is; the last word takes all of them
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Format:
    """What an image's bytes are declared to be, and what they are: the names are Glance's and oslo.utils'.

    `declared` is None where the service was asked to find out. `virtual_size` in bytes, None as long as, or where it
    is not known.
    """

    declared: str | None
    detected: str | None = None
    virtual_size: int | None = None
    verdict: InspectionState = InspectionState.PENDING

    @property
    def disk_format(self) -> str | None:
        """Glance's disk_format for what was found."""
        return _WITHOUT_A_NAME.get(str(self.detected), self.detected)

    @property
    def min_disk(self) -> int | None:
        """GiB of the smallest disk that it fits on."""
        return None if self.virtual_size is None else -(-self.virtual_size // GIB)


GIB = 1024**3
_WITHOUT_A_NAME = {"gpt": "raw", "luks": "raw"}  # what Glance has no disk_format for, and takes as raw


@dataclass(frozen=True, slots=True)
class Proof:
    """What we computed ourselves over all bytes as scratch gave them back: hexadecimal, as Glance shows them."""

    md5: str
    sha512: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What the sink has shown when it was compared with our proof, and found to be the same.

    `at` in seconds since the epoch; `request_id` is that of the handoff in the sink's own log.
    """

    at: float
    size: int
    md5: str
    sha512: str
    request_id: str | None = None


class FailureReason(enum.StrEnum):
    """What keeps an upload from becoming active. The values are stable: clients see them."""

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
    # What the bytes themselves are; the refusal of a chunk has the same names
    FORMAT_MISMATCH = "format-mismatch"
    UNSAFE_IMAGE = "unsafe-image"
    DISK_TOO_LARGE = "disk-too-large"


OF_THE_FORMAT = frozenset({FailureReason.FORMAT_MISMATCH, FailureReason.UNSAFE_IMAGE, FailureReason.DISK_TOO_LARGE})


@dataclass(frozen=True, slots=True)
class LastError:
    """Why an upload waits or has failed; `detail` is for people."""

    hitch: FailureReason
    detail: str


@dataclass(frozen=True, slots=True)
class Extent:
    """A durable range and the digest of its bytes.

    `mark` is another one, which costs less to compute again, where the digest is what a client declared.
    """

    range: Range
    digest: Digest
    mark: Digest | None = field(default=None, compare=False)

    @property
    def check(self) -> Digest:
        """By which it is found out whether its bytes are still the same."""
        return self.mark or self.digest


@dataclass(frozen=True, slots=True)
class Upload:
    """One image on its way. Sizes and offsets in bytes, times in seconds since the epoch."""

    id: str
    owner: Owner
    size: int | None  # None until its client has said it
    state: State
    image: Image | None  # None: a part, which becomes a piece of another upload's image
    created_at: float
    updated_at: float
    expires_at: float
    declared: tuple[Digest, ...] = ()
    metadata: str | None = None  # the client's own, as it wrote it
    offset: int = 0  # the length of the gap-free prefix that is durable
    received: int = 0  # durable bytes, wherever they lie
    reserved: int = 0  # bytes of scratch that are promised to it: its size, once that is known
    parts: tuple[str, ...] = ()  # the uploads that were joined into this one, in order
    joined_into: str | None = None
    proof: Proof | None = None
    trouble: LastError | None = None
    attempts: int = 0  # since its seal, or since its owner has asked for another try
    next_attempt_at: float = 0.0
    generation: int = 0  # how often its tickets were revoked
    request: ImageRequest | None = None  # what its image was asked to be
    suspicion: int = 0  # what speaks against the image itself: see delivery.UNUSABLE
    stuck_at: float = 0.0  # when an image that takes bytes, but not from us, counts as stuck; 0: none was seen
    request_id: str | None = None  # of its creation
    verified: Verified | None = None  # once it is active
    successor: str | None = None  # the id of the image that is being made in place of this one
    format: Format | None = None  # None: nobody looks into its bytes

    @property
    def filled(self) -> bool:
        """Whether every byte is durable. It may still be receiving: a part, or one that waits to be told so."""
        return self.received == self.size

    @property
    def images(self) -> tuple[str, ...]:
        """The ids of the images that there may be for it: its own, and the one that is being made in its place."""
        return tuple(each for each in (self.image.id if self.image else None, self.successor) if each is not None)

    @property
    def files(self) -> tuple[str, ...]:
        """The names that its bytes have on scratch, in order."""
        return self.parts or (self.id,)


def known(value: T | None) -> T:
    """What an upload has by now, such as the size and image of one that is sealed. LookupError if it has not."""
    if value is None:
        raise LookupError("the catalog lacks what an upload in this state has")
    return value


def check_alive(upload: Upload) -> None:
    """Refused: CANCELLED or EXPIRED where nothing is left to speak about."""
    if upload.state is State.CANCELLED:
        raise Refused(Reason.CANCELLED, "This upload was cancelled. Create a new one.")
    if upload.state is State.EXPIRED:
        raise Refused(Reason.EXPIRED, "This upload has expired and its bytes are gone. Create a new one.")


def lapsed(upload: Upload, now: float) -> bool:
    """Whether nobody has sent anything for so long that the bytes may go."""
    return upload.state is State.RECEIVING and upload.expires_at <= now
