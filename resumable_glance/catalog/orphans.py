"""Orphaned images: images that no upload needs any more, to be deleted from the image service."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.credentials import Credential, columns, of_row
from resumable_glance.catalog.transactions import Records, reads, writes
from resumable_glance.model.upload import Image, Owner, Upload

table = schema.orphaned_images


@dataclasses.dataclass(frozen=True, slots=True)
class OrphanedImage:
    """An image to be deleted, with the credential of its owner."""

    image: Image
    owner: Owner
    credential: Credential | None


class ImageOrphaned(Exception):
    """The image of a new upload became an orphan before its record."""


class OrphanedImages(Records):
    """Images that wait to be deleted. Times in seconds since the epoch."""

    @writes
    def expect(self, db: sa.Connection, orphan: OrphanedImage, now: float, due_at: float) -> None:
        """Record an image to be created, an orphan from `due_at` unless claimed."""
        record_orphan(db, orphan, now, due_at)

    @reads
    def due(self, db: sa.Connection, now: float, image_id: str | None = None) -> list[OrphanedImage]:
        """Return the images that are due to be deleted; only `image_id`, if given."""
        query = table.select().where(table.c.due_at <= now).order_by(table.c.due_at)
        if image_id is not None:
            query = query.where(table.c.image_id == image_id)
        return [
            OrphanedImage(Image(row.image_id), Owner(row.project_id, row.user_id), of_row(row))
            for row in db.execute(query)
        ]

    @writes
    def remove(self, db: sa.Connection, image_id: str) -> None:
        """Remove the record of an image that is gone."""
        db.execute(table.delete().where(table.c.image_id == image_id))

    @writes
    def postpone(self, db: sa.Connection, image_id: str, due_at: float, forget_before: float) -> None:
        """Postpone a deletion, or give up one recorded before `forget_before`."""
        mine = table.c.image_id == image_id
        db.execute(table.delete().where(mine, table.c.since < forget_before))
        db.execute(table.update().where(mine).values(due_at=due_at))


# Parts of transactions


def record_orphan(db: sa.Connection, orphan: OrphanedImage, now: float, due_at: float) -> None:
    """Record an image that is due to be deleted at `due_at`."""
    row = {"image_id": orphan.image.id, **columns(orphan.credential), "since": now, "due_at": due_at}
    db.execute(table.delete().where(table.c.image_id == orphan.image.id))
    db.execute(table.insert().values(row | dataclasses.asdict(orphan.owner)))


def orphan_image(
    db: sa.Connection, upload: Upload, image_id: str, now: float, credential: Credential | None = None
) -> None:
    """Record an image of an upload as an orphan, unless it was adopted."""
    if upload.image is not None and upload.image.adopted and image_id == upload.image.id:
        return
    if credential is None:
        credential = of_row(db.execute(schema.uploads.select().where(schema.uploads.c.id == upload.id)).one())
    record_orphan(db, OrphanedImage(Image(image_id), upload.owner, credential), now, now)


def claim_image(db: sa.Connection, upload: Upload) -> None:
    """Give a new upload the image that was expected for it. Raises ImageOrphaned if that may be deleted already."""
    if upload.image is None:
        return
    mine = table.c.image_id == upload.image.id
    due_at = db.execute(sa.select(table.c.due_at).where(mine)).scalar_one_or_none()
    created = upload.request is not None and not upload.image.adopted
    if created and (due_at is None or due_at <= upload.created_at):
        raise ImageOrphaned
    db.execute(table.delete().where(mine))
