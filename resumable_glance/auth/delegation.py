"""Delegation: the token to act with on an owner's behalf, that of a trust or the owner's own.

A trust is recorded, and ended with its upload. A crash just after its creation can leave a trust without a record,
which ends when its lifetime is over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from resumable_glance.auth.base import Identity
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.trusts import Trusts
from resumable_glance.catalog import Catalog
from resumable_glance.catalog.credentials import Credential
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.errors import Refused
from resumable_glance.model.upload import Upload


@dataclass(frozen=True)
class Delegation:
    """The tokens of all owners.

    `trusts` is None if trusts are not used. A token helps for `expired_window` seconds after its expiry, since our
    service user vouches for it. `clock` gives seconds since the epoch.
    """

    catalog: Catalog
    cipher: TokenCipher
    trusts: Trusts | None
    expired_window: float
    clock: Callable[[], float]

    def encrypt(self, token: str | None, expires_at: float) -> Credential | None:
        """Return a token as the catalog may keep it, None for none."""
        ciphertext = self.cipher.encrypt(token)
        return None if ciphertext is None else Credential(ciphertext, expires_at)

    async def begin(self, upload: Upload, identity: Identity) -> None:
        """Create a trust for a new upload, if that is possible now."""
        if self.trusts is None or upload.image is None or identity.token is None:
            return
        if await self.catalog.trusts.of_upload(upload.id) is not None:  # parts that are joined a second time
            return
        with contextlib.suppress(Refused, OSError):
            if (trust_id := await self.trusts.create(identity)) is not None:
                await self.catalog.trusts.add(trust_id, upload, self.clock())

    async def token(self, upload: Upload) -> str | None:
        """Return the token to hand over an upload with."""
        own = self._decrypt(await self.catalog.uploads.credential(upload.id))
        if self.trusts is None:
            return own
        return await self._of_trust(self.trusts, await self.catalog.trusts.of_upload(upload.id)) or own

    async def token_for(self, orphan: OrphanedImage) -> str | None:
        """Return the token to remove an orphaned image with, of any trust of its owner."""
        own = self._decrypt(orphan.credential)
        if self.trusts is None:
            return own
        return await self._of_trust(self.trusts, await self.catalog.trusts.of_owner(orphan.owner)) or own

    async def refused(self, upload: Upload, token: str | None) -> None:
        """Erase the token of an upload that was refused after its expiry.

        One that is refused earlier was revoked, and is worthless to everybody; or refused by mistake, and is kept.
        """
        await self._refused(await self.catalog.uploads.credential(upload.id), token)

    async def refused_for(self, orphan: OrphanedImage, token: str | None) -> None:
        """Erase the token of an orphaned image, as refused() does."""
        await self._refused(orphan.credential, token)

    async def tidy(self) -> None:
        """Erase the credentials that can't help any more, and end needless trusts."""
        await self.catalog.credentials.erase_expired(self.clock() - self.expired_window)
        await self.end_trusts()

    async def end_trusts(self) -> None:
        """End the trusts that are not needed any more."""
        if self.trusts is None:
            return
        for each in await self.catalog.trusts.needless():
            try:
                await self.trusts.end(each)
            except Refused:
                return  # Keystone does not respond: try again later
            await self.catalog.trusts.remove(each)

    async def _refused(self, credential: Credential | None, token: str | None) -> None:
        if credential is None or self.clock() < credential.expires_at:
            return
        if self._decrypt(credential) == token:  # else it is that of a trust, or of a request that came later
            with contextlib.suppress(OSError):  # it is erased later
                await self.catalog.credentials.erase(credential)

    def _decrypt(self, credential: Credential | None) -> str | None:
        return None if credential is None else self.cipher.decrypt(credential.ciphertext)

    @staticmethod
    async def _of_trust(trusts: Trusts, trust_id: str | None) -> str | None:
        try:
            return None if trust_id is None else await trusts.token(trust_id)
        except Refused:
            return None
