"""Growth: of unfinished uploads, of the fragments of one upload, and of its size. Times should stay flat."""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from resumable_glance.catalog import engine as database
from resumable_glance.catalog import schema
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.upload import Extent
from tests.bench.contest import Contest, Goal, LeftOut, Measure
from tests.bench.servers import MIB, RECEIVING_ONLY
from tests.reliability.protocols import NATIVE, Chunk
from tests.reliability.startup import RECEIVED, SIZE, STARTS, files, leave, started, unfinished
from tests.support.raw import Answer, Line, Request
from tests.support.service import Service, development

KIB, GIB = 1024, 1024 * MIB
ROUNDS = 5  # each is the median of this many requests:
ASKED = 21
LEAST, ENOUGH = 3, 1.0  # requests, and seconds: slow requests are made less often
UPLOADS = (1, 10, 100, 1_000, 10_000, 100_000)
FRAGMENTS = (1, 10, 100, 1_000, 10_000, 100_000)
SIZES = (1, 2, 4, 8, 16, 32, 64)  # GiB
FRAGMENT = 4 * KIB  # bytes


def uploads(quick: bool) -> Iterator[Measure | LeftOut]:
    for count in UPLOADS[: 2 if quick else None]:
        with tempfile.TemporaryDirectory() as directory:
            yield from among(development(Path(directory), RECEIVING_ONLY), count, random.Random(count))


def among(service: Service, count: int, chance: random.Random) -> Iterator[Measure]:
    """Start with so many uploads, and measure the requests of clients for one of them."""
    known = [unfinished(chance) for _ in range(count)]
    leave(service, known, [])
    for _ in range(STARTS):
        yield Measure(str(count), "start to first answer", started(service) * 1000, "ms")
    missing = iter(chance.sample(range(RECEIVED, SIZE - 1), ROUNDS * ASKED))  # bytes of the first one
    with service:
        yield from asked(service, count, lambda: Request("HEAD", f"/v1/uploads/{chance.choice(known).id}"), "HEAD")
        yield from asked(service, count, lambda: NATIVE.create(SIZE), "create")
        yield from asked(service, count, NATIVE.list_uploads, "list")
        yield from asked(service, count, lambda: one_byte(known[0].id, next(missing), SIZE), "PATCH")


def fragments(quick: bool) -> Iterator[Measure | LeftOut]:
    for count in FRAGMENTS[: 2 if quick else None]:
        for how, distance in (("gaps between", 2 * FRAGMENT), ("no gaps", FRAGMENT)):
            with tempfile.TemporaryDirectory() as directory:
                yield from broken_up(development(Path(directory), RECEIVING_ONLY), count, distance, how)


def broken_up(service: Service, count: int, distance: int, how: str) -> Iterator[Measure]:
    """Ask for an upload of so many fragments, and send separate bytes near its end."""
    upload, end = unfinished(random.Random(count)).id, distance * count
    size = end + 2 * ROUNDS * ASKED + 1
    leave(service, [unfinished(random.Random(count))], [])
    break_up(service, upload, count, distance, size)
    missing = iter(range(end + 1, size, 2))
    with service:
        yield from asked(service, count, lambda: Request("HEAD", f"/v1/uploads/{upload}"), f"HEAD, {how}")
        yield from asked(service, count, lambda: one_byte(upload, next(missing), size), f"PATCH, {how}")


def sizes(quick: bool) -> Iterator[Measure | LeftOut]:
    """Measure uploads of zeros but for the last MiB; a byte stays missing, so that no handoff begins."""
    with tempfile.TemporaryDirectory() as directory, development(Path(directory), RECEIVING_ONLY) as service:
        for size in SIZES[: 2 if quick else None]:
            total = size * GIB + 1
            if shutil.disk_usage(directory).free < total:  # it has to be free, even for holes
                yield LeftOut(f"an upload of {size} GiB", "the disk has no space for it")
                continue
            body = random.Random(size).randbytes(MIB)
            for _ in range(ROUNDS):
                line = Line(service.port)
                began = time.monotonic()
                upload = answered(line, NATIVE.create(total)).created
                yield Measure(str(size), "create", (time.monotonic() - began) * 1000, "ms")
                zeros = NATIVE.append(upload, Chunk(0, total - MIB - 1, b"", total=total, zeros=True))
                last = NATIVE.append(upload, Chunk(total - MIB - 1, total - 1, body, total=total))
                head = Request("HEAD", f"/v1/uploads/{upload}")
                for who, request in (("zeros", zeros), ("PATCH, 1 MiB", last), ("HEAD", head)):
                    began = time.monotonic()
                    answered(line, request)
                    yield Measure(str(size), who, (time.monotonic() - began) * 1000, "ms")
                answered(line, NATIVE.cancel(upload))
                line.close()


def asked(service: Service, count: int, request: Callable[[], Request], who: str) -> Iterator[Measure]:
    """Send one request after the other over one connection; yield the median of each round in milliseconds."""
    line = Line(service.port)
    answered(line, request())  # the first one finds empty caches
    for _ in range(ROUNDS):
        seconds = list[float]()
        while len(seconds) < ASKED - 1 and (len(seconds) < LEAST or sum(seconds) < ENOUGH):
            question = request()
            began = time.monotonic()
            answered(line, question)
            seconds.append(time.monotonic() - began)
        yield Measure(str(count), who, statistics.median(seconds) * 1000, "ms")
    line.close()


def answered(line: Line, request: Request) -> Answer:
    line.send(request.wire())
    answer = line.answer(request.method)
    if answer.status >= 300:
        raise RuntimeError(f"{request.method} {request.path} is answered with {answer}")
    return answer


def one_byte(upload: str, position: int, size: int) -> Request:
    return NATIVE.append(upload, Chunk(position, position + 1, b"x", total=size))


def break_up(service: Service, upload: str, count: int, distance: int, size: int) -> None:
    """Give an upload of `size` bytes so many fragments, `distance` bytes from start to start."""
    parts = [
        Extent(Range(start, start + FRAGMENT), Digest("xxh3", bytes(8)))
        for start in range(0, count * distance, distance)
    ]
    offset = FRAGMENT if distance > FRAGMENT else count * FRAGMENT
    grown = {"size": size, "received": count * FRAGMENT, "received_offset": offset, "reserved": size}
    engine = database.create(f"sqlite:///{service.directory / 'catalog.sqlite'}")
    with engine.begin() as catalog:
        catalog.execute(schema.extents.delete().where(schema.extents.c.upload_id == upload))
        catalog.execute(schema.extents.insert(), [schema.extent_row(upload, each) for each in parts])
        catalog.execute(schema.uploads.update().where(schema.uploads.c.id == upload).values(grown))
    engine.dispose()
    with (files(service) / f"{upload}.upload").open("r+b") as file:
        file.truncate(size)


UNFINISHED = Contest(
    name="unfinished",
    title="Many unfinished uploads",
    text="""\
The service starts with so many uploads of one user that wait for their next chunk, in the catalog and on scratch. Then
one of them is asked for (`HEAD`), another one is created, they are listed (a page), and a byte is sent (`PATCH`, which
is answered when the byte is durable).""",
    run=uploads,
    goals=(Goal("A start with 10,000, in ms", "10000", "start to first answer", "value", "at most", 2000),),
    drawing="lines",
    axis="unfinished uploads",
)
FRAGMENTS_OF_ONE = Contest(
    name="fragments",
    title="Many fragments in one upload",
    text="""\
An upload with so many durable fragments of 4 KiB, with gaps between them, which is the worst case, or without. The
time of a `HEAD`, and of a `PATCH` of one more byte.""",
    run=fragments,
    drawing="lines",
    axis="fragments",
)
LARGE = Contest(
    name="sizes",
    title="Large uploads",
    text="""\
An upload of so many GiB is created, zeros are declared for all but its end, a MiB is sent there, and the upload is
asked for. ([Picked to active](#picked-to-active) shows how the handoff grows with the size.)""",
    run=sizes,
    drawing="lines",
    axis="GiB",
)
