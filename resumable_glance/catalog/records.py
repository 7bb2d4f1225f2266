"""The records of which the catalog is made, read and written: each function is a part of one of its transactions.

Its one rule: none of them begins a transaction, or ends one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import ENDED
from resumable_glance.model.upload import Extent, Image, Owner, Upload

uploads, extents = schema.uploads, schema.extents
_UPDATE = uploads.update().where(uploads.c.id == sa.bindparam("which"))  # of the columns that it is given


@dataclasses.dataclass(frozen=True, slots=True)
class OrphanedImage:
    """An image that was made for an upload that is no more; `credential` is its owner's, encrypted."""

    image: Image
    owner: Owner
    credential: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """The key of a creation, and what it asks for: sha256 of both."""

    owner: Owner
    key: str
    asked: str


class OrphanedMeanwhile(Exception):
    """The image that was expected has become a leftover: its creation took too long."""


def get(db: sa.Connection, upload_id: str) -> Upload | None:
    row = db.execute(uploads.select().where(uploads.c.id == upload_id)).one_or_none()
    return None if row is None else schema.upload_of(row)


def existing(db: sa.Connection, upload_id: str) -> Upload:
    upload = get(db, upload_id)
    if upload is None:
        raise LookupError(f"the catalog has no upload {upload_id}")
    return upload


def add(db: sa.Connection, upload: Upload, credential: bytes | None) -> None:
    """The image that was expected for a new upload is no leftover any more. OrphanedMeanwhile if it may be gone."""
    db.execute(uploads.insert().values(schema.upload_row(upload) | {"credential": credential}))
    if upload.image is not None:
        mine = schema.leftovers.c.image_id == upload.image.id
        due_at = db.execute(sa.select(schema.leftovers.c.due_at).where(mine)).scalar_one_or_none()
        was_made = upload.request is not None and not upload.image.adopted
        if was_made and (due_at is None or due_at <= upload.created_at):
            raise OrphanedMeanwhile
        db.execute(schema.leftovers.delete().where(mine))


def save(db: sa.Connection, before: Upload, upload: Upload) -> Upload:
    """Write down what has changed of an upload, and no more: each index of a column that is written is written, too."""
    changed(db, upload.id)
    old = schema.upload_row(before)
    values = {name: value for name, value in schema.upload_row(upload).items() if value != old[name]}
    if upload.state in ENDED:  # nobody will act on the owner's behalf any more
        values["credential"] = None
    if values:
        db.execute(_UPDATE, values | {"which": upload.id})
    return upload


def changed(db: sa.Connection, upload_id: str) -> None:
    """Whoever waits for news of an upload is told, once the transaction is durable."""
    db.info["changed"].add(upload_id)


def touching(db: sa.Connection, upload_id: str, within: Range | None) -> list[Extent]:
    """The extents of an upload in order; those that touch `within`, if given."""
    return [schema.extent_of(row) for row in db.execute(_touching(upload_id, within))]


def _touching(upload_id: str, within: Range | None) -> sa.Select[Any]:
    query = extents.select().where(extents.c.upload_id == upload_id).order_by(extents.c.start)
    if within is None:
        return query
    # Extents don't overlap: of all that begin before, only the last one can reach in, and the index finds it.
    before = sa.select(sa.func.max(extents.c.start)).where(
        extents.c.upload_id == upload_id, extents.c.start <= within.start
    )
    first = sa.func.coalesce(before.scalar_subquery(), 0)
    return query.where(extents.c.start >= first, extents.c.start < within.stop, extents.c.stop > within.start)


def advanced(db: sa.Connection, upload_id: str, offset: int) -> int:
    """The end of the gap-free prefix: from the old one on, as far as the extents touch."""
    with contextlib.closing(db.execute(beyond(upload_id, offset))) as rows:
        for start, stop in rows:
            if start != offset:
                break
            offset = stop
    return offset


def beyond(upload_id: str, offset: int) -> sa.Select[Any]:
    """Start and stop of the extents from an offset on, in order."""
    query = sa.select(extents.c.start, extents.c.stop).order_by(extents.c.start)
    return query.where(extents.c.upload_id == upload_id, extents.c.start >= offset)


def moved(part_id: str, upload_id: str, start: int) -> sa.Insert:
    """A part's extents as those of the upload that it was joined into, from `start` on."""
    shifted = sa.select(sa.literal(upload_id), extents.c.start + start, extents.c.stop + start, extents.c.digest).where(
        extents.c.upload_id == part_id
    )
    return extents.insert().from_select(["upload_id", "start", "stop", "digest"], shifted)


def claim(db: sa.Connection, claim: Claim, upload_id: str) -> None:
    """The key stands for this upload from now on; for one that has ended it did before."""
    table = schema.claims
    owner = {"project_id": claim.owner.project_id, "user_id": claim.owner.user_id, "idempotency_key": claim.key}
    db.execute(table.delete().where(*(table.c[name] == value for name, value in owner.items())))
    db.execute(table.insert().values(**owner, asked=claim.asked, upload_id=upload_id))


def leave(db: sa.Connection, leftover: OrphanedImage, now: float, due_at: float) -> None:
    """An image is to be removed from `due_at` on."""
    owner = {"project_id": leftover.owner.project_id, "user_id": leftover.owner.user_id}
    row = {"image_id": leftover.image.id, **owner, "credential": leftover.credential, "since": now, "due_at": due_at}
    db.execute(schema.leftovers.delete().where(schema.leftovers.c.image_id == leftover.image.id))
    db.execute(schema.leftovers.insert().values(row))


def leave_image(db: sa.Connection, upload: Upload, image_id: str, now: float, credential: bytes | None = None) -> None:
    """An image that was made for an upload is to be removed. An adopted one is not ours."""
    if upload.image is not None and upload.image.adopted and image_id == upload.image.id:
        return
    stored = sa.select(uploads.c.credential).where(uploads.c.id == upload.id)
    leave(db, OrphanedImage(Image(image_id), upload.owner, credential or db.execute(stored).scalar_one()), now, now)
