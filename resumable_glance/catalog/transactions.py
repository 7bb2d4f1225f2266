"""Transactions on the catalog's database.

All of them run one after the other, in the order of their calls, in one thread: SQLite has one writer at a time, and
the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from resumable_glance.catalog import engine
from resumable_glance.catalog.notifications import ChangeNotifier

P = ParamSpec("P")
S = TypeVar("S", bound="Records")
T = TypeVar("T")
_ERRNO = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO, sqlite3.SQLITE_READONLY: errno.EROFS}


class Transactions:
    """Transactions on the database at an SQLAlchemy `url`, whose schema is migrated first.

    A transaction adds the ids of the uploads that it changes to its connection's `info["changed"]`; `notifier` wakes
    their subscribers once the transaction is durable.
    """

    def __init__(self, url: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="catalog")
        self._engine = engine.create(url)
        self.notifier = ChangeNotifier()
        try:
            self._thread.submit(engine.migrate, self._engine).result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database, after the transactions that were already requested."""
        self._thread.submit(self._engine.dispose).result()
        self._thread.shutdown()

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Return the result of `work` on a snapshot of the catalog.

        Raises:
            OSError: the disk is broken.
        """

        def transaction() -> T:
            with self._engine.connect().execution_options(**engine.READ_ONLY) as connection:
                return work(connection)

        return await self._run(transaction)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Return the result of `work`, once all its changes are durable.

        Raises:
            OSError: nothing was recorded.
        """
        loop = asyncio.get_running_loop()

        def transaction() -> T:
            changed: set[str] = set()
            with self._engine.begin() as connection:
                connection.info["changed"] = changed
                result = work(connection)
            if changed:
                with contextlib.suppress(RuntimeError):  # the loop is closed by now
                    loop.call_soon_threadsafe(self.notifier.notify, changed)
            return result

        return await self._run(transaction)

    async def _run(self, transaction: Callable[[], T]) -> T:
        def run() -> T:
            try:
                return transaction()
            except sa.exc.OperationalError as problem:
                raise _disk_failure(problem) from problem

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def _disk_failure(problem: sa.exc.OperationalError) -> Exception:
    """Return the OSError of a broken disk, and any other error unchanged."""
    number = _ERRNO.get(getattr(problem.orig, "sqlite_errorcode", 0) & 0xFF)
    return problem if number is None else OSError(number, f"{os.strerror(number)} (the catalog)")


class Records:
    """Records of one kind; the methods are transactions."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions


def reads(method: Callable[Concatenate[S, sa.Connection, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run a method that takes a connection in a transaction that only reads."""

    @functools.wraps(method)
    async def transaction(self: S, /, *args: P.args, **named: P.kwargs) -> T:
        return await self.transactions.read(lambda db: method(self, db, *args, **named))

    return transaction


def writes(
    method: Callable[Concatenate[S, sa.Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run a method that takes a connection in a transaction; its result comes once its changes are durable."""

    @functools.wraps(method)
    async def transaction(self: S, /, *args: P.args, **named: P.kwargs) -> T:
        return await self.transactions.write(lambda db: method(self, db, *args, **named))

    return transaction
