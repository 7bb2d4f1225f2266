"""Makes SQLite good enough for servers with threads. uWSGI loads this file into Keystone and Glance.

oslo.db begins every transaction with BEGIN, which takes no lock. If that transaction reads, and another one
writes before it does, then SQLite can only refuse ("database is locked"), however long the time-out.
BEGIN IMMEDIATE waits for its turn.
"""

from typing import Any

from sqlalchemy import Engine, event


def _begin_immediate(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters


event.listen(Engine, "before_cursor_execute", _begin_immediate, retval=True)
