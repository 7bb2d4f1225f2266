"""When the service was last seen to run."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "heartbeat",
        sa.Column("instance", sa.String(16), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
    )
