"""Transactions on the catalog's database.

All of them run one after the other in one thread of their own: SQLite has one writer anyway, and the event loop never
waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from resumable_glance.catalog import engine
from resumable_glance.catalog.notifications import ChangeNotifier

T = TypeVar("T")
_ERRNO = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO, sqlite3.SQLITE_READONLY: errno.EROFS}


class Transactions:
    """Those on the database at an SQLAlchemy `url`, migrated to this version's schema when it is opened.

    A connection's `info["changed"]` takes the ids of uploads of which there is `news` once the transaction is durable.
    """

    def __init__(self, url: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="catalog")
        self._engine = engine.engine(url)
        self.news = ChangeNotifier()
        try:
            self._thread.submit(engine.migrate, self._engine).result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._thread.submit(self._engine.dispose).result()
        self._thread.shutdown()

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """One transaction of what `work` does with a connection; returns when it is durable.

        OSError: nothing of it was recorded.
        """
        loop = asyncio.get_running_loop()

        def transaction() -> T:
            changed: set[str] = set()
            try:
                with self._engine.begin() as connection:
                    connection.info["changed"] = changed
                    result = work(connection)
                if changed:
                    with contextlib.suppress(RuntimeError):  # nobody waits in a loop that is closed
                        loop.call_soon_threadsafe(self.news.tell, changed)
                return result
            except sa.exc.OperationalError as problem:
                raise _disk_failure(problem) from problem

        return await loop.run_in_executor(self._thread, transaction)


def _disk_failure(problem: sa.exc.OperationalError) -> Exception:
    """A disk that is full or broken is told as by any other file; everything else stays what it is."""
    number = _ERRNO.get(getattr(problem.orig, "sqlite_errorcode", 0) & 0xFF)
    return problem if number is None else OSError(number, f"{os.strerror(number)} (the catalog)")
