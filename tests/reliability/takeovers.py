"""Requests that stall for ever: the next request gets the true offset at once, and late bytes never land."""

from __future__ import annotations

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.protocols import NATIVE, PROTOCOLS, Chunk, WireProtocol, digest
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support import images
from tests.support.raw import Answer, Line, Request
from tests.support.service import UNLIMITED, Service, development

SIZE = 256 * 1024  # bytes of an upload
AT_ONCE = 0.1  # seconds: the most that a takeover may take, where it is measured
PATIENCE = 30  # seconds for a handoff
TAKEN_OVER = {"superseded", "upload-sealed"}  # sealed, if the newer request brought the last byte
MEASURED = 100  # takeovers that a 99th percentile takes


def run(count: int, seed: int) -> Result:
    chance = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as directory,
        development(Path(directory), UNLIMITED, idle_timeout=3600) as service,
    ):
        seconds = sorted(taken_over(service, chance) for _ in range(count))
    median, slow = statistics.median(seconds), seconds[int(0.99 * (count - 1))]
    if count >= MEASURED:
        assert slow < AT_ONCE, f"1 of 100 takeovers took {slow * 1000:.0f} ms or more"
    return Result(
        f"{count:,} requests that stalled were taken over in {median * 1000:.1f} ms (median), 99 of 100 in "
        f"{slow * 1000:.0f} ms, with nothing lost and no late byte kept",
        {"takeovers": count, "median_seconds": median, "p99_seconds": slow},
    )


def taken_over(service: Service, chance: random.Random) -> float:
    """Stall in a chunk, take over, and finish; return the seconds from the newer request to its answer."""
    protocol: WireProtocol = chance.choice(PROTOCOLS)
    content = images.noise(chance, SIZE)
    with line(service) as new, line(service) as old:
        upload = asked(new, protocol.create(SIZE)).created
        declared = (("md5", digest("md5", content)),) if chance.random() < 0.3 else ()
        stalled = protocol.append(upload, Chunk(0, SIZE, content, declared, total=SIZE, last=True))
        sent = chance.randrange(SIZE)
        old.send(stalled.wire()[: stalled.head_length() + sent])
        time.sleep(chance.random() * 0.01)  # so that the stalled request is met in each of its phases
        began = time.monotonic()
        if protocol.in_order:
            offset = asked(new, protocol.inspect(upload)).offset
            assert offset is not None
            assert 0 <= offset <= (0 if declared else sent), f"{sent} bytes were sent, and {protocol} was told {offset}"
        else:
            offset = 0  # the same range takes over, and its durable bytes are compared
        rest = protocol.append(upload, Chunk(offset, SIZE, content[offset:], total=SIZE, last=True))
        if not protocol.in_order:
            asked(new, rest)
        seconds = time.monotonic() - began
        too_late(old, bytes(SIZE - sent))
        if protocol.in_order:
            asked(new, rest)
        assert finished(new, upload, service) == content, f"{protocol}: the image is not the file"
    return seconds


def too_late(old: Line, body: bytes) -> None:
    """Send the rest of the older request with other bytes: it is refused."""
    old.try_to_send(body)
    with contextlib.suppress(ConnectionError):  # it may have been answered and closed before
        answer = old.answer("PATCH")
        assert answer.reason in TAKEN_OVER, f"the older request was answered with {answer}"


def asked(new: Line, request: Request) -> Answer:
    new.send(request.wire())
    answer = new.answer(request.method)
    assert answer.status < 300, f"{request.method} {request.path}: {answer.status} {answer.document}"
    return answer


def finished(new: Line, upload: str, service: Service) -> bytes:
    """Return the image, once it is active."""
    deadline = time.monotonic() + PATIENCE
    while (shown := asked(new, NATIVE.inspect(upload)).document)["state"] != "active":
        assert time.monotonic() < deadline, f"{upload} is {shown['state']}"
        time.sleep(0.005)
    return Path(service.directory, "images", shown["image"]["id"]).read_bytes()


@contextlib.contextmanager
def line(service: Service) -> Iterator[Line]:
    made = Line(service.port)
    try:
        yield made
    finally:
        made.close()


TRIAL = Trial(
    name="takeovers",
    promise="A request that has stalled holds nothing: the next one has the true offset in 0.1 seconds, and what the "
    "old one still sends never lands.",
    unit="requests that stall",
    share=50,
    full=500,
    deep=100_000,
    run=run,
    sabotages=(
        Sabotage(
            "an older request of the same range is not ended",
            "uploads/write_locks.py",
            "            await _evict(rivals, Reason.SUPERSEDED)\n",
            "",
            count=200,
        ),
        Sabotage(
            "a question is answered while an older request still writes",
            "uploads/inspect.py",
            "        if get.taking_over and self.locks.held(upload.id):\n",
            "        if False:\n",
            count=50,
        ),
        Sabotage(
            "a superseded chunk with a digest is kept in part",
            "uploads/chunk_writer.py",
            "if refusal.reason in _INTERRUPTIONS and not self._chunk.declared:",
            "if refusal.reason in _INTERRUPTIONS:",
            count=50,
        ),
    ),
    alone=True,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
