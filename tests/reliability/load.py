"""Clients that upload at the same time to a service that is killed again and again, and resume.

Whatever an answer acknowledged must hold for ever.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from resumable_glance.runtime.durable import sync_directory
from tests.reliability.acknowledged import AcknowledgedUpload
from tests.reliability.protocols import NATIVE, PROTOCOLS, RUFH, Chunk, digest
from tests.reliability.quick import QuickService
from tests.support import images, process
from tests.support.launcher import panel_of, token
from tests.support.raw import Answer, Line, Request

AT_ONCE = 4
SIZES = (64 * 1024, 256 * 1024)  # bytes of an upload
LONGEST_CHUNK = 96 * 1024  # bytes
MOST_ANSWERS = 30  # to all clients, in one life of the service
MOMENT = 0.02  # seconds
PATIENCE = 15  # seconds, for what the service does on its own
LOST_CREATION = 2 * 3600  # seconds after which an image without an upload has to be gone
MOVED_ON = {"wrong-offset", "superseded", "upload-sealed"}  # refusals after which a client asks for the state


class Life:
    """One life of the service, from a start to its end.

    `failing`: the disk fails, so requests may too. `dark`: the power is off, so no answer reaches a client.
    """

    def __init__(self, failing: bool = False) -> None:
        self.over = threading.Event()
        self.failing = failing
        self.dark = False


class Client:
    """Uploads one file after the other, for the whole trial, in one thread at a time.

    `defects`: a handoff may fail with internal-error, which is what the service makes of a failing disk.
    """

    def __init__(self, port: int, chance: random.Random, defects: bool = False) -> None:
        self.upload: AcknowledgedUpload | None = None
        self.finished: list[AcknowledgedUpload] = []  # active, and not checked yet
        self.acknowledgements = 0  # answers that acknowledged bytes
        self._port = port
        self._defects = defects
        self._chance = chance
        self._line: Line | None = None
        self._life = Life()
        self._unsure = False  # of the upload's state

    def work(self, life: Life, more: bool) -> None:
        """Upload until a life is over; without `more`, until the present upload is finished."""
        self._life = life
        while not life.over.is_set() and (more or self.upload is not None):
            try:
                self._step(life)
            except ConnectionError:  # the service is gone, or has closed this connection
                self.hang_up()
        self.hang_up()
        self._life = Life()

    def ask(self, request: Request) -> Answer:
        line = self._line = self._line or Line(self._port)
        line.send(request.plus(token("load")).wire())
        return self._received(line, request)

    def hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line, self._unsure = None, True

    def record(self, upload: AcknowledgedUpload, answer: Answer) -> None:
        upload.record(answer)
        assert self._defects or "internal-error" not in str(answer.document), f"a defect of ours: {answer.document}"
        self.acknowledgements += answer.status < 300

    def _step(self, life: Life) -> None:
        if self.upload is None:
            self._create(life)
        elif self._unsure or not self.upload.missing:
            self._look(self.upload, life)
        else:
            self._append(self.upload, life)

    def _look(self, upload: AcknowledgedUpload, life: Life) -> None:
        answer = self.ask(NATIVE.inspect(upload.id))
        if _excused(answer, life):
            return
        assert answer.status == 200, f"{answer} for {upload}"
        self.record(upload, answer)
        self._unsure = False
        if upload.state == "active":
            self.finished.append(upload)
            self.upload = None
        elif not upload.missing:
            time.sleep(0.001)

    def _create(self, life: Life) -> None:
        protocol = self._chance.choice(PROTOCOLS)
        content = images.noise(self._chance, self._chance.randint(*SIZES))
        first = None
        if protocol.in_order and self._chance.random() < 0.5:
            stop = self._chance.randint(1, len(content) // 2)
            first = Chunk(0, stop, content[:stop], last=False if protocol is RUFH else None)
        answer = self.ask(protocol.create(len(content), first))
        if _excused(answer, life):
            return
        assert answer.status == 201, answer
        self.upload = AcknowledgedUpload(answer.created, protocol, content)
        if first is not None:
            self.upload.acknowledge(first.start, first.stop)
        self.record(self.upload, answer)

    def _append(self, upload: AcknowledgedUpload, life: Life) -> None:
        chunk = self._chunk(upload)
        request = upload.protocol.append(upload.id, chunk)
        between = self._chance.random() < 0.1
        answer = self._asked_between(upload, request, life) if between else self.ask(request)
        if _excused(answer, life):
            self._unsure = True
            return
        if answer.reason in MOVED_ON:
            self._unsure = True
        else:
            assert answer.status in {201, 204}, f"{answer} for {chunk} of {upload}"
            upload.acknowledge(chunk.start, chunk.stop)
        self.record(upload, answer)

    def _asked_between(self, upload: AcknowledgedUpload, request: Request, life: Life) -> Answer:
        """Return the answer to a chunk, in the middle of which the state is asked for over another connection."""
        wire = request.plus(token("load")).wire()
        half = len(wire) - len(request.body) // 2
        line = self._line = self._line or Line(self._port)
        line.send(wire[:half])
        with contextlib.closing(Line(self._port)) as other:
            asked = self._chance.choice((NATIVE, upload.protocol)).inspect(upload.id)
            other.send(asked.plus(token("load")).wire())
            answer = self._answered(other, asked)
        if not _excused(answer, life):
            assert answer.status in {200, 204}, f"{answer} for {upload}"
            self.record(upload, answer)
        line.try_to_send(wire[half:])
        return self._received(line, request)

    def _received(self, line: Line, request: Request) -> Answer:
        answer = self._answered(line, request)
        if line.ends:
            line.close()
            self._line = None
        return answer

    def _answered(self, line: Line, request: Request) -> Answer:
        try:
            answer = line.answer(request.method)
        except TimeoutError:
            raise AssertionError(f"{request} gets no answer") from None
        if self._life.dark:
            raise ConnectionError("the power is off")
        return answer

    def _chunk(self, upload: AcknowledgedUpload) -> Chunk:
        """Return a chunk of missing bytes, perhaps with some that are durable."""
        start, stop = (upload.offset, len(upload.content))
        if not upload.protocol.in_order:
            start, end = self._chance.choice(upload.missing)
            start = self._chance.choice((start, self._chance.randrange(start, end), max(0, start - 1000)))
        stop = min(stop, start + self._chance.randint(1, LONGEST_CHUNK))
        body = upload.content[start:stop]
        algorithm = self._chance.choice(upload.protocol.algorithms)
        declared = ((algorithm, digest(algorithm, body)),) if self._chance.random() < 0.5 else ()
        last = stop == len(upload.content) if upload.protocol is RUFH else None
        total = len(upload.content) if upload.protocol is NATIVE else None
        return Chunk(start, stop, body, declared, total=total, in_order=upload.protocol.in_order, last=last)


class Load:
    """All clients of a service that keeps its data in the directory `state`. All choices come from `seed`."""

    def __init__(self, service: QuickService, state: Path, seed: int, defects: bool = False) -> None:
        self.checked = 0  # uploads whose image was compared
        self.start_takes = 0.0  # seconds until the service answers
        self.clients = [Client(service.port, random.Random(f"{seed}-{each}"), defects) for each in range(AT_ONCE)]
        self._service = service
        self._works: list[Future[None]] = []
        self._images = state / "images"
        self.scratch = state / "scratch" / "uploads"

    @property
    def acknowledgements(self) -> int:
        return sum(each.acknowledgements for each in self.clients)

    @property
    def handing_over(self) -> bool:
        """Whether a client has seen a running handoff."""
        return any(upload.state in {"delivering", "verifying"} for upload in self._unfinished())

    def let_live(self, chance: random.Random) -> None:
        """Return at a random instant, counted in answers and not in seconds: machines differ."""
        goal = self.acknowledgements + chance.randint(0, MOST_ANSWERS)
        self.await_(lambda: self.acknowledgements >= goal)
        time.sleep(chance.random() * MOMENT)

    def await_(self, true: Callable[[], bool]) -> None:
        """Return when `true` returns true, or when a client has failed."""
        deadline = time.monotonic() + PATIENCE
        while not true() and not self.failed and time.monotonic() < deadline:
            time.sleep(0.001)

    @property
    def failed(self) -> bool:
        """Whether a client has failed, or all are done."""
        return any(each.done() for each in self._works)

    @contextlib.contextmanager
    def running(self, failing: bool = False, more: bool = True) -> Iterator[Life]:
        """Let the clients upload; the block should end with a dead service or without `more` uploads."""
        life = Life(failing)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            works = self._works = [threads.submit(each.work, life, more) for each in self.clients]
            try:
                yield life
                if more:
                    life.over.set()
                for each in works:
                    each.result(PATIENCE)
            except TimeoutError:
                raise AssertionError(f"not finished after {PATIENCE} seconds: {self._unfinished()}") from None
            finally:
                life.over.set()

    def kill(self, life: Life) -> None:
        """Kill the service, which ends this life of it."""
        assert not self._service.ended(), f"the service has ended by itself\n{process.tail(self._service.log)}"
        self._service.kill()
        life.over.set()

    def start(self) -> None:
        """Start the service, and check all that it has acknowledged."""
        begun = time.monotonic()
        try:
            self._service.start()
        except RuntimeError as problem:
            raise AssertionError(str(problem)) from problem
        self.start_takes = time.monotonic() - begun
        self.check()
        self._check_finished()

    def check(self) -> None:
        """Check all that was acknowledged, while no client uploads."""
        for client in self.clients:
            for upload in [*client.finished, *([client.upload] if client.upload else [])]:
                self._check(client, upload)
        self._disown(self.clients[0])
        self.clients[0].hang_up()

    def finish(self) -> None:
        """Complete every upload, and assert that nothing else is left anywhere."""
        with self.running(more=False):
            pass
        self._service.kill()
        self.start()
        panel_of(self._service.directory).advance(LOST_CREATION)
        for directory in (self.scratch, self._images):
            _await_empty(directory)

    def _check(self, client: Client, upload: AcknowledgedUpload) -> None:
        asking = self.clients[0]
        answer = asking.ask(NATIVE.inspect(upload.id))
        assert answer.status == 200, f"{answer} for {upload}"
        client.record(upload, answer)
        if upload.state == "active":
            upload.compare_image(self._images)
            return
        try:
            upload.compare_scratch(self.scratch)
        except FileNotFoundError:  # it was delivered meanwhile
            client.record(upload, asking.ask(NATIVE.inspect(upload.id)))
            assert upload.state == "active", f"scratch of {upload} is gone"
            upload.compare_image(self._images)

    def _check_finished(self) -> None:
        """Assert that scratch of active uploads is freed. Delete their images, which must not come back."""
        for client in self.clients:
            for upload in client.finished:
                assert not (self.scratch / f"{upload.id}.upload").exists(), f"scratch of {upload} is still there"
                for suffix in ("", ".json"):
                    (self._images / f"{upload.image_id}{suffix}").unlink()
                self.checked += 1
            client.finished.clear()
        sync_directory(self._images)

    def _disown(self, asking: Client) -> None:
        """Cancel the uploads whose creation was not answered: no client knows their addresses."""
        known = {each.upload.id for each in self.clients if each.upload}
        for each in asking.ask(NATIVE.list_uploads("?limit=50")).document["uploads"]:
            if each["id"] not in known and each["state"] not in {"cancelled", "active"}:
                assert asking.ask(NATIVE.cancel(each["id"])).status == 204, each

    def _unfinished(self) -> list[AcknowledgedUpload]:
        return [each.upload for each in self.clients if each.upload]


def _excused(answer: Answer, life: Life) -> bool:
    """Return whether a request failed because the disk does. (In tus such a HEAD gets 423.)"""
    return life.failing and (answer.status >= 500 or answer.status == 423)


def _await_empty(directory: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := sorted(each.name for each in directory.iterdir()):
        assert time.monotonic() < deadline, f"left in {directory}: {left}"
        time.sleep(0.05)
