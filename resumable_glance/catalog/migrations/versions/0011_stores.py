"""Images that are imported, into several stores."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("stores", sa.Text))
