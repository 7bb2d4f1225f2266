"""The real service for tests that need more hands on it: many projects without Keystone, a clock that can be moved.

    python -m tests.support.launcher serve --config-file FILE

All parts are the service's own but the authenticator and the clock. Sizes of megabytes and times of minutes are
kilobytes and parts of a second here, so that small uploads reach them too.
"""

from __future__ import annotations

import dataclasses
import mmap
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from resumable_glance import app
from resumable_glance.api.http11 import body
from resumable_glance.api.http11.server import GracefulServer
from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.upload import Owner
from resumable_glance.runtime import config, log
from resumable_glance.runtime.clock import SteadyClock

BATCH = 4 * 1024  # bytes
COMMIT_SIZE = 16 * 1024  # bytes
TIDY_INTERVAL = 0.25  # seconds
_TOKEN = "token-of-"


def token(project: str) -> dict[str, str]:
    """The header that makes a request one of this project."""
    return {"X-Auth-Token": _TOKEN + project}


class ProjectAuthenticator:
    """Believes whatever project a token names."""

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        text = headers.get("x-auth-token", "")
        project = text.removeprefix(_TOKEN)
        if project == text or not project:
            raise Refused(Reason.UNAUTHENTICATED, f"Say who you are: X-Auth-Token: {_TOKEN}PROJECT.")
        return Identity(Owner(project, "somebody"), text)

    async def check(self) -> None:
        pass


class Panel:
    """What the service and its test share, in a mapped file: by how many seconds time is ahead, and the clock was set,
    and how many requests have begun and ended. So a test knows when an answer that nobody waits for has had its effect.
    """

    _FORM = struct.Struct("=ddqq")

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(self._FORM.size)
            self._memory = mmap.mmap(file.fileno(), self._FORM.size)

    @property
    def ahead(self) -> float:
        return float(self._read()[0])

    @property
    def begun(self) -> int:
        return int(self._read()[2])

    @property
    def running(self) -> int:
        *_, begun, ended = self._read()
        return int(begun) - int(ended)

    @property
    def set_by(self) -> float:
        """By how many seconds the clock on the wall was set."""
        return float(self._read()[1])

    def now(self) -> float:
        """What the clock on the wall shows to the service, in seconds since the epoch."""
        ahead, set_by, *_ = self._read()
        return time.time() + ahead + set_by

    def advance(self, seconds: float) -> None:
        """Time passes."""
        struct.pack_into("=d", self._memory, 0, self.ahead + seconds)

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock by so much."""
        struct.pack_into("=d", self._memory, 8, self.set_by + seconds)

    def count(self, begun: int = 0, ended: int = 0) -> None:
        *_, before, after = self._read()
        struct.pack_into("=qq", self._memory, 16, before + begun, after + ended)

    def _read(self) -> tuple[float, float, int, int]:
        return self._FORM.unpack_from(self._memory)


class MovableClock(SteadyClock):
    """The service's own clock, on a panel that lets time pass and sets the clock on the wall."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(lambda: time.time() + panel.set_by)
        self._panel = panel

    def __call__(self) -> float:
        return super().__call__() + self._panel.ahead

    def drift(self) -> float:
        return self._wall() - super().__call__()  # what has passed has done so on both clocks


class Counted:
    """An ASGI application whose requests are counted on a panel."""

    def __init__(self, inner: ASGIApp, panel: Panel) -> None:
        self._inner = inner
        self._panel = panel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        self._panel.count(begun=1)
        try:
            await self._inner(scope, receive, send)
        finally:
            self._panel.count(ended=1)


def panel_of(directory: Path) -> Panel:
    """The panel of the service whose state is in `directory`."""
    return Panel(directory / "panel")


def main(argv: Sequence[str]) -> int:
    _, _, file = argv
    settings, conf = config.load([file])
    log.setup(conf)
    panel = panel_of(Path(file).parent)
    panel.count(ended=panel.running)  # a killed service could not count those
    body.BATCH = BATCH  # type: ignore[attr-defined]
    app.TIDY_INTERVAL = TIDY_INTERVAL  # type: ignore[assignment]
    scratch = dataclasses.replace(settings.scratch, commit_size=COMMIT_SIZE)
    smaller = dataclasses.replace(settings, scratch=scratch)
    service = app.build(smaller, conf, ProjectAuthenticator(), MovableClock(panel))
    server = GracefulServer(Counted(service.asgi, panel), service.uploads, settings)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
