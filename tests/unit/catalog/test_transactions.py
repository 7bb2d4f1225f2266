"""Transactions take turns, and change everything or nothing."""

import asyncio
import errno
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from resumable_glance.catalog import Catalog, schema
from tests.support.records import upload, wait


def test_a_transaction_takes_the_write_lock_at_its_begin(catalog: Catalog, tmp_path: Path) -> None:
    """Otherwise it reads, somebody else writes, and what it read is not true any more when it writes."""
    other = sa.create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}", connect_args={"timeout": 0})

    def write_elsewhere(_: sa.Connection) -> None:
        with other.connect() as connection, pytest.raises(sa.exc.OperationalError):
            connection.exec_driver_sql("DELETE FROM uploads")

    wait(catalog.transactions.write(write_elsewhere))
    other.dispose()


def test_a_transaction_that_fails_changes_nothing(catalog: Catalog) -> None:
    made = upload()

    def work(db: sa.Connection) -> None:
        db.execute(schema.uploads.delete())
        raise ZeroDivisionError

    wait(catalog.uploads.add(made, None))
    with pytest.raises(ZeroDivisionError):
        wait(catalog.transactions.write(work))
    assert wait(catalog.uploads.get(made.id)) == made


def test_other_database_errors_are_raised_as_they_are(catalog: Catalog) -> None:
    problem = sa.exc.OperationalError("SELECT 1", {}, Exception("of a driver that has no error codes"))

    def work(db: sa.Connection) -> None:
        raise problem

    with pytest.raises(sa.exc.OperationalError) as raised:
        wait(catalog.transactions.write(work))
    assert raised.value is problem


def test_all_transactions_take_turns_in_one_thread(catalog: Catalog) -> None:
    submitted = threading.Event()

    def work(db: sa.Connection) -> int:
        assert submitted.wait(10)
        return threading.get_ident()

    async def several() -> list[int]:
        tasks = [asyncio.create_task(catalog.transactions.write(work)) for _ in range(10)]
        await asyncio.sleep(0)  # each task submits its work
        submitted.set()
        return await asyncio.gather(*tasks)

    (thread,) = set(wait(several()))
    assert thread != threading.get_ident()


def test_a_catalog_that_can_not_be_written_is_told(catalog: Catalog) -> None:
    wait(catalog.uploads.check())
    wait(catalog.transactions.write(lambda db: db.exec_driver_sql("PRAGMA query_only = ON")))
    with pytest.raises(OSError, match="catalog") as told:
        wait(catalog.uploads.check())
    assert told.value.errno == errno.EROFS
