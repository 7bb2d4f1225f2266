"""The running service under test: requests over one connection for each project, stops and starts."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.launcher import Panel, panel_of, token
from tests.support.raw import Answer, Line, Request
from tests.support.service import Service

PATIENCE = 30  # seconds, for what the service does on its own


class Harness:
    """The service that all examples run on, one after the other."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.panel: Panel = panel_of(service.directory)
        self.images: Path = service.directory / "images"
        self.scratch: Path = service.directory / "scratch" / "uploads"
        self.log: deque[str] = deque(maxlen=60)  # the last requests and answers, to explain a failure
        self.answers: Counter[str] = Counter()  # by kind
        self.numbers = itertools.count()
        self._lines: dict[str, Line] = {}
        self._runs = True
        self._counted = 0.0  # seconds that the clock was ahead at the service's last heartbeat

    def ask(self, project: str, request: Request) -> Answer:
        """Return the answer to a request, over a connection that is kept alive."""
        line = self._lines.pop(project, None) or Line(self.service.port)
        line.send(request.plus(token(project)).wire())
        answer = line.answer(request.method)
        if line.ends:
            line.close()
        else:
            self._lines[project] = line
        self.noted(project, request, answer)
        return answer

    def noted(self, project: str, request: Request, answer: Answer | str) -> None:
        headers = [each for each in request.headers if each[0] not in {"Tus-Resumable", "Content-Type"}]
        reply = answer if isinstance(answer, str) else f"{answer.status} {answer.reason} offset {answer.offset}"
        if isinstance(answer, Answer):
            self.answers[f"{request.method} {answer.status} {answer.reason}"] += 1
        self.log.append(f"{project} {request.method} {request.path} {headers} body {len(request.body)} -> {reply}")

    @contextlib.contextmanager
    def apart(self) -> Iterator[Line]:
        """Give a new connection."""
        line = Line(self.service.port)
        try:
            yield line
        finally:
            line.close()

    def await_begun(self, begun: int) -> None:
        """Return when the service has begun so many requests."""
        self._await(lambda: self.panel.begun >= begun, "a request was not begun")

    def await_idle(self) -> None:
        """Return when no request runs."""
        self._await(lambda: self.panel.running == 0, "a request has not ended")

    def await_file(self, path: Path, there: bool) -> None:
        """Return when there is such a file, or none."""
        self._await(lambda: path.exists() is there, f"{path.name} should {'' if there else 'not '}be there")

    def begin(self) -> None:
        """Start the service, unless it runs."""
        if not self._runs:
            self.service.start()
            self._runs = True

    def end(self, gracefully: bool) -> None:
        self._await_heartbeat()
        self._runs = False
        status = self.service.stop() if gracefully else 0
        self.service.kill()
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        assert not status, "a stop that was asked for is a success"

    def _await_heartbeat(self) -> None:
        """Return when the service has recorded the time: the time until its next start does not count."""
        if self._counted == self.panel.ahead:
            return
        with contextlib.closing(sqlite3.connect(self.service.directory / "catalog.sqlite")) as catalog:
            due = self.panel.now() - 60
            beats = "SELECT count(*) FROM instances WHERE seen_at >= ?"
            self._await(lambda: catalog.execute(beats, [due]).fetchone()[0] > 0, "the service has no heartbeat")
        self._counted = self.panel.ahead

    def files(self) -> set[str]:
        """Return the names of all files of images and on scratch."""
        return {each.name for directory in (self.images, self.scratch) for each in directory.iterdir()}

    def _await(self, true: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.0002)
