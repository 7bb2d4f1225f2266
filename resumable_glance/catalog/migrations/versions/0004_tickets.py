"""How often the tickets of an upload were revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("generation", sa.Integer, nullable=False, server_default="0"))
