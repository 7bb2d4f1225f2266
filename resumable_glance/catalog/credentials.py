"""Owners' encrypted tokens: of uploads, and of orphaned images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.transactions import Records, writes

_TABLES = (schema.uploads, schema.orphaned_images)


@dataclass(frozen=True, slots=True)
class Credential:
    """An encrypted token, and when the token expires, in seconds since the epoch."""

    ciphertext: bytes
    expires_at: float


class Credentials(Records):
    """The erasure of credentials, wherever they are kept."""

    @writes
    def erase(self, db: sa.Connection, credential: Credential) -> None:
        """Erase this credential, and none that has replaced it meanwhile."""
        for table in _TABLES:
            db.execute(table.update().where(table.c.credential == credential.ciphertext).values(columns(None)))

    @writes
    def erase_expired(self, db: sa.Connection, before: float) -> None:
        """Erase all credentials that expired before a time."""
        for table in _TABLES:
            db.execute(table.update().where(table.c.credential_expires_at < before).values(columns(None)))


# Parts of transactions


def columns(credential: Credential | None) -> dict[str, object]:
    """Return the columns of a credential, or of none."""
    if credential is None:
        return {"credential": None, "credential_expires_at": None}
    return {"credential": credential.ciphertext, "credential_expires_at": credential.expires_at}


def of_row(row: sa.Row[Any]) -> Credential | None:
    """Return the credential in a row, if there is one."""
    return None if row.credential is None else Credential(row.credential, row.credential_expires_at)
