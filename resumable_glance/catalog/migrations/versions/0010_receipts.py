"""What the sink has shown of an image that is proven, and which requests it came by."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("request_id", sa.String(64)))
    op.add_column("uploads", sa.Column("verified", sa.Text))
