"""The engine of the catalog's database, and its migration.

SQLite is opened so that a committed transaction is on the disk, whatever happens then.
"""

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
    """Return an engine that one thread uses. SQLite syncs at each commit, and its files are its user's alone."""
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
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return created


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to this version's.

    Raises:
        NewerCatalog: it is of a later version.
    """
    if _revision(engine) == _newest():
        return  # as at most starts; alembic takes a fifth of such a start to import
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
    """The last migration that was made; None if there was none."""
    with engine.connect().execution_options(**READ_ONLY) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision


def _newest() -> str:
    return max(each.name.partition("_")[0] for each in (MIGRATIONS / "versions").glob("[0-9]*.py"))
