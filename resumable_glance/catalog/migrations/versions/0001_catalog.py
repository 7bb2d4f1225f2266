"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(64)
IMAGE_ID = sa.String(36)
TIME = sa.Float(53)
SIZE = sa.BigInteger()


def upgrade() -> None:
    op.create_table("instances", sa.Column("instance", sa.String(16), primary_key=True), *_required(TIME, "seen_at"))
    op.create_table(
        "orphaned_images",
        sa.Column("image_id", IMAGE_ID, primary_key=True),
        *_required(ID, "project_id", "user_id"),
        *_optional(sa.LargeBinary(), "credential"),
        *_optional(TIME, "credential_expires_at"),
        *_required(TIME, "since", "due_at"),
    )
    op.create_table(
        "trusts",
        sa.Column("id", ID, primary_key=True),
        *_required(ID, "upload_id", "project_id", "user_id"),
        *_required(TIME, "since"),
        sa.Index("trusts_by_upload", "upload_id"),
    )
    op.create_table(
        "uploads",
        sa.Column("id", ID, primary_key=True),
        sa.Column("joined_into", ID, sa.ForeignKey("uploads.id", name="joined_into_upload", ondelete="CASCADE")),
        *_required(ID, "project_id", "user_id"),
        *_required(sa.String(16), "state"),
        *_required(SIZE, "received_offset", "received"),
        *_required(SIZE, "reserved", server_default="0"),
        *_required(TIME, "created_at", "updated_at", "expires_at", "next_attempt_at"),
        *_required(TIME, "stuck_at", server_default="0"),
        *_required(sa.Boolean(), "image_adopted"),
        *_required(sa.Integer(), "attempts"),
        *_required(sa.Integer(), "generation", "suspicion", server_default="0"),
        *_required(sa.Text(), "declared"),
        *_required(sa.Text(), "parts", "replaced", server_default=""),
        *_optional(SIZE, "size"),
        *_optional(IMAGE_ID, "image_id", "successor"),
        *_optional(sa.String(32), "md5"),
        *_optional(sa.String(128), "sha512"),
        *_optional(sa.String(64), "last_error_reason", "request_id"),
        *_optional(sa.String(255), "image_name", "store"),
        *_optional(sa.LargeBinary(), "credential"),
        *_optional(TIME, "credential_expires_at"),
        *_optional(sa.Text(), "metadata", "last_error_detail", "request", "format", "verified", "stores"),
        sa.Index("uploads_by_owner", "project_id", "user_id", "created_at"),
        sa.Index("uploads_by_state", "state", "reserved", "received"),
        sa.Index("uploads_by_project", "project_id", "state", "reserved", "received"),
        sa.Index("uploads_by_whole", "joined_into"),
    )
    op.create_table(
        "extents",
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("start", SIZE, primary_key=True),
        *_required(SIZE, "stop"),
        *_required(sa.String(160), "digest"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", ID, primary_key=True),
        sa.Column("user_id", ID, primary_key=True),
        sa.Column("key_digest", ID, primary_key=True),
        *_required(ID, "request_digest"),
        sa.Column("upload_id", ID, sa.ForeignKey("uploads.id", ondelete="CASCADE"), nullable=False),
        sa.Index("idempotency_keys_by_upload", "upload_id"),
    )


def _required(kind: sa.types.TypeEngine[Any], *names: str, **details: Any) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False, **details) for name in names]


def _optional(kind: sa.types.TypeEngine[Any], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind) for name in names]
