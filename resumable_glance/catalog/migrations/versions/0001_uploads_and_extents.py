"""Uploads and extents."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("image_name", sa.String(255)),
        sa.Column("image_adopted", sa.Boolean, nullable=False),
        sa.Column("store", sa.String(255)),
        sa.Column("declared", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text),
        sa.Column("received_offset", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.Column("md5", sa.String(32)),
        sa.Column("sha512", sa.String(128)),
        sa.Column("trouble_hitch", sa.String(64)),
        sa.Column("trouble_detail", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", sa.Float(53), nullable=False),
        sa.Column("credential", sa.LargeBinary),
    )
    op.create_index("uploads_by_owner", "uploads", ["project_id", "user_id", "created_at"])
    op.create_index("uploads_by_state", "uploads", ["state"])
    op.create_table(
        "extents",
        sa.Column("upload_id", sa.String(64), sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(160), nullable=False),
    )
