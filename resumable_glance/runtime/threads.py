"""Threads for those who wait for a network: while Keystone or Glance hangs, scratch must not wait for a thread."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most `count` threads that serve nobody else. (Those of asyncio.to_thread are few, and hashing needs them.)"""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> T:
        """As asyncio.to_thread."""
        context = contextvars.copy_context()  # the log names the request
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(work, *args, **named))
