"""The narrow waist: what a dialect can ask of the uploads, and what it is told.

A dialect turns a request's head into one command and one outcome into a reply. Nothing else passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from resumable_glance.errors import Reason, Refused
from resumable_glance.protocol.digests import Digest
from resumable_glance.protocol.ranges import Range
from resumable_glance.protocol.upload import ImageRequest, Upload, check_alive


@dataclass(frozen=True, slots=True)
class Chunk:
    """A body and where it belongs.

    `length` is None where only the end of the body tells. `in_order` bodies must begin at the offset, and whoever
    else writes to the upload then is told to stop. `declared` are digests of this body.
    """

    start: int
    length: int | None
    declared: tuple[Digest, ...] = ()
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """A new upload of `size` bytes; `declared` are digests of the whole image.

    `metadata` is what the client wants to be shown again, as it wrote it. `first` is a chunk that comes along.
    """

    size: int
    image: ImageRequest
    declared: tuple[Digest, ...] = ()
    metadata: str | None = None
    first: Chunk | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """One more chunk of an upload, which the client believes to have `total` bytes (None: it did not say)."""

    upload_id: str
    chunk: Chunk
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Inspect:
    """Where an upload is. `taking_over`: whoever writes to it is told to stop first, so that the answer stays true."""

    upload_id: str
    taking_over: bool = False


@dataclass(frozen=True, slots=True)
class Discard:
    upload_id: str


@dataclass(frozen=True, slots=True)
class Survey:
    """The caller's own uploads, newest first: `limit` of them, those after the upload `marker`."""

    limit: int
    marker: str | None = None


Command = Create | Append | Inspect | Discard | Survey


@dataclass(frozen=True, slots=True)
class Created:
    upload: Upload


@dataclass(frozen=True, slots=True)
class Appended:
    upload: Upload


@dataclass(frozen=True, slots=True)
class Inspected:
    """`durable` are the ranges that need not be sent again; `delivered` the bytes that the sink has been given."""

    upload: Upload
    durable: tuple[Range, ...]
    delivered: int


@dataclass(frozen=True, slots=True)
class Discarded:
    upload_id: str


@dataclass(frozen=True, slots=True)
class Surveyed:
    uploads: tuple[Upload, ...]


Outcome = Created | Appended | Inspected | Discarded | Surveyed


def place_of(upload: Upload, append: Append) -> Range:
    """The bytes that a chunk may fill, up to the upload's end where it does not say its length.

    Refused: WRONG_TOTAL, BODY_TOO_LONG, CANCELLED or EXPIRED.
    """
    check_alive(upload)
    chunk = append.chunk
    if append.total is not None and append.total != upload.size:
        raise Refused(
            Reason.WRONG_TOTAL,
            f"This upload has {upload.size} bytes, not {append.total}. Is it the same file?",
            size=upload.size,
        )
    stop = upload.size if chunk.length is None else chunk.start + chunk.length
    if stop > upload.size:
        raise Refused(
            Reason.BODY_TOO_LONG,
            f"The body would end {stop - upload.size} bytes after the upload's end.",
            offset=upload.offset,
            size=upload.size,
        )
    return Range(min(chunk.start, stop), stop)


def check_order(upload: Upload, chunk: Chunk) -> None:
    """Refused: WRONG_OFFSET where a chunk that must begin at the offset does not."""
    if chunk.in_order and chunk.start != upload.offset:
        raise Refused(
            Reason.WRONG_OFFSET,
            f"The offset is {upload.offset}, not {chunk.start}. Go on from there.",
            offset=upload.offset,
        )
