"""Keystone trusts in which owners of uploads have delegated their roles to the service."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.model.states import ENDED
from resumable_glance.model.upload import Owner, Upload

table = schema.trusts


class TrustRecords:
    """The ids of trusts; the trusts themselves are in Keystone."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, trust_id: str, upload: Upload, now: float) -> None:
        """Record a new trust of an upload's owner."""
        row = {"id": trust_id, "upload_id": upload.id, "since": now, **dataclasses.asdict(upload.owner)}
        await self._transactions.write(lambda db: db.execute(table.insert().values(row)))

    async def of_upload(self, upload_id: str) -> str | None:
        """Return the newest trust of an upload."""
        return await self._newest(table.c.upload_id == upload_id)

    async def of_owner(self, owner: Owner) -> str | None:
        """Return the newest trust of an owner, for any upload."""
        return await self._newest(table.c.project_id == owner.project_id, table.c.user_id == owner.user_id)

    async def needless(self) -> list[str]:
        """Return the trusts that neither an upload nor an orphaned image needs."""
        uploads, orphans = schema.uploads, schema.orphaned_images
        needed = sa.exists().where(orphans.c.project_id == table.c.project_id, orphans.c.user_id == table.c.user_id)
        open_ = sa.exists().where(uploads.c.id == table.c.upload_id, uploads.c.state.not_in(ENDED))
        query = sa.select(table.c.id).where(~open_, ~needed)
        return await self._transactions.read(lambda db: list(db.execute(query).scalars()))

    async def remove(self, trust_id: str) -> None:
        """Remove the record of a trust that has ended."""
        await self._transactions.write(lambda db: db.execute(table.delete().where(table.c.id == trust_id)))

    async def _newest(self, *which: sa.ColumnElement[bool]) -> str | None:
        query = sa.select(table.c.id).where(*which).order_by(table.c.since.desc()).limit(1)
        return await self._transactions.read(lambda db: db.execute(query).scalar_one_or_none())
