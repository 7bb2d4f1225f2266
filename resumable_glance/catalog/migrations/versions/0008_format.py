"""What the bytes of an image are declared to be, and what they were found to be."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("format", sa.Text))
