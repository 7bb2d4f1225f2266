"""The credentials that the service acts with on an owner's behalf: a token of a trust, else the owner's own.

A trust ends with its upload, and is recorded until then. A crash can leave only a trust that was made in that very
moment, and such a trust ends by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from resumable_glance.auth.base import Identity
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.trusts import Trusts
from resumable_glance.catalog import Catalog
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.errors import Refused
from resumable_glance.model.upload import Upload


class Delegation:
    """`trusts` is None where trusts are not used. `clock` gives seconds since the epoch."""

    def __init__(
        self, catalog: Catalog, cipher: TokenCipher, trusts: Trusts | None, clock: Callable[[], float]
    ) -> None:
        self._catalog = catalog
        self._cipher = cipher
        self._trusts = trusts
        self._clock = clock

    def encrypt(self, token: str | None) -> bytes | None:
        """Return a token as the catalog may keep it."""
        return self._cipher.encrypt(token)

    async def begin(self, upload: Upload, identity: Identity) -> None:
        """Make a trust for a new upload, if that can be done now."""
        if self._trusts is None or upload.image is None or identity.token is None:
            return
        if await self._catalog.trusts.of_upload(upload.id) is not None:  # parts that are joined a second time
            return
        with contextlib.suppress(Refused, OSError):
            if (trust_id := await self._trusts.make(identity)) is not None:
                await self._catalog.trusts.add(trust_id, upload, self._clock())

    async def token(self, upload: Upload) -> str | None:
        """Return the token to hand over an upload with."""
        own = self._cipher.decrypt(await self._catalog.uploads.credential(upload.id))
        if self._trusts is None:
            return own
        return await self._of_trust(self._trusts, await self._catalog.trusts.of_upload(upload.id)) or own

    async def token_for(self, orphan: OrphanedImage) -> str | None:
        """Return the token to remove an orphaned image with: any trust of its owner will do."""
        own = self._cipher.decrypt(orphan.credential)
        if self._trusts is None:
            return own
        return await self._of_trust(self._trusts, await self._catalog.trusts.of_owner(orphan.owner)) or own

    async def tidy(self) -> None:
        """End the trusts that nothing needs any more."""
        if self._trusts is None:
            return
        for each in await self._catalog.trusts.needless():
            try:
                await self._trusts.end(each)
            except Refused:
                return  # Keystone does not answer: later
            await self._catalog.trusts.remove(each)

    @staticmethod
    async def _of_trust(trusts: Trusts, trust_id: str | None) -> str | None:
        try:
            return None if trust_id is None else await trusts.token(trust_id)
        except Refused:
            return None
