"""What is asked for at each creation is answered from indices: of ended uploads there are ever more."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.drop_index("uploads_by_state", "uploads")
    op.create_index("uploads_by_state", "uploads", ["state", "reserved", "received"])
    op.create_index("uploads_by_project", "uploads", ["project_id", "state", "reserved", "received"])
    op.create_index("uploads_by_creation", "uploads", ["project_id", "created_at"])
