"""Images that are replaced: what they were asked to be, what they replaced, and what speaks against them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("request", sa.Text))
    op.add_column("uploads", sa.Column("replaced", sa.Text, nullable=False, server_default=""))
    op.add_column("uploads", sa.Column("successor", sa.String(36)))
    op.add_column("uploads", sa.Column("suspicion", sa.Integer, nullable=False, server_default="0"))
    op.add_column("uploads", sa.Column("stuck_at", sa.Float(53), nullable=False, server_default="0"))
