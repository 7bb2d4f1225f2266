"""Commands and outcomes: all that passes between the wire protocols and the uploads.

A wire protocol turns the head of a request into one command, and one outcome into a reply.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.stores import StoreList
from resumable_glance.model.upload import ImageRequest, Upload

MAX_RANGES = 1000  # in an outcome; a client that sends the bytes of others again loses nothing but time


@dataclass(frozen=True, slots=True)
class Chunk:
    """The body of a request and its place in an upload.

    `length` is None if only the end of the body tells it. An `in_order` chunk must begin at the offset, and supersedes
    every other writer of the upload. `declared` are digests of this body. `last` says whether the upload is complete
    with this chunk; None if only the size tells. `zeros` is a run of zeros, which has a length but no body.
    """

    start: int
    length: int | None
    declared: tuple[Digest, ...] = ()
    in_order: bool = False
    last: bool | None = None
    zeros: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """Create an upload of `size` bytes (None: declared later); `declared` are digests of the whole image.

    Without an `image` it is a part, to be joined with others. `metadata` is shown to the client again, unchanged.
    `first` is a chunk in the same request. A repeated creation with the same idempotency `key` finds the same upload.
    """

    size: int | None
    image: ImageRequest | None
    declared: tuple[Digest, ...] = ()
    metadata: str | None = None
    first: Chunk | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """Create an upload from complete `parts`, in this order."""

    parts: tuple[str, ...]
    image: ImageRequest
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """Append a chunk to an upload.

    `total` is the upload's size as the client declares it here (None: it does not); `declared` are digests of the
    whole image.
    """

    upload_id: str
    chunk: Chunk
    total: int | None = None
    declared: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class OfUpload:
    """A command that needs no more than the id of its upload."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Get:
    """Show an upload.

    `taking_over` interrupts its writers first, so that the answer stays true. `full_is_complete` completes an upload
    that has all of its bytes, for protocols whose clients take it for complete.
    """

    upload_id: str
    taking_over: bool = False
    full_is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Watch:
    """Show an upload for a stream of events, without changing it. `again` after the first time."""

    upload_id: str
    again: bool = False


class Read(OfUpload):
    """Read the bytes of a complete upload."""


class Retry(OfUpload):
    """Try a failed or waiting handoff again now, with the caller's token."""


@dataclass(frozen=True, slots=True)
class ListStores:
    """List the stores and import methods of the cloud."""


class GetReceipt(OfUpload):
    """Get the signed receipt of an active upload."""


class Cancel(OfUpload):
    """Cancel an upload."""


@dataclass(frozen=True, slots=True)
class List:
    """List up to `limit` uploads after the upload `marker`, newest first: the caller's own, or all projects'."""

    limit: int
    marker: str | None = None
    all_projects: bool = False


class IssueTicket(OfUpload):
    """Issue a ticket for an upload. Its handoff continues with the token of this request."""


class RevokeTickets(OfUpload):
    """Revoke all tickets of an upload."""


Command = (
    Create | Join | Append | Get | Watch | Read | Retry | GetReceipt | Cancel | List | ListStores | IssueTicket
    | RevokeTickets
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ticket:
    """A bearer token for one upload; `expires_at` in seconds since the epoch."""

    value: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class Created:
    """An upload and a ticket for it; `repeated` if an earlier request with the same key created it."""

    upload: Upload
    ticket: Ticket
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """The upload after an append."""

    upload: Upload


@dataclass(frozen=True, slots=True)
class UploadFound:
    """An upload, its first durable ranges, and the number of bytes that were `delivered` to the image service."""

    upload: Upload
    durable: tuple[Range, ...]
    delivered: int


@dataclass(frozen=True, slots=True)
class Content:
    """An upload and all of its bytes, as a stream."""

    upload: Upload
    stream: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class ReceiptSigned:
    """The statement of a receipt, and the same signed (JWS, compact serialization)."""

    statement: Mapping[str, object]
    jws: str


@dataclass(frozen=True, slots=True)
class StoresListed:
    """The stores and import methods of the cloud."""

    offer: StoreList


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The upload was cancelled."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of uploads."""

    uploads: tuple[Upload, ...]
    all_projects: bool = False


@dataclass(frozen=True, slots=True)
class TicketIssued:
    """A new ticket."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class TicketsRevoked:
    """The upload's tickets were revoked."""

    upload_id: str


Outcome = (
    Created | Appended | UploadFound | Content | Cancelled | Listed | StoresListed | TicketIssued | TicketsRevoked
    | ReceiptSigned
)  # fmt: skip
