"""Threads for blocking network calls, so that storage never waits for a thread while Keystone or Glance hangs."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A pool of at most `count` threads, apart from the few of asyncio.to_thread, which hashing needs."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> T:
        """Call a function in one of the threads, as asyncio.to_thread does."""
        context = contextvars.copy_context()  # the log names the request
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(work, *args, **named))
