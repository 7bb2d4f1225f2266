"""How the catalog's database is opened, and brought up to date.

Its one rule: what was committed is on the disk, whatever happens then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from resumable_glance.errors import CannotStart
from resumable_glance.runtime.durable import make_directory, sync_directory

MIGRATIONS = Path(__file__).parent / "migrations"


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


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema to this version's, or a `revision` before. NewerCatalog if it is already past this version's."""
    if revision == "head" and _revision(engine) == _newest():
        return  # most starts find it so, and alembic takes a fifth of them to import
    import alembic.command
    import alembic.config
    import alembic.util

    configuration = alembic.config.Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    with _without_foreign_keys(engine), engine.begin() as connection:
        configuration.attributes["connection"] = connection
        try:
            alembic.command.upgrade(configuration, revision)
        except alembic.util.CommandError as problem:
            raise NewerCatalog(
                f"The catalog was written by a newer version of resumable-glance ({problem}). Run that version, or "
                "restore the catalog that belongs to this one."
            ) from problem


def _revision(engine: sa.Engine) -> str | None:
    """Which migration was the last one; None where there was none."""
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision


def _newest() -> str:
    return max(each.name.partition("_")[0] for each in (MIGRATIONS / "versions").glob("[0-9]*.py"))


@contextlib.contextmanager
def _without_foreign_keys(engine: sa.Engine) -> Iterator[None]:
    """SQLite changes a table by making a new one and dropping the old; its extents must not be dropped along.

    See "Making Other Kinds Of Table Schema Changes" in its documentation of ALTER TABLE.
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    connection = engine.raw_connection()  # the pool has one for each thread: the one that will be used
    try:
        connection.cursor().execute("PRAGMA foreign_keys = OFF")
        yield
    finally:
        connection.cursor().execute("PRAGMA foreign_keys = ON")
        connection.close()
