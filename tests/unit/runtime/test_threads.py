"""Threads of their own for calls that may hang."""

from __future__ import annotations

import asyncio
import contextvars
import threading

from resumable_glance.runtime.threads import Threads

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request")


def test_work_has_the_context_of_its_caller() -> None:
    async def scenario() -> None:
        REQUEST.set("req-1")
        threads = Threads(1, "test")
        assert await threads.run(REQUEST.get) == "req-1"
        assert (await threads.run(threading.current_thread)).name.startswith("test")

    asyncio.run(scenario())


def test_no_more_threads_than_the_limit_work() -> None:
    async def scenario() -> None:
        threads, may_end, running = Threads(2, "test"), threading.Event(), threading.Semaphore(0)

        def work() -> None:
            running.release()
            assert may_end.wait(10)

        tasks = [asyncio.create_task(threads.run(work)) for _ in range(3)]
        await asyncio.sleep(0)  # each task submits its work
        for _ in range(2):
            assert await asyncio.to_thread(running.acquire, timeout=10)
        assert not running.acquire(blocking=False)
        may_end.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
