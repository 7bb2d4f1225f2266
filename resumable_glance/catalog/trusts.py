"""Keystone trusts in which owners of uploads have delegated their roles to the service."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.transactions import Records, reads, writes
from resumable_glance.model.states import ENDED
from resumable_glance.model.upload import Owner, Upload

table = schema.trusts


class TrustRecords(Records):
    """The ids of trusts; the trusts themselves are in Keystone."""

    @writes
    def add(self, db: sa.Connection, trust_id: str, upload: Upload, now: float) -> None:
        """Record a new trust of an upload's owner."""
        row = {"id": trust_id, "upload_id": upload.id, "since": now, **dataclasses.asdict(upload.owner)}
        db.execute(table.insert().values(row))

    @reads
    def of_upload(self, db: sa.Connection, upload_id: str) -> str | None:
        """Return the newest trust of an upload."""
        return _newest(db, table.c.upload_id == upload_id)

    @reads
    def of_owner(self, db: sa.Connection, owner: Owner) -> str | None:
        """Return the newest trust of an owner, for any upload."""
        return _newest(db, table.c.project_id == owner.project_id, table.c.user_id == owner.user_id)

    @reads
    def needless(self, db: sa.Connection) -> list[str]:
        """Return the trusts that neither an upload nor an orphaned image needs."""
        uploads, orphans = schema.uploads, schema.orphaned_images
        needed = sa.exists().where(orphans.c.project_id == table.c.project_id, orphans.c.user_id == table.c.user_id)
        open_ = sa.exists().where(uploads.c.id == table.c.upload_id, uploads.c.state.not_in(ENDED))
        query = sa.select(table.c.id).where(~open_, ~needed)
        return list(db.execute(query).scalars())

    @writes
    def remove(self, db: sa.Connection, trust_id: str) -> None:
        """Remove the record of a trust that has ended."""
        db.execute(table.delete().where(table.c.id == trust_id))


def _newest(db: sa.Connection, *which: sa.ColumnElement[bool]) -> str | None:
    query = sa.select(table.c.id).where(*which).order_by(table.c.since.desc()).limit(1)
    return db.execute(query).scalar_one_or_none()
