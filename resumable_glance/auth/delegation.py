"""With whose token something is done on an owner's behalf: that of a trust where there is one, else the owner's own.

Its one rule: a trust is over when its upload is, and is written down until then; so a crash leaves none behind but one
that was made in the very moment of the crash, and that one ends by itself.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

import sqlalchemy as sa

from resumable_glance.auth.base import Identity
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.trusts import Trusts
from resumable_glance.catalog import schema
from resumable_glance.catalog.records import OrphanedImage
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Refused
from resumable_glance.model.states import ENDED
from resumable_glance.model.upload import Owner, Upload

LOG = logging.getLogger(__name__)
trusts, uploads, leftovers = schema.trusts, schema.uploads, schema.leftovers


class Delegation:
    """`asked` is None where trusts are not used. `clock` gives seconds since the epoch."""

    def __init__(self, catalog: Catalog, vault: TokenCipher, asked: Trusts | None, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._vault = vault
        self._trusts = asked
        self._clock = clock

    async def begin(self, upload: Upload, identity: Identity) -> None:
        """Have a trust for a new upload, if that can be done now."""
        if self._trusts is None or upload.image is None or identity.token is None:
            return
        if await self._latest(trusts.c.upload_id == upload.id) is not None:  # parts that are joined a second time
            return
        with contextlib.suppress(Refused, OSError):
            trust_id = await self._trusts.make(identity)
            if trust_id is not None:
                owner = {"project_id": upload.owner.project_id, "user_id": upload.owner.user_id}
                row = {"id": trust_id, "upload_id": upload.id, **owner, "since": self._clock()}
                await self._catalog.run(lambda db: db.execute(trusts.insert().values(row)))

    async def token(self, upload: Upload) -> str | None:
        """What to hand over an upload with."""
        own = self._vault.open(await self._catalog.credential(upload.id))
        return await self._entrusted(trusts.c.upload_id == upload.id) or own

    async def token_for(self, leftover: OrphanedImage) -> str | None:
        """What to remove an image with that nobody needs any more: any trust of its owner will do."""
        own = self._vault.open(leftover.credential)
        return await self._entrusted(_of(leftover.owner)) or own

    async def tidy(self) -> None:
        """End the trusts of uploads that have ended, unless images of their owners are still to be removed."""
        if self._trusts is None:
            return
        of_owner = sa.and_(leftovers.c.project_id == trusts.c.project_id, leftovers.c.user_id == trusts.c.user_id)
        needed = sa.exists().where(of_owner)
        still = sa.exists().where(uploads.c.id == trusts.c.upload_id, uploads.c.state.not_in(ENDED))
        over = await self._catalog.run(
            lambda db: list(db.execute(sa.select(trusts.c.id).where(~still, ~needed)).scalars())
        )
        for each in over:
            try:
                await self._trusts.end(each)
            except Refused:
                return  # Keystone is away: later
            await self._forget(each)

    async def _entrusted(self, which: sa.ColumnElement[bool]) -> str | None:
        if self._trusts is None:
            return None
        trust_id = await self._latest(which)
        if trust_id is None:
            return None
        try:
            return await self._trusts.token(trust_id)
        except Refused:
            return None

    async def _forget(self, trust_id: str) -> None:
        await self._catalog.run(lambda db: db.execute(trusts.delete().where(trusts.c.id == trust_id)))

    async def _latest(self, which: sa.ColumnElement[bool]) -> str | None:
        query = sa.select(trusts.c.id).where(which).order_by(trusts.c.since.desc()).limit(1)
        return await self._catalog.run(lambda db: db.execute(query).scalar_one_or_none())


def _of(owner: Owner) -> sa.ColumnElement[bool]:
    return sa.and_(trusts.c.project_id == owner.project_id, trusts.c.user_id == owner.user_id)
