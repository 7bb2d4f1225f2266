"""The narrow waist: what a dialect can ask of the uploads, and what it is told.

A dialect turns a request's head into one command and one outcome into a reply. Nothing else passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.stores import StoreList
from resumable_glance.model.upload import ImageRequest, Upload

MOST_RANGES = 1000  # are told of an upload; whoever sends the others once more loses nothing but time


@dataclass(frozen=True, slots=True)
class Chunk:
    """A body and where it belongs.

    `length` is None where only the end of the body tells. `in_order` bodies must begin at the offset, and whoever
    else writes to the upload then is told to stop. `declared` are digests of this body. `last` says whether the
    upload is complete with it; None where the size alone tells. `zeros`: it is a run of zeros, which has a length and
    no body.
    """

    start: int
    length: int | None
    declared: tuple[Digest, ...] = ()
    in_order: bool = False
    last: bool | None = None
    zeros: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """A new upload of `size` bytes (None: told later); `declared` are digests of the whole image.

    Without an `image` it is a part, to be joined with others. `metadata` is what the client wants to be shown again,
    as it wrote it. `first` is a chunk that comes along. With the same `key` it is the same upload, however often it
    is asked for.
    """

    size: int | None
    image: ImageRequest | None
    declared: tuple[Digest, ...] = ()
    metadata: str | None = None
    first: Chunk | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """A new upload out of `parts`, which have all of their bytes, in this order."""

    parts: tuple[str, ...]
    image: ImageRequest
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """One more chunk of an upload.

    The client says that the upload has `total` bytes (None: it did not say), and these digests of the whole image.
    """

    upload_id: str
    chunk: Chunk
    total: int | None = None
    declared: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Get:
    """Where an upload is.

    `taking_over`: whoever writes to it is told to stop first, so that the answer stays true. `full_is_complete`:
    who asks takes an upload with all bytes for complete, so that it has to be, whoever else has left it open.
    """

    upload_id: str
    taking_over: bool = False
    full_is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Watch:
    """Where an upload is, whenever that changes. It changes nothing itself. `again` after the first time."""

    upload_id: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The bytes of a complete upload."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Another try of a handoff that has failed, or the next one now, with the caller's token."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class ListStores:
    """Which stores and import methods the cloud has."""


@dataclass(frozen=True, slots=True)
class GetReceipt:
    """The receipt of an upload that is active."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    upload_id: str


@dataclass(frozen=True, slots=True)
class List:
    """The caller's own uploads, or everybody's, newest first: `limit` of them, those after the upload `marker`."""

    limit: int
    marker: str | None = None
    all_projects: bool = False


@dataclass(frozen=True, slots=True)
class IssueTicket:
    """A fresh ticket for an upload; and its handoff goes on with the token that its owner shows."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class RevokeTickets:
    """No ticket that was issued for an upload until now is good any more."""

    upload_id: str


Command = (
    Create
    | Join
    | Append
    | Get
    | Watch
    | Read
    | Retry
    | GetReceipt
    | Cancel
    | List
    | ListStores
    | IssueTicket
    | RevokeTickets
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What opens one upload, for whoever shows it; `expires_at` in seconds since the epoch."""

    value: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class Created:
    """`ticket` opens the upload for whoever will send its bytes."""

    upload: Upload
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Appended:
    upload: Upload


@dataclass(frozen=True, slots=True)
class UploadFound:
    """`durable` are ranges that need not be sent again, the first ones; `delivered` the bytes that the sink has."""

    upload: Upload
    durable: tuple[Range, ...]
    delivered: int


@dataclass(frozen=True, slots=True)
class Content:
    """All bytes of an upload, to be sent as they come."""

    upload: Upload
    stream: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class ReceiptSigned:
    """What is attested, and the same signed (JWS, compact)."""

    statement: Mapping[str, object]
    jws: str


@dataclass(frozen=True, slots=True)
class StoresListed:
    offer: StoreList


@dataclass(frozen=True, slots=True)
class Cancelled:
    upload_id: str


@dataclass(frozen=True, slots=True)
class Listed:
    uploads: tuple[Upload, ...]
    all_projects: bool = False


@dataclass(frozen=True, slots=True)
class TicketIssued:
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class TicketsRevoked:
    upload_id: str


Outcome = (
    Created
    | Appended
    | UploadFound
    | Content
    | Cancelled
    | Listed
    | StoresListed
    | TicketIssued
    | TicketsRevoked
    | ReceiptSigned
)
