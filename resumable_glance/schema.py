"""The catalog's tables, how its database is opened, and how an older one is brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from resumable_glance.errors import CannotStart
from resumable_glance.files import make_directory, sync_directory

metadata = sa.MetaData()

uploads = sa.Table(
    "uploads",
    metadata,
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
    sa.Index("uploads_by_owner", "project_id", "user_id", "created_at"),
    sa.Index("uploads_by_state", "state"),
)

extents = sa.Table(
    "extents",
    metadata,
    sa.Column("upload_id", sa.String(64), sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("stop", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(160), nullable=False),
)


class NewerCatalog(CannotStart):
    """The database was written by a newer version."""


def engine(url: str) -> sa.Engine:
    """An engine that is used from one thread. SQLite syncs at each commit, and keeps its files to itself."""
    address = sa.make_url(url)
    if address.get_backend_name() != "sqlite":
        return sa.create_engine(address)
    if address.database:
        path = Path(address.database)
        make_directory(path.parent)
        path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
        sync_directory(path.parent)
    created = sa.create_engine(address, poolclass=sa.pool.SingletonThreadPool)

    @sa.event.listens_for(created, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin or commit on its own
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(created, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return created


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to this version's. NewerCatalog if it is already past it."""
    import alembic.command
    import alembic.config
    import alembic.util

    configuration = alembic.config.Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        try:
            alembic.command.upgrade(configuration, "head")
        except alembic.util.CommandError as problem:
            raise NewerCatalog(
                f"The catalog was written by a newer version of resumable-glance ({problem}). Run that version, or "
                "restore the catalog that belongs to this one."
            ) from problem
