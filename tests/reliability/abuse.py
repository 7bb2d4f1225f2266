"""Strangers who do the worst that they may, while a member uploads and somebody asks for the service's health.

Strangers have no token, or made-up ones, and come from addresses of their own. They connect again as soon as they are
refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import resource
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import requests

from tests.reliability.slow import FILES
from tests.reliability.trial import Result, Trial, run_as_program
from tests.support.cloud import DEMO, start
from tests.support.service import beside
from tests.support.wire import RAW, Client

MIB = 1024 * 1024
CROWD = 1_000  # strangers for which the limits are promised
SLOWER = 2  # times that a member's chunk may take longer
LATENCY = 0.25  # seconds for an answer about health
CHUNKS = 60  # chunks of a MiB that are measured, without and with strangers
QUESTION = 0.05  # seconds from one question about health to the next
SETTLED = 3.0  # seconds in which all strangers have arrived
PATIENCE = 30.0  # seconds that a stranger waits for an answer

Stranger = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = b'{"size": 1, "image": {"tags": [' + b'1, "a", [1], {"a": 1}, ' * 2500 + b"1]}}"


def head(method: str, path: str, *lines: str, length: int = 0) -> bytes:
    length_line = [f"Content-Length: {length}"] if length else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: uploads", *lines, *length_line, "", ""]).encode()


async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Describe an upload, as oddly as 64 KiB allow, without a token."""
    writer.write(head("POST", "/v1/uploads", "Content-Type: application/json", length=len(BODY)) + BODY)
    await reader.read(1)


async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a made-up token."""
    writer.write(head("GET", "/v1/uploads", f"X-Auth-Token: gAAAAA{secrets.token_urlsafe(120)}"))
    await reader.read(1)


async def forger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send made-up tickets, one after the other on one connection."""
    for _ in range(20):
        ticket = secrets.token_urlsafe(300)
        writer.write(head("HEAD", f"/v1/uploads/a-{'0' * 32}", f"Authorization: Bearer {ticket}"))
        await reader.readuntil(b"\r\n\r\n")


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send nothing."""
    await reader.read(1)


async def dribbler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a head, a byte a second."""
    for byte in head("GET", "/v1/uploads", "X-Long: " + "x" * 100):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def withholder(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announce a body that never comes."""
    writer.write(head("PATCH", f"/v1/uploads/a-{'0' * 32}", length=MIB))
    await reader.read(1)
    await reader.read()


KINDS: tuple[Stranger, ...] = (nobody, impostor, forger, silent, dribbler, withholder)


def run(count: int, seed: int) -> Result:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES), most))  # inherited by the service
    with (
        tempfile.TemporaryDirectory() as directory,
        start() as cloud,
        beside(cloud, Path(directory), public_endpoint="http://127.0.0.1") as service,
    ):
        member = Client(service.url, {"X-Auth-Token": cloud.token(DEMO)})
        alone, _ = measured(member, service.url)
        with strangers(service.port, count, seed):
            crowded, health = measured(member, service.url)
    usual, chunk, late = statistics.median(alone), statistics.median(crowded), statistics.quantiles(health, n=100)[98]
    slower = chunk / usual
    sentence = (
        f"beside {count:,} strangers a member's chunk of 1 MiB took {chunk * 1000:.0f} ms (median; alone "
        f"{usual * 1000:.0f} ms), and health was answered in {late * 1000:.0f} ms (p99 of {len(health)})"
    )
    assert count < CROWD or (slower <= SLOWER and late <= LATENCY), sentence
    return Result(sentence, {"strangers": count, "slower": slower, "health_p99_seconds": late})


def measured(member: Client, url: str) -> tuple[list[float], list[float]]:
    """Return the seconds of a member's chunks, and of questions about health on new connections in between."""
    upload = f"{url}/v1/uploads/{member.created(CHUNKS * MIB, image=RAW).rpartition('/')[2]}"
    content = secrets.token_bytes(MIB)
    chunks, health = list[float](), list[float]()
    for start_ in range(0, CHUNKS * MIB, MIB):
        range_ = {"Content-Range": f"bytes {start_}-{start_ + MIB - 1}/{CHUNKS * MIB}"}
        began = time.monotonic()
        answer = member.request("PATCH", upload, headers=range_, data=content)
        chunks.append(time.monotonic() - began)
        assert answer.status_code == 204, answer.text
        began = time.monotonic()
        assert requests.get(f"{url}/healthcheck", timeout=PATIENCE).status_code == 200
        health.append(time.monotonic() - began)
        time.sleep(QUESTION)
    return chunks, health


@contextlib.contextmanager
def strangers(port: int, count: int, seed: int) -> Iterator[None]:
    """Let strangers of all kinds do their worst from another process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=crowd, args=(port, count, seed, theirs), daemon=True)
    process.start()
    ours.recv()  # they have begun
    time.sleep(SETTLED)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def crowd(port: int, count: int, seed: int, pipe: Connection) -> None:
    asyncio.run(everybody(port, count, random.Random(seed), pipe))


async def everybody(port: int, count: int, chance: random.Random, pipe: Connection) -> None:
    tasks = [asyncio.create_task(stranger(port, KINDS[each % len(KINDS)], chance)) for each in range(count)]
    pipe.send(None)
    await asyncio.gather(*tasks)


async def stranger(port: int, act: Stranger, chance: random.Random) -> None:
    """Do the same again and again, from one address."""
    address = f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
    await asyncio.sleep(chance.random())
    while True:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            with contextlib.closing(writer):
                async with asyncio.timeout(PATIENCE):
                    await act(reader, writer)
        await asyncio.sleep(0.001)


TRIAL = Trial(
    name="abuse",
    promise="A thousand strangers delay no member's chunk by more than its own time, and no answer about health.",
    unit="strangers",
    share=60,
    full=CROWD,
    deep=CROWD,
    run=run,
    alone=True,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
