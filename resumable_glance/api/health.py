"""Health checks for load balancers: whether this instance is alive, and ready for work.

It is alive if it answers. It is ready if each of its parts answers a real check; the report is reused for a moment, so
that many probes cost as much as one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

LOG = logging.getLogger(__name__)
ALIVE = "/healthcheck"
READY = f"{ALIVE}/ready"
CHECK_TIMEOUT = 5.0  # seconds
REPORT_TTL = 5.0  # seconds
NO_STORE = {"Cache-Control": "no-store"}
Check = Callable[[], Awaitable[object]]


class Health:
    """The checks of all parts. A check raises if its part is not well; only the log shows the exception's text."""

    def __init__(self, checks: Mapping[str, Check], clock: Callable[[], float] = time.monotonic) -> None:
        self._checks = checks
        self._clock = clock
        self._lock = asyncio.Lock()
        self._running: dict[str, asyncio.Future[object]] = {}
        self._last: tuple[float, Mapping[str, str]] | None = None

    async def report(self) -> Mapping[str, str]:
        """Return the problem of each part, empty if it is well. The report is at most REPORT_TTL old."""
        async with self._lock:
            if self._last is None or self._clock() >= self._last[0] + REPORT_TTL:
                problems = await asyncio.gather(*(self._problem(name, check) for name, check in self._checks.items()))
                self._last = self._clock(), dict(zip(self._checks, problems, strict=True))
            return self._last[1]

    async def _problem(self, name: str, check: Check) -> str:
        # A check that hangs is not started again: most hang in a thread, and these would pile up.
        if name not in self._running:
            self._running[name] = asyncio.ensure_future(check())
        await asyncio.wait([self._running[name]], timeout=CHECK_TIMEOUT)
        if not self._running[name].done():
            LOG.warning("%s does not answer within %.0f s", name, CHECK_TIMEOUT)
            return "does not answer"
        try:
            self._running.pop(name).result()
        except Exception as problem:
            LOG.warning("%s is not well: %s", name, problem)
            return "is not well"
        return ""

    def routes(self) -> list[Route]:
        """Return the routes of the two checks."""
        return [
            Route(ALIVE, _alive, methods=["GET"]),
            Route(READY, self._ready, methods=["GET"]),
        ]

    async def _ready(self, _: Request) -> Response:
        report = await self.report()
        ready = not any(report.values())
        parts = {name: problem or "ok" for name, problem in report.items()}
        return JSONResponse({"ready": ready, "parts": parts}, 200 if ready else 503, NO_STORE)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("OK", headers=NO_STORE)
