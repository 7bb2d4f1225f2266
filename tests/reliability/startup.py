"""Starts with many unfinished uploads: the time until the first answer, and whether all uploads are there.

The uploads are put into the catalog and on scratch as a stop leaves them, beside some files that a crash left, which
have to go. The median of three starts in a row counts.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from resumable_glance.catalog import engine as database
from resumable_glance.catalog import schema
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, Image, Owner, Upload
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support.service import Service, development
from tests.support.wire import Client

STARTS = 3
LIMIT = 2.0  # seconds
LIMITED = 10_000  # uploads for which the limit is promised
OWNER = Owner("development", "anyone")  # as in auth/noauth.py
SIZE, RECEIVED = 1 << 18, 1 << 10  # bytes: a small disk has space for 100,000 of them
WEEK = 7 * 24 * 3600.0
LEFT = 10  # files that no upload needs


def run(count: int, seed: int) -> Result:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        service = development(Path(directory))
        uploads = [unfinished(chance) for _ in range(count)]
        leave(service, uploads, [unfinished(chance).id for _ in range(LEFT)])
        seconds = [started(service) for _ in range(STARTS)]
        with service:
            check(service, uploads)
    took = statistics.median(seconds)
    every = ", ".join(f"{each:.2f}" for each in seconds)
    assert took <= LIMIT or count != LIMITED, f"with {count} unfinished uploads the first answer took {every} s"
    return Result(
        f"with {count:,} unfinished uploads the first answer came {took:.2f} s after the start (the median of "
        f"{STARTS} in a row), and all of them were there",
        {"uploads": count, "seconds": took},
    )


def unfinished(chance: random.Random) -> Upload:
    now = time.time()
    return Upload(
        id=f"a-{chance.randbytes(16).hex()}",
        owner=OWNER,
        size=SIZE,
        state=State.RECEIVING,
        image=Image(str(uuid.UUID(bytes=chance.randbytes(16)))),
        created_at=now,
        updated_at=now,
        expires_at=now + WEEK,
        offset=RECEIVED,
        received=RECEIVED,
        reserved=SIZE,
    )


def leave(service: Service, uploads: list[Upload], left: list[str]) -> None:
    """Write the catalog and scratch of a service with these uploads; no upload needs the files `left`."""
    extent = Extent(Range(0, RECEIVED), Digest("xxh3", bytes(8)))
    engine = database.create(f"sqlite:///{service.directory / 'catalog.sqlite'}")
    database.migrate(engine)
    with engine.begin() as catalog:
        catalog.execute(schema.uploads.insert(), [schema.upload_row(each) for each in uploads])
        catalog.execute(schema.extents.insert(), [schema.extent_row(each.id, extent) for each in uploads])
    engine.dispose()
    files(service).mkdir(parents=True)
    for name in [*(each.id for each in uploads), *left]:
        with (files(service) / f"{name}.upload").open("wb") as file:
            file.truncate(SIZE)


def files(service: Service) -> Path:
    return service.directory / "scratch" / "uploads"


def started(service: Service) -> float:
    """Return the seconds from the start of the process to its first answer."""
    began = time.monotonic()
    service.start()
    took = time.monotonic() - began
    assert service.stop() == 0
    return took


def check(service: Service, uploads: list[Upload]) -> None:
    """Assert that each upload is listed as before, and that scratch has their files and no others."""
    client, listed = Client(service.url), dict[str, tuple[str, int]]()
    query = ""
    while page := client.show(f"{service.url}/v1/uploads{query}")["uploads"]:
        listed |= {each["id"]: (each["state"], each["offset"]) for each in page}
        query = f"?marker={page[-1]['id']}"
    wrong = {each.id: listed.get(each.id) for each in uploads if listed.get(each.id) != ("receiving", RECEIVED)}
    assert not wrong, f"{len(wrong)} of {len(uploads)} uploads are not what they were: {list(wrong.items())[:5]} ..."
    names = {each.stem for each in files(service).iterdir()}
    assert names == set(listed), (
        f"on scratch {len(names - set(listed))} files are left and {len(set(listed) - names)} are gone"
    )


TRIAL = Trial(
    name="startup",
    promise="A service with thousands of unfinished uploads answers within seconds of its start, and has them all.",
    unit="unfinished uploads",
    share=500,
    full=LIMITED,
    deep=100_000,
    run=run,
    sabotages=(
        Sabotage(
            "a start removes the scratch of uploads that are not complete",
            "catalog/uploads.py",
            "(whole.c.state, uploads.c.state).in_(HOLDING_STORAGE))",
            "(whole.c.state, uploads.c.state).in_(HOLDING_STORAGE - {State.RECEIVING}))",
            count=20,
        ),
        Sabotage(
            "a start leaves files that no upload needs",
            "uploads/cleanup.py",
            "            if name not in needed:",
            "            if False:",
            count=20,
        ),
        Sabotage(
            "a first start counts the time before it",
            "catalog/instances.py",
            "        if last is not None:\n",
            "        if last is None:\n            last = 2 * now\n        if True:\n",
            count=20,
        ),
    ),
    alone=True,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
