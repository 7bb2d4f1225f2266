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
class Create:
    """A new upload of `size` bytes; `declared` are digests of the whole image."""

    size: int
    image: ImageRequest
    declared: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Append:
    """The body is the bytes `range` of an upload of `total` bytes; `declared` are digests of this body."""

    upload_id: str
    range: Range
    total: int
    declared: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspect:
    upload_id: str


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


def check_append(upload: Upload, append: Append) -> None:
    """Whether a chunk can belong to its upload at all. Refused: WRONG_TOTAL, CANCELLED or EXPIRED."""
    check_alive(upload)
    if append.total != upload.size:
        raise Refused(
            Reason.WRONG_TOTAL,
            f"This upload has {upload.size} bytes, not {append.total}. Is it the same file?",
            size=upload.size,
        )
