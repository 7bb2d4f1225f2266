"""The SQLite engine of the catalog, and the migration of its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from resumable_glance.errors import CannotStart
from resumable_glance.runtime.durable import make_directory, sync_directory

MIGRATIONS = Path(__file__).parent / "migrations"
READ_ONLY = {"read_only": True}  # execution options of a connection that takes no write lock


class NewerCatalog(CannotStart):
    """The database was written by a newer version."""


def create(url: str) -> sa.Engine:
    """Return an engine for SQLite, for use by one thread.

    A committed transaction survives a power cut. Only the user of the process can read the files of the database.
    """
    address = sa.make_url(url)
    if address.database:  # none: in memory, for tests
        path = Path(address.database)
        make_directory(path.parent)
        path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
        sync_directory(path.parent)
    created = sa.create_engine(address, poolclass=sa.pool.SingletonThreadPool)

    @sa.event.listens_for(created, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # else the driver begins and commits by itself
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(created, "begin")
    def begin(connection: sa.Connection) -> None:
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return created


def migrate(engine: sa.Engine) -> None:
    """Upgrade the schema to that of this version.

    Raises:
        NewerCatalog: the schema is that of a later version.
    """
    if _revision(engine) == _newest():
        return  # without alembic, whose import takes a fifth of a start
    import alembic.command
    import alembic.config
    import alembic.util

    configuration = alembic.config.Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        try:
            alembic.command.upgrade(configuration, "head")
        except alembic.util.CommandError as problem:
            raise NewerCatalog(
                f"The catalog was written by a newer version of resumable-glance ({problem}). Run that version, or "
                "restore the catalog that belongs to this one."
            ) from problem


def _revision(engine: sa.Engine) -> str | None:
    """Return the revision of the schema; None if there is no schema yet."""
    with engine.connect().execution_options(**READ_ONLY) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision


def _newest() -> str:
    return max(each.name.partition("_")[0] for each in (MIGRATIONS / "versions").glob("[0-9]*.py"))
