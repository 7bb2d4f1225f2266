"""Picked to active: the time from the choice of a file to the image that can be booted."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from resumable_glance.client.plan import FIRST_CHUNK, SUCCESSES
from tests.bench.contest import Contest, Goal, LeftOut, Measure, in_turn
from tests.bench.link import RATE, slow_link
from tests.bench.sender import Piece, Sender, piece, sending
from tests.bench.servers import MIB
from tests.reliability.trial import Missing
from tests.support import images
from tests.support.cloud import DEMO, Cloud, start
from tests.support.cloud.cache import make_once
from tests.support.raw import Line, Request
from tests.support.service import Service, beside
from tests.support.wire import RAW, Client

ROUNDS, ROUNDS_OF_LARGE = 3, 2
CHUNK = 64 * MIB  # bytes; the first chunks are smaller, as our client's: Glance gets the first byte earlier
STREAMS = 3  # at once, as our client's
DATA, HOLE = 16 * MIB, 64 * MIB  # bytes, in turn: four fifths are zeros
OURS, WITH_CLIENT, DIRECT = "ours", "ours, with its client", "Glance's own PUT"
LONGEST = 1800  # seconds
TOKEN_CACHE = 300  # seconds: Glance's default; the tests disable the cache
POLL = 0.1  # seconds: questions that are more frequent cost a part of what is measured
RANDOM, ZEROS = "random", "80 % zeros"


@dataclass(frozen=True, slots=True)
class Took:
    """The seconds from the choice to active, to the first byte, and from the last byte to active."""

    whole: float
    start: float | None = None
    finish: float | None = None


def loopback(quick: bool) -> Iterator[Measure | LeftOut]:
    with _cloud() as (cloud, service), sending() as sender:
        where = Race(cloud, service, sender, ())
        if quick:
            yield from race(where, 64 * MIB, 1, with_client=False)
            return
        yield from race(where, 1024 * MIB, ROUNDS, with_client=True)
        yield from race(where, 4096 * MIB, ROUNDS_OF_LARGE, with_client=False)


def over_a_link(quick: bool) -> Iterator[Measure | LeftOut]:
    try:
        with slow_link() as within, _cloud() as (cloud, service), sending(within) as sender:
            size, rounds = (64 * MIB, 1) if quick else (1024 * MIB, ROUNDS)
            yield from race(Race(cloud, service, sender, within), size, rounds, with_client=False)
    except Missing as lack:
        yield LeftOut("everybody", str(lack))


@contextlib.contextmanager
def _cloud() -> Iterator[tuple[Cloud, Service]]:
    """Give a real Keystone and Glance, with our service in front."""
    with tempfile.TemporaryDirectory() as directory:
        cloud = start(directory=Path(directory) / "cloud", token_lifetime=24 * 3600, token_cache_time=TOKEN_CACHE)
        with cloud, beside(cloud, Path(directory) / "service") as service:
            yield cloud, service


@dataclass(frozen=True, slots=True)
class Race:
    """The place of a race; `within` is the command that runs the sender on its side of a link."""

    cloud: Cloud
    service: Service
    sender: Sender
    within: Sequence[str]


def race(where: Race, size: int, rounds: int, *, with_client: bool) -> Iterator[Measure]:
    ways: dict[str, Callable[[Race, Path], Took]] = {OURS: ours, DIRECT: direct}
    if with_client:
        ways[WITH_CLIENT] = by_command
    many = f"{size // (1024 * MIB)} GiB" if size >= 1024 * MIB else f"{size // MIB} MiB"
    for way in (ours, direct):
        way(where, images.raw_disk(8 * MIB))  # for late imports and connections
    for kind, file in ((RANDOM, images.raw_disk(size)), (ZEROS, sparse_disk(size))):
        pieces_of(file)  # computes the digests before the clock starts
        for who in in_turn(rounds, list(ways)):
            took = ways[who](where, file)
            yield Measure(f"{many} {kind}", who, took.whole, "s")
            for what, part in (("choice to first byte", took.start), ("last byte to active", took.finish)):
                if part is not None:
                    yield Measure(f"{many} {kind}: {what}", who, part, "s")
            os.sync()


def ours(where: Race, file: Path) -> Took:
    """Create an upload, send three chunks at a time with their md5, declare zeros, and ask until it is active."""
    client = Client(where.service.url, {"X-Auth-Token": where.cloud.token(DEMO)})
    began = time.monotonic()
    url = client.created(file.stat().st_size)
    requests_ = [_ours(url, client, file, each) for each in pieces_of(file)]
    streams = [requests_[number::STREAMS] for number in range(min(STREAMS, len(requests_)))]
    sent = where.sender.send(where.service.port, file, streams)
    ended = _active(where.service.port, Request("HEAD", urlsplit(url).path, tuple(client.headers.items())), began)
    _delete_image(where.cloud, client.show(url)["image"]["id"])
    return Took(ended - began, sent.began - began, ended - sent.sent)


def _active(port: int, question: Request, began: float) -> float:
    """Ask, at little cost, until an upload is active; return the seconds since `began`."""
    line = Line(port)
    while True:
        line.send(question.wire())
        state = line.answer(question.method).headers["upload-state"]
        if state == "active":
            line.close()
            return time.monotonic()
        if state == "failed" or time.monotonic() > began + LONGEST:
            raise RuntimeError(f"the upload is {state}")
        time.sleep(POLL)


def direct(where: Race, file: Path) -> Took:
    """Make the image and send the whole file to Glance, as Horizon's direct mode does."""
    token = {"X-Auth-Token": where.cloud.token(DEMO)}
    began = time.monotonic()
    answer = requests.post(f"{where.cloud.image_url}/v2/images", json=RAW, headers=token, timeout=60)
    answer.raise_for_status()
    image_id = answer.json()["id"]
    headers = {**token, "Content-Type": "application/octet-stream"}
    whole = piece("PUT", f"/v2/images/{image_id}/file", headers, 0, file.stat().st_size)
    sent = where.sender.send(int(where.cloud.image_url.rpartition(":")[2]), file, [[whole]])
    ended = time.monotonic()
    _delete_image(where.cloud, image_id)
    return Took(ended - began, sent.began - began, sent.ended - sent.sent)


def by_command(where: Race, file: Path) -> Took:
    """Run the command of a user, which starts, hashes the file, uploads it, and verifies the image."""
    with tempfile.TemporaryDirectory() as state:
        command = [*where.within, sys.executable, "-m", "resumable_glance", "upload", str(file), "--no-progress"]
        command += ["--service-url", where.service.url, "--disk-format", "raw"]
        variables = {**os.environ, **where.cloud.environment(DEMO), "XDG_STATE_HOME": state}
        began = time.monotonic()
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        took = Took(time.monotonic() - began)
    if done.returncode:
        raise RuntimeError(f"the command fails: {done.stderr}")
    proof = dict(each.partition("=")[::2] for each in done.stdout.split())
    _delete_image(where.cloud, proof["image"])
    return took


@dataclass(frozen=True, slots=True)
class Part:
    """A range of a file: zeros, or bytes with this md5 (base64)."""

    start: int
    stop: int
    md5: str | None


@cache
def pieces_of(file: Path) -> tuple[Part, ...]:
    """Return the file as chunks and runs of zeros, which are its holes."""
    found, size = [], file.stat().st_size
    with file.open("rb") as source:
        position = 0
        while position < size:
            data = _seek(source.fileno(), position, size)
            if data > position:
                found.append(Part(position, data, None))
            position = data
            hole = os.lseek(source.fileno(), position, os.SEEK_HOLE) if position < size else size
            while position < hole:
                stop = min(hole, position + min(CHUNK, FIRST_CHUNK << len(found) // SUCCESSES))
                source.seek(position)
                digest = hashlib.md5(source.read(stop - position), usedforsecurity=False).digest()
                found.append(Part(position, stop, base64.b64encode(digest).decode()))
                position = stop
    return tuple(found)


def _seek(descriptor: int, position: int, size: int) -> int:
    try:
        return min(size, os.lseek(descriptor, position, os.SEEK_DATA))
    except OSError:  # only a hole is left
        return size


def _ours(url: str, client: Client, file: Path, part: Part) -> Piece:
    headers = {**client.headers, "Content-Range": f"bytes {part.start}-{part.stop - 1}/{file.stat().st_size}"}
    if part.md5 is None:
        headers["Content-Type"] = "application/vnd.resumable-glance.zeros"
        return piece("PATCH", urlsplit(url).path, headers)
    return piece("PATCH", urlsplit(url).path, {**headers, "Content-MD5": part.md5}, part.start, part.stop - part.start)


def sparse_disk(size: int) -> Path:
    """Make a file of `size` bytes of which four fifths are holes."""

    def write(path: Path) -> None:
        with path.open("wb") as disk, images.raw_disk(64 * MIB).open("rb") as source:
            for start in range(0, size, DATA + HOLE):
                source.seek(start // (DATA + HOLE) % 3 * DATA)
                disk.seek(start)
                disk.write(source.read(min(DATA, size - start)))
            disk.truncate(size)

    return make_once(images.IMAGES / f"sparse-{size}.raw", write)


def _delete_image(cloud: Cloud, image_id: str) -> None:
    glance: Any = cloud.glance(DEMO)
    glance.images.delete(image_id)


_TEXT = f"""\
The time from the choice of a file to the image that is `active` in a real Glance (under uWSGI, with its file store).
*Ours* is our service in front of it: {STREAMS} chunks at a time, of 8 MiB at first and 64 MiB later, each with its md5;
zeros are declared, not sent. *{DIRECT}* is what Horizon's direct mode does: one request to Glance, without a digest,
which can't be resumed after a cut. Both use the same sender, which costs nearly nothing. *{WITH_CLIENT}* is the command
`resumable-glance upload`: with its start, its md5 and sha512 of the file, and the comparison at the end."""
LOOPBACK = Contest(
    name="active",
    title="Picked to active",
    text=_TEXT,
    run=loopback,
    base=DIRECT,
    goals=(
        Goal("Random data: ours to Glance's own PUT", ". GiB random", OURS, "ratio", "at most", 1.05, (DIRECT,)),
        Goal("Last byte to active: seconds more than Glance's own finish", ". GiB random: last byte to active", OURS,
             "difference", "at most", 1.5, (DIRECT,)),
    ),
)  # fmt: skip
LINK = Contest(
    name="link",
    title="Picked to active over a slow link",
    text=f"The same, with {RATE // 10**6} Mbit/s between the sender and everything else: a network namespace behind a "
    "pair of virtual interfaces with a token bucket filter (`tc ... tbf`).",
    run=over_a_link,
    base=DIRECT,
    goals=(
        Goal("Random data: ours to Glance's own PUT", ". GiB random", OURS, "ratio", "at most", 1.05, (DIRECT,)),
        Goal("80 % zeros: ours to Glance's own PUT", ". GiB 80 % zeros", OURS, "ratio", "at most", 0.4, (DIRECT,)),
        Goal("Last byte to active: seconds more than Glance's own finish", ". GiB random: last byte to active", OURS,
             "difference", "at most", 1.5, (DIRECT,)),
    ),
)  # fmt: skip
