"""Whether this instance is well, as load balancers ask: is it alive, and should it get new work?

Being alive means no more than answering. Being ready means that every part is, each asked for real; what they said is
believed for a moment, so that many probes cost as much as one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

LOG = logging.getLogger(__name__)
PATIENCE = 5.0  # seconds that a part may take to answer
BELIEVED = 5.0  # seconds for which an answer is
Part = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Report:
    """What is not well, by part; empty sentences for the others. Nothing that only operators may know."""

    parts: Mapping[str, str]

    @property
    def ready(self) -> bool:
        return not any(self.parts.values())


class Health:
    """`parts` raise an exception when they are not well; its text goes to the log, and its kind to who asks."""

    def __init__(self, parts: Mapping[str, Part], clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._asking = asyncio.Lock()
        self._owing: dict[str, asyncio.Future[object]] = {}  # parts that were asked and have not answered yet
        self._last: tuple[float, Report] | None = None

    async def report(self) -> Report:
        """How all parts are, now or a moment ago."""
        async with self._asking:
            if self._last is None or self._clock() >= self._last[0] + BELIEVED:
                told = await asyncio.gather(*(self._asked(name, part) for name, part in self._parts.items()))
                self._last = self._clock(), Report(dict(zip(self._parts, told, strict=True)))
            return self._last[1]

    async def _asked(self, name: str, part: Part) -> str:
        # Not asked again while it hangs: most parts hang in a thread, and those would pile up.
        if name not in self._owing:
            self._owing[name] = asyncio.ensure_future(part())
        await asyncio.wait([self._owing[name]], timeout=PATIENCE)
        if not self._owing[name].done():
            LOG.warning("%s does not answer within %.0f s", name, PATIENCE)
            return "does not answer"
        try:
            self._owing.pop(name).result()
        except Exception as problem:
            LOG.warning("%s is not well: %s", name, problem)
            return "is not well"
        return ""

    def routes(self) -> list[Route]:
        return [
            Route("/healthcheck", _alive, methods=["GET"]),
            Route("/healthcheck/ready", self._ready, methods=["GET"]),
        ]

    async def _ready(self, _: Request) -> Response:
        report = await self.report()
        told = {name: sentence or "ok" for name, sentence in report.parts.items()}
        return JSONResponse(
            {"ready": report.ready, "parts": told}, 200 if report.ready else 503, {"Cache-Control": "no-store"}
        )


async def _alive(_: Request) -> Response:
    return PlainTextResponse("OK", headers={"Cache-Control": "no-store"})
