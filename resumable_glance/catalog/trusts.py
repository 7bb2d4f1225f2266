"""The Keystone trusts that owners have given us, one for an upload."""

from __future__ import annotations

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.model.states import ENDED
from resumable_glance.model.upload import Owner, Upload

table = schema.trusts


class TrustRecords:
    """Ids of trusts. The trusts themselves are in Keystone."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, trust_id: str, upload: Upload, now: float) -> None:
        """Record a new trust of an upload's owner."""
        owner = {"project_id": upload.owner.project_id, "user_id": upload.owner.user_id}
        row = {"id": trust_id, "upload_id": upload.id, **owner, "since": now}
        await self._transactions.write(lambda db: db.execute(table.insert().values(row)))

    async def of_upload(self, upload_id: str) -> str | None:
        """Return the newest trust of an upload."""
        return await self._newest(table.c.upload_id == upload_id)

    async def of_owner(self, owner: Owner) -> str | None:
        """Return the newest trust of an owner, whichever upload it was given for."""
        return await self._newest(table.c.project_id == owner.project_id, table.c.user_id == owner.user_id)

    async def needless(self) -> list[str]:
        """Return the trusts of uploads that have ended, unless orphaned images of their owners are still there."""
        uploads, orphans = schema.uploads, schema.orphaned_images
        needed = sa.exists().where(orphans.c.project_id == table.c.project_id, orphans.c.user_id == table.c.user_id)
        open_ = sa.exists().where(uploads.c.id == table.c.upload_id, uploads.c.state.not_in(ENDED))
        query = sa.select(table.c.id).where(~open_, ~needed)
        return await self._transactions.read(lambda db: list(db.execute(query).scalars()))

    async def remove(self, trust_id: str) -> None:
        """Forget a trust that has ended."""
        await self._transactions.write(lambda db: db.execute(table.delete().where(table.c.id == trust_id)))

    async def _newest(self, *which: sa.ColumnElement[bool]) -> str | None:
        query = sa.select(table.c.id).where(*which).order_by(table.c.since.desc()).limit(1)
        return await self._transactions.read(lambda db: db.execute(query).scalar_one_or_none())
