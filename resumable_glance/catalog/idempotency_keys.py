"""Idempotency keys of creations, by owner (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.transactions import Records, reads
from resumable_glance.model.upload import Owner, Upload

table = schema.idempotency_keys


@dataclasses.dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The SHA-256 digests of an idempotency key and of its request."""

    owner: Owner
    key_digest: str
    request_digest: str


class IdempotencyKeys(Records):
    """The keys of all creations."""

    @reads
    def find(self, db: sa.Connection, key: IdempotencyKey) -> tuple[Upload, str] | None:
        """Return the upload created with a key, and its request's digest."""
        uploads = schema.uploads
        query = (
            uploads.select()
            .add_columns(table.c.request_digest)
            .join(table, table.c.upload_id == uploads.c.id)
            .where(*_is(key))
        )
        row = db.execute(query).one_or_none()
        return None if row is None else (schema.upload_of(row), row.request_digest)


# Parts of transactions


def bind_key(db: sa.Connection, key: IdempotencyKey, upload_id: str) -> None:
    """Bind a key to an upload instead of an earlier one."""
    db.execute(table.delete().where(*_is(key)))
    row = {"key_digest": key.key_digest, "request_digest": key.request_digest, "upload_id": upload_id}
    db.execute(table.insert().values(row | dataclasses.asdict(key.owner)))


def _is(key: IdempotencyKey) -> tuple[sa.ColumnElement[bool], ...]:
    columns = table.c
    return (
        columns.project_id == key.owner.project_id,
        columns.user_id == key.owner.user_id,
        columns.key_digest == key.key_digest,
    )
