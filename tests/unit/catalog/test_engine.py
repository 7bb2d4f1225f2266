"""The database of the catalog: its tables, its pragmas, its file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa

from resumable_glance.catalog import Catalog, schema
from resumable_glance.catalog import engine as database
from resumable_glance.catalog.engine import NewerCatalog
from resumable_glance.catalog.transactions import Transactions
from tests.support.records import wait
from tests.support.rig import rig


def test_only_its_owner_can_read_the_catalog(tmp_path: Path) -> None:
    async def scenario() -> None:
        Catalog(Transactions(f"sqlite:///{tmp_path / 'catalog.sqlite'}")).close()
        async with rig(tmp_path) as here:
            await here.create()
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("catalog.sqlite*")}
            assert len(modes) > 1
            assert set(modes.values()) == {0o600}

    asyncio.run(scenario())


def address(directory: Path) -> str:
    return f"sqlite:///{directory / 'catalog' / 'catalog.sqlite'}"


def test_the_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    Catalog(Transactions(address(tmp_path))).close()
    engine = sa.create_engine(address(tmp_path))
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection, opts={"compare_type": True})
        assert alembic.autogenerate.compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_a_catalog_that_is_up_to_date_is_opened_without_alembic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    Catalog(Transactions(url)).close()
    monkeypatch.setitem(sys.modules, "alembic.command", None)  # to import it is an error now
    Catalog(Transactions(url)).close()


@pytest.mark.parametrize(
    ("pragma", "value"), [("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1), ("busy_timeout", 10_000)]
)
def test_the_connection_has_the_pragmas_for_durability(catalog: Catalog, pragma: str, value: object) -> None:
    assert wait(catalog.transactions.write(lambda db: db.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())) == value


def test_the_catalogs_directory_is_private(tmp_path: Path) -> None:
    Catalog(Transactions(address(tmp_path))).close()
    assert (tmp_path / "catalog").stat().st_mode & 0o777 == 0o700


def test_a_catalog_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    Catalog(Transactions(address(tmp_path))).close()
    engine = sa.create_engine(address(tmp_path))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerCatalog):
        Catalog(Transactions(address(tmp_path)))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "9999"
    engine.dispose()


def test_other_databases_are_left_to_sqlalchemy() -> None:
    with pytest.raises(sa.exc.NoSuchModuleError):
        database.create("nosuchdatabase://host/name")
