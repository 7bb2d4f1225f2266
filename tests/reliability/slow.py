"""A thousand clients that send a kibibyte a second, half of them with a digest, while somebody else asks questions.

They come one after the other, a hundred in a second. Nobody of them fails, memory stays small, and who asks is answered
soon. The one who asks does it from a process of its own, so that what it waits for is the service and not the crowd.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.memory import Watch
from tests.reliability.protocols import NATIVE, Chunk, digest
from tests.reliability.sender import Sender
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support import images
from tests.support.raw import Line, Request
from tests.support.service import UNLIMITED, development

KIB, MIB = 1024, 1024 * 1024
CROWD = 1_000  # clients for whom the limits are promised
MEMORY = 64 * MIB  # bytes for so many clients
BASE = 16 * MIB  # bytes that fewer clients may take, beside their share of the above
LATENCY = 0.25  # seconds
QUESTION = 0.02  # seconds from one to the next
ARRIVALS = 100  # clients in a second
FILES = 60_000  # that may be open at once, as docs/operations.md says


@dataclass(frozen=True)
class Seen:
    """What slow clients took: bytes of memory, and the seconds of somebody else's questions."""

    clients: int
    grown: int
    asked: Sequence[float]

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.asked, n=100)[98]

    @property
    def numbers(self) -> dict[str, float]:
        return {"clients": self.clients, "grown_bytes": self.grown, "head_p99_seconds": self.p99,
                "heads": len(self.asked)}  # fmt: skip


def run(count: int, seed: int) -> Result:
    seen = measured(count, seed)
    allowed = MEMORY * count // CROWD if count >= CROWD else BASE + MEMORY * count // CROWD
    assert seen.grown <= allowed, (
        f"{count} slow clients took {seen.grown / MIB:.1f} MiB, and may take {allowed / MIB:.1f}"
    )
    assert seen.p99 <= LATENCY or count < CROWD, (
        f"of {len(seen.asked)} questions the 99th of 100 took {seen.p99:.3f} s, the median "
        f"{statistics.median(seen.asked):.3f} s"
    )
    return Result(
        f"{count:,} slow clients at 1 KiB/s, half of them with a digest: none failed, all images are right; the "
        f"service took {seen.grown / MIB:.1f} MiB more memory; a HEAD of somebody else took {seen.p99 * 1000:.0f} ms "
        f"(p99 of {len(seen.asked):,})",
        seen.numbers,
    )


def measured(count: int, seed: int) -> Seen:
    """What the clients took, each of whom got its image. AssertionError if one did not."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES), most))  # what the service starts with, too
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory, development(Path(directory), UNLIMITED) as service:
        images = service.directory / "images"
        senders = [Sender(service.port, images, file(count, chance)) for _ in range(count + 1)]
        for each in senders:
            each.create(NATIVE)
        aside = senders.pop()
        aside.send(NATIVE, Chunk(0, len(aside.content) - 1, aside.content[:-1], total=len(aside.content)))
        before, watch = service.memory(), Watch(service)
        try:
            with bystander(service.port, f"/v1/uploads/{aside.id}") as asked:
                problems = asyncio.run(crowd(service.port, senders, chance))
        finally:
            grown = watch.end() - before
        assert not problems, f"{len(problems)} of {count} slow clients failed: {problems[:5]}"
        for each in senders:
            each.patience = max(each.patience, count)  # two at a time are handed over
            each.finish()
    return Seen(count, grown, asked)


def file(count: int, chance: random.Random) -> bytes:
    """So long that there is a time when all clients are there; a share does not take that long."""
    arrivals = count // ARRIVALS  # seconds
    shortest, longest = (arrivals + 20, arrivals + 50) if count >= CROWD else (2, 4)
    return images.noise(chance, chance.randrange(shortest * KIB, longest * KIB))


async def crowd(port: int, senders: list[Sender], chance: random.Random) -> list[str]:
    """What went wrong, by client."""
    delays = [chance.random() * len(senders) / ARRIVALS for _ in senders]
    slow = [send(port, *each) for each in zip(senders, delays, [i % 2 == 0 for i in range(len(senders))], strict=True)]
    return [each for each in await asyncio.gather(*slow) if each]


async def send(port: int, sender: Sender, delay: float, declares: bool) -> str:
    """Send a whole file as one chunk, a kibibyte a second; what went wrong, or nothing."""
    content = sender.content
    declared = (("md5", digest("md5", content)),) if declares else ()
    wire = sender.request(NATIVE, Chunk(0, len(content), content, declared, total=len(content))).wire()
    await asyncio.sleep(delay)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            writer.write(wire[: -len(content)])
            for start in range(0, len(content), KIB):
                writer.write(content[start : start + KIB])
                await writer.drain()
                if start + KIB < len(content):
                    await asyncio.sleep(1)
            answer = await asyncio.wait_for(reader.readline(), 60)
    except (OSError, TimeoutError) as problem:
        return f"{sender}: {problem!r}"
    return "" if answer.split()[1:2] == [b"204"] else f"{sender} is answered with {answer!r}"


@contextlib.contextmanager
def bystander(port: int, path: str) -> Iterator[list[float]]:
    """Inside, somebody asks all the time; the seconds that each answer took are there afterwards."""
    asked: list[float] = []
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=ask, args=(port, path, theirs), daemon=True)
    process.start()
    ours.recv()  # it has begun
    try:
        yield asked
    finally:
        ours.send(None)
        asked += ours.recv()
        process.join()


def ask(port: int, path: str, told: Connection) -> None:
    """Ask until somebody says something; then tell how long it took each time."""
    line, seconds = Line(port), list[float]()
    told.send(None)
    while not told.poll(QUESTION):
        began = time.monotonic()
        line.send(Request("HEAD", path).wire())
        assert line.answer("HEAD").status == 200
        seconds.append(time.monotonic() - began)
    line.close()
    told.send(seconds)


TRIAL = Trial(
    name="slow",
    promise="A thousand slow clients fail nothing, take little memory, and keep nobody else waiting.",
    unit="slow clients",
    share=100,
    full=CROWD,
    deep=5 * CROWD,
    run=run,
    sabotages=(
        Sabotage(
            "who sends nothing for half a second is given up",
            "api/endpoint.py",
            "RequestBody(receiver, settings.idle_timeout, settings.min_rate)",
            "RequestBody(receiver, 0.5, settings.min_rate)",
            count=20,
        ),
        Sabotage(
            "a chunk takes a megabyte of memory while it comes",
            "uploads/chunk_writer.py",
            "        self._uncommitted = 0  # bytes\n",
            "        self._uncommitted = 0\n        self._spare = bytearray(b'x' * BATCH)\n",
            count=50,
        ),
        Sabotage(
            "a slow body is waited for as if it were a fast one",
            "api/endpoint.py",
            "RequestBody(receiver, settings.idle_timeout, settings.min_rate)",
            "RequestBody(receiver, 1.5, 1e6)",
            count=20,
        ),
    ),
    alone=True,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
