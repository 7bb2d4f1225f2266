"""A thousand clients that send a kibibyte a second, half of them with a digest, while another client sends HEADs.

The clients arrive one after the other, a hundred a second. None of them fails, memory stays small, and each HEAD is
answered soon. The HEADs come from a process of their own, which waits for the service and not for the slow clients.
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
CROWD = 1_000  # clients for which the limits are promised
MEMORY = 64 * MIB  # bytes for so many clients
BASE = 16 * MIB  # bytes that fewer clients may take besides their share of MEMORY
LATENCY = 0.25  # seconds
QUESTION = 0.02  # seconds from one HEAD to the next
ARRIVALS = 100  # clients a second
FILES = 60_000  # the limit of open files that docs/operations.md recommends


@dataclass(frozen=True)
class Measured:
    """The cost of slow clients: `grown` bytes of memory, and the seconds of each of the other client's HEADs."""

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
        f"service took {seen.grown / MIB:.1f} MiB more memory; a HEAD of another client took {seen.p99 * 1000:.0f} ms "
        f"(p99 of {len(seen.asked):,})",
        seen.numbers,
    )


def measured(count: int, seed: int) -> Measured:
    """Run the clients and return their cost. AssertionError if one does not get its image."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES), most))  # inherited by the service
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
            each.patience = max(each.patience, count)  # two handoffs run at a time
            each.finish()
    return Measured(count, grown, asked)


def file(count: int, chance: random.Random) -> bytes:
    """Return a file so long that all clients send at the same time at some moment; shorter in a share."""
    arrivals = count // ARRIVALS  # seconds
    shortest, longest = (arrivals + 20, arrivals + 50) if count >= CROWD else (2, 4)
    return images.noise(chance, chance.randrange(shortest * KIB, longest * KIB))


async def crowd(port: int, senders: list[Sender], chance: random.Random) -> list[str]:
    """Run all clients; return a sentence for each that failed."""
    delays = [chance.random() * len(senders) / ARRIVALS for _ in senders]
    slow = [send(port, *each) for each in zip(senders, delays, [i % 2 == 0 for i in range(len(senders))], strict=True)]
    return [each for each in await asyncio.gather(*slow) if each]


async def send(port: int, sender: Sender, delay: float, declares: bool) -> str:
    """Send a whole file as one chunk, a kibibyte a second; return what went wrong, or an empty string."""
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
    """Send HEADs from another process; the list has the seconds of each one after the block."""
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


def ask(port: int, path: str, pipe: Connection) -> None:
    """Send HEADs until the pipe has a message; then send the seconds of each one."""
    line, seconds = Line(port), list[float]()
    pipe.send(None)
    while not pipe.poll(QUESTION):
        began = time.monotonic()
        line.send(Request("HEAD", path).wire())
        assert line.answer("HEAD").status == 200
        seconds.append(time.monotonic() - began)
    line.close()
    pipe.send(seconds)


TRIAL = Trial(
    name="slow",
    promise="A thousand slow clients all succeed, take little memory, and delay no other client.",
    unit="slow clients",
    share=100,
    full=CROWD,
    deep=5 * CROWD,
    run=run,
    sabotages=(
        Sabotage(
            "a client that sends nothing for half a second is disconnected",
            "api/endpoint.py",
            "RequestBody(receiver, settings.idle_timeout, settings.min_rate)",
            "RequestBody(receiver, 0.5, settings.min_rate)",
            count=20,
        ),
        Sabotage(
            "a running chunk takes a mebibyte of memory",
            "uploads/chunk_writer.py",
            "        self._uncommitted = 0  # bytes\n",
            "        self._uncommitted = 0\n        self._spare = bytearray(b'x' * BATCH)\n",
            count=50,
        ),
        Sabotage(
            "slow bodies must be as fast as fast ones",
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
