"""The service with a profiler of its processor time inside; for the benchmark only.

    python -m tests.bench.sampled serve --config-file FILE

The processor time of a thread (by its own clock: exact, with the kernel's part) is booked to a component whenever the
thread begins or ends a known piece of work: a job in a thread, a step of a task on the event loop, a piece from the
socket. Some hundred times a second it is booked by the thread's stack, so that long jobs are divided, too. Waiting
counts nothing, and the sum is all the time that was used. The sums are in the file `samples` beside the configuration.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from resumable_glance import cli
from resumable_glance.api.http11 import server
from resumable_glance.api.http11.transport import TransportReceiver

INTERVAL = 0.004  # seconds between two looks
WRITTEN = 0.2  # seconds between two writes of the file
SWITCH = 0.0005  # seconds: the longest that the profiler waits for the interpreter
NOBODY = "threads that are not Python's"
HOPS = "hops to threads"
LOOP = "event loop, with the socket's reads"
RECEIVING = "receiving"
REST = "the rest of our code"
# A stack belongs to the first of these that one of its frames fits, from the innermost frame outwards.
COMPONENTS: tuple[tuple[str, str], ...] = (
    (r"^(_hash|update) .*(chunk_writer|digests)\.py", "hashing"),
    (r"^(_put|_write_all|_zero_all) .*storage/local\.py", "writing to scratch"),
    (r"^_fdatasync ", "flushing"),
    (r"/storage/local\.py|/durable\.py", "other calls on scratch"),
    (r"/resumable_glance/catalog/|/sqlalchemy/", "catalog"),
    (r"/http11/(body|transport)\.py", RECEIVING),
    (r"^(read|_piece) .*/handoff/reader\.py", "reading scratch"),
    (r"/resumable_glance/images/", "image service"),
    (r"/concurrent/futures/|/aiofiles/|/asyncio/(futures|threads)\.py", HOPS),
    (r"/resumable_glance/(?!cli/)", REST),
    (r"/starlette/|/uvicorn/protocols/|/uvicorn/middleware/", "requests and answers"),
    (r"/uvicorn/|/asyncio/|/uvloop/", LOOP),
)
OUTWARDS = re.compile(r"/resumable_glance/(handoff|images)/")


class Books:
    """Nanoseconds by way ("in" or "out") and component."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._used: dict[int, int] = {}  # booked so far, by thread
        self._booking = threading.Lock()

    def book(self, thread: int, what: str) -> None:
        """Book the time that a thread has used since the last call."""
        with self._booking:
            used = cpu_time(thread)
            self._sums[what] += max(0, used - self._used.get(thread, 0))
            self._used[thread] = used

    def write(self, file: Path) -> None:
        with self._booking:
            text = json.dumps(self._sums)
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(text)
        unfinished.replace(file)


BOOKS = Books()


def look_for_ever(file: Path) -> None:
    """Book each thread by its stack, again and again."""
    ours, written = threading.get_native_id(), 0.0
    while True:
        time.sleep(INTERVAL)
        frames = sys._current_frames()
        known = {each.native_id: each.ident for each in threading.enumerate()}
        for task in Path("/proc/self/task").iterdir():
            thread = int(task.name)
            if thread != ours:
                BOOKS.book(thread, about(frames.get(known.get(thread) or 0)))
        if time.monotonic() > written + WRITTEN:
            BOOKS.write(file)
            written = time.monotonic()


class Steps(Coroutine[Any, Any, Any]):
    """A task's coroutine, each step of which is booked."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        return self._booked(self._inner.send, value)

    def throw(self, kind: Any, value: Any = None, trace: TracebackType | None = None) -> Any:
        return self._booked(self._inner.throw, kind if value is None else value)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def _booked(self, step: Callable[[Any], Any], value: Any) -> Any:
        thread = threading.get_native_id()
        BOOKS.book(thread, f"in {LOOP}")
        try:
            return step(value)
        finally:
            BOOKS.book(thread, f"in {REST}")


def install() -> None:
    """Book from now on."""
    submit, startup = ThreadPoolExecutor.submit, server.GracefulServer.startup
    updated = TransportReceiver.buffer_updated

    def submitting(pool: ThreadPoolExecutor, job: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        what = f"in {component(code_of(job)) or REST}"

        def booked() -> Any:
            thread = threading.get_native_id()
            BOOKS.book(thread, f"in {HOPS}")
            try:
                return job(*args, **named)
            finally:
                BOOKS.book(thread, what)

        return submit(pool, booked)

    async def starting(server: server.GracefulServer, sockets: Any = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, inner, **named: asyncio.Task(Steps(inner), loop=loop, **named))
        await startup(server, sockets)

    def updating(receiver: TransportReceiver, nbytes: int) -> None:
        thread = threading.get_native_id()
        BOOKS.book(thread, f"in {LOOP}")
        updated(receiver, nbytes)
        BOOKS.book(thread, f"in {RECEIVING}")

    ThreadPoolExecutor.submit = submitting  # type: ignore[method-assign, assignment]
    server.GracefulServer.startup = starting  # type: ignore[method-assign, assignment]
    TransportReceiver.buffer_updated = updating  # type: ignore[method-assign, assignment]


def code_of(job: Any) -> CodeType | None:
    """Return the function of a job in a thread, without the wrappers of asyncio and aiofiles."""
    while isinstance(job, functools.partial):
        within = isinstance(getattr(job.func, "__self__", None), Context)
        job = job.args[0] if within else job.func
    return getattr(job, "__code__", None)


def cpu_time(thread: int) -> int:
    """Return the nanoseconds that a thread has used; 0 if it is gone (linux/posix-timers.h: CPUCLOCK_SCHED)."""
    try:
        return time.clock_gettime_ns((~thread << 3) | 6)
    except OSError:
        return 0


def about(frame: FrameType | None) -> str:
    """Return the way ("in" or "out") and the component of a stack."""
    if frame is None:
        return f"in {NOBODY}"
    found, way = "", "in"
    while frame is not None:
        found = found or component(frame.f_code)
        way = "out" if OUTWARDS.search(frame.f_code.co_filename) else way
        frame = frame.f_back
    return f"{way} {found or REST}"


@functools.cache
def component(code: CodeType | None) -> str:
    return "" if code is None else named(code.co_name, code.co_filename)


def named(function: str, file: str) -> str:
    """Return the component of a function; empty if the next outer frame decides."""
    return next((name for pattern, name in COMPONENTS if re.search(pattern, f"{function} {file}")), "")


def main() -> int:
    sys.setswitchinterval(SWITCH)
    install()
    threading.Thread(target=look_for_ever, args=[Path(sys.argv[-1]).parent / "samples"], daemon=True).start()
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
