"""Uploads whose size is told later, and parts that are joined."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("uploads") as uploads:
        uploads.alter_column("size", existing_type=sa.BigInteger, nullable=True)
        uploads.alter_column("image_id", existing_type=sa.String(36), nullable=True)
        uploads.add_column(sa.Column("reserved", sa.BigInteger, nullable=False, server_default="0"))
        uploads.add_column(sa.Column("parts", sa.Text, nullable=False, server_default=""))
        uploads.add_column(sa.Column("joined_into", sa.String(64)))
        uploads.create_foreign_key("joined_into_upload", "uploads", ["joined_into"], ["id"], ondelete="CASCADE")
        uploads.create_index("uploads_by_whole", ["joined_into"])
    op.execute("UPDATE uploads SET reserved = size")
