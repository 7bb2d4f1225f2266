"""When the service was last seen to run, and images that are to be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("instance", sa.String(16), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "leftovers",
        sa.Column("image_id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("credential", sa.LargeBinary),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("due_at", sa.Float(53), nullable=False),
    )
