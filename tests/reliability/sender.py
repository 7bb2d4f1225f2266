"""A client that never gives up: it asks for its upload's state, in any protocol, and goes on from there."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.reliability.model import ranges
from tests.reliability.protocols import NATIVE, RUFH, Chunk, WireProtocol, digest
from tests.support.raw import Answer, Line, Request

PATIENCE = 60  # seconds for an image to become active, and for a service that is down or refuses for now
COME_BACK = {503, 507}
AHEAD = {"wrong-offset", "superseded", "upload-sealed"}  # refusals after which the client asks for the state
Ranges = list[tuple[int, int]]


class Sender:
    """The client of one upload. AssertionError if bytes that were acknowledged are not durable any more.

    `hurry` caps Retry-After, in seconds. `refused` counts the answers with it, and the connections that broke.
    """

    def __init__(
        self, port: int, images: Path, content: bytes, headers: Mapping[str, str] | None = None, hurry: float = PATIENCE
    ) -> None:
        self.content = content
        self.id = ""
        self.durable: Ranges = []  # acknowledged
        self.refused: Counter[str] = Counter()
        self.patience = PATIENCE  # seconds
        self._port = port
        self._images = images
        self._headers = headers or {}
        self._hurry = hurry

    def __repr__(self) -> str:
        return f"{self.id} of {len(self.content)} bytes, of which {self.durable} are known to be durable"

    @property
    def missing(self) -> Ranges:
        return gaps(self.durable, len(self.content))

    @property
    def offset(self) -> int:
        return self.missing[0][0] if self.missing else len(self.content)

    def ask(self, request: Request) -> Answer:
        """Return the answer to a request, which is repeated until there is one without Retry-After."""
        began = time.monotonic()
        while (answer := self._once(request)) is None or answer.status in COME_BACK:
            waited = time.monotonic() - began
            assert waited < self.patience, f"{self}: {request.method} {request.path} is answered with {answer}"
        return answer

    def _once(self, request: Request) -> Answer | None:
        """Return the answer to a request over a new connection, or None; after it, or Retry-After, wait."""
        try:
            line = Line(self._port)
            try:
                line.try_to_send(request.plus(self._headers).wire())
                answer = line.answer(request.method)
            finally:
                line.close()
        except OSError as problem:
            self.refused[type(problem).__name__] += 1
            time.sleep(0.1)
            return None
        if answer.status in COME_BACK:
            seconds = answer.number("retry-after")
            assert seconds is not None, f"{self} is not told when to come back: {answer}"
            self.refused[str(answer.status)] += 1
            time.sleep(min(seconds, self._hurry))
        return answer

    def create(self, protocol: WireProtocol) -> None:
        answer = self.ask(protocol.create(len(self.content)))
        assert answer.status == 201, f"a new upload is refused: {answer} {answer.document}"
        self.id = answer.created

    def locate(self, protocol: WireProtocol) -> None:
        """Ask for the upload's state. In a protocol that sends in order, this evicts a request that still runs."""
        answer = self.ask(protocol.inspect(self.id))
        assert answer.status < 300, f"{self} is asked for in {protocol}: {answer} {answer.document}"
        durable = ranges(answer.document["ranges"]) if protocol is NATIVE else [(0, answer.offset or 0)]
        known = self.durable if protocol is NATIVE else [(0, self.offset)]
        assert together([*durable, *known]) == together(durable), f"{self}, and now {protocol} reports only {durable}"
        self.durable = together([*self.durable, *durable])

    def chunk(self, protocol: WireProtocol, chance: random.Random, most: int, declares: float = 0.3) -> Chunk:
        """Return a chunk of missing bytes, `most` at most, in the order of the protocol."""
        size, (start, stop) = len(self.content), self.missing[0]
        if not protocol.in_order:
            start, stop = chance.choice(self.missing)
            start = chance.choice([start, start, chance.randrange(start, stop)])
        stop = min(start + most, size if protocol.in_order else stop)
        body = self.content[start:stop]
        algorithm = chance.choice(protocol.algorithms)
        declared = ((algorithm, digest(algorithm, body)),) if chance.random() < declares else ()
        total = size if not protocol.in_order or chance.random() < 0.5 else None
        last = stop == size if protocol is RUFH else None
        return Chunk(start, stop, body, declared, chance.random() < 0.2, total, protocol.in_order, last)

    def request(self, protocol: WireProtocol, chunk: Chunk) -> Request:
        return protocol.append(self.id, chunk).plus(self._headers)

    def send(self, protocol: WireProtocol, chunk: Chunk) -> None:
        """Send a chunk once, and record whether it is acknowledged."""
        answer = self._once(protocol.append(self.id, chunk))
        if answer is None or answer.status in COME_BACK:
            return
        if answer.status < 300:
            self.durable = together([*self.durable, (chunk.start, chunk.stop)])
        else:
            assert answer.reason in AHEAD, f"{self}: {answer} {answer.document} to {chunk}"

    def go_on(self, protocol: WireProtocol, chance: random.Random, most: int) -> None:
        """Ask for the upload's state, and send a chunk of missing bytes."""
        self.locate(protocol)
        if self.missing:
            self.send(protocol, self.chunk(protocol, chance, most))

    def lost(self, chunk: Chunk, carried: int) -> int:
        """Return how many of the first `carried` bytes of a chunk are missing."""
        stop = chunk.start + carried
        return sum(max(0, min(end, stop) - max(start, chunk.start)) for start, end in self.missing)

    def finish(self) -> None:
        """Wait until the image is active, compare it with the file, and delete its bytes."""
        began = time.monotonic()
        while (state := (upload := self._described())["state"]) != "active":
            assert state in {"sealed", "delivering", "verifying"}, f"{self} is {state}: {upload['handoff']}"
            assert time.monotonic() - began < self.patience, f"{self} is still {state}"
            time.sleep(0.005)
        image = self._images / upload["image"]["id"]
        assert image.read_bytes() == self.content, f"the image {image.name} is not the file of {self}"
        image.unlink()

    def _described(self) -> Any:
        answer = self.ask(NATIVE.inspect(self.id))
        assert answer.status == 200, f"{self} can't be asked for: {answer} {answer.document}"
        return answer.document


def gaps(durable: Ranges, size: int) -> Ranges:
    """Return the ranges of `size` bytes that are not durable."""
    edges = [0, *(edge for each in durable for edge in each), size]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]


def together(parts: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same bytes as ranges in order that do not touch."""
    found: Ranges = []
    for start, stop in sorted(each for each in parts if each[0] < each[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found
