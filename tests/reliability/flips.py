"""One bit or byte that flips on scratch: it is noticed before the image is active.

Uploads of random shapes run on the strict disk. After the seal, between two chunks, between the proof and the delivery,
or during the delivery, a durable byte that is still to be read changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

from resumable_glance.errors import Reason
from resumable_glance.model.commands import Cancel, Create, Created, Join
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.upload import FailureReason, ImageRequest, Upload, require
from tests.reliability.crash_states import path_of
from tests.reliability.disk_sabotages import FLIPS
from tests.reliability.scripts import Person, Plan
from tests.reliability.strict_disk import Node, StrictDisk
from tests.reliability.trial import Result, Trial, run_as_program
from tests.reliability.world import World, live
from tests.support import images

WHEN = ("sealed", "proven", "delivering", *("between chunks", "repeated") * 3)
AGAIN = 10  # flips of one upload after its seal
ROUND = 100  # flips in one life of the service


@dataclass
class Flipper:
    """Uploads one image after the other and flips a byte of each; `flipped` counts when."""

    world: World
    chance: random.Random
    flipped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._person = Person(self.world, self.chance)

    async def once(self) -> None:
        """Make one upload, which must fail because of the flip."""
        when, before = self.chance.choice(WHEN), self.flipped.total()
        parts = self.chance.choice([1, 1, 2, 3]) if when != "proven" else 1
        ids = [await self._created(self.chance.randint(1, 3000), parts > 1, when == "proven") for _ in range(parts)]
        at_once = self.chance.randrange(parts) if when in {"between chunks", "repeated"} else -1
        for number, each in enumerate(ids):
            await self._send(each, when if number == at_once else "")
        whole = ids[0] if parts == 1 else await self._joined(ids)
        again = 1 if self.flipped.total() > before else AGAIN
        database, images = self.world.recorded().database, dict(self.world.images.stored)
        files = {each: bytes(self.world.disk.names[path_of(each)].data) for each in ids}
        for _ in range(again):
            self.world.go_back(database)
            self.world.images.stored = dict(images)
            for name, data in files.items():
                self.world.disk.names.setdefault(path_of(name), Node()).data[:] = data
            await self._hand_over(when, ids, whole)
        await self._person.perform(Cancel(whole))
        self.world.disk.log.clear()

    async def _hand_over(self, when: str, ids: list[str], whole: str) -> None:
        before = self.flipped.total() - (when in {"between chunks", "repeated"})
        self._prepare(when, ids)
        upload = await self._handed_over(whole)
        shown = self.world.images.stored[require(upload.image).id]
        if self.flipped.total() > before:
            reason = upload.delivery.last_error and upload.delivery.last_error.reason
            assert (upload.state, reason) == (State.FAILED, FailureReason.SCRATCH_DIFFERS), (
                f"flipped when {when}: {upload}"
            )
            assert shown.content is None, f"flipped when {when}, and yet an image: {upload}"
        else:  # the last piece had been read before
            assert upload.state is State.ACTIVE, f"nothing was flipped: {upload}"

    async def _created(self, size: int, part: bool, declared: bool) -> str:
        content = images.noise(self.chance, size)
        digests = (Digest("sha256", hashlib.sha256(content).digest()),) if declared else ()
        create = Create(size, None if part else ImageRequest({"name": "image"}), digests)
        outcome = await self._person.perform(create)
        assert isinstance(outcome, Created)
        self._person.mine[outcome.upload.id] = outcome.upload.id
        self._person.plans[outcome.upload.id] = Plan(content, size)
        return outcome.upload.id

    async def _send(self, upload_id: str, when: str) -> None:
        """Send all chunks of a file in random order; with `when`, flip a byte in the middle."""
        size = len(self._person.plan(upload_id).content)
        borders = sorted({0, size, *(self.chance.randint(0, size) for _ in range(self.chance.randint(0, 4)))})
        chunks = list(itertools.pairwise(borders))
        self.chance.shuffle(chunks)
        for number, (start, stop) in enumerate(chunks):
            await self._person.append(upload_id, start, stop, self.chance.choice(["", "digest"]))
            if when and number == (len(chunks) - 1) // 2:
                at = self.chance.randrange(start, stop)
                self._flip(upload_id, at, when)
                if when == "repeated" and number < len(chunks) - 1:
                    await self._repeat(upload_id, at, size)

    async def _repeat(self, upload_id: str, at: int, size: int) -> None:
        start, stop = self.chance.randint(0, at), self.chance.randint(at + 1, size)
        self._person.refused.clear()
        await self._person.append(upload_id, start, stop, self.chance.choice(["", "digest"]))
        assert self._person.refused == [Reason.DIFFERENT_BYTES], f"bytes {start} to {stop - 1} with {at} flipped"

    async def _joined(self, parts: list[str]) -> str:
        outcome = await self._person.perform(Join(tuple(parts), ImageRequest({"name": "image"})))
        assert isinstance(outcome, Created)
        return outcome.upload.id

    def _prepare(self, when: str, ids: list[str]) -> None:
        """Flip a byte now, or when the handoff has come so far."""
        places = [(each, at) for each in ids for at in range(len(self._person.plan(each).content))]
        receipts, given_at = itertools.count(1), self.chance.randrange(len(places))
        self.world.images.on_status, self.world.images.on_piece = lambda: None, lambda _: None

        def flip_once_proven() -> None:
            if next(receipts) == 2:
                self._flip(*self.chance.choice(places), when)

        def flip_what_is_left(given: int) -> None:
            if given >= given_at and places[given:]:
                self._flip(*self.chance.choice(places[given:]), when)
                places.clear()

        if when == "sealed":
            self._flip(*self.chance.choice(places), when)
        elif when == "proven":
            self.world.images.on_status = flip_once_proven
        elif when == "delivering":
            self.world.images.on_piece = flip_what_is_left

    def _flip(self, upload_id: str, at: int, when: str) -> None:
        change = self.chance.choice([1 << self.chance.randrange(8), self.chance.randint(1, 255)])
        self.world.disk.names[path_of(upload_id)].data[at] ^= change
        self.flipped[when] += 1

    async def _handed_over(self, upload_id: str) -> Upload:
        """Return the upload when its handoff has ended."""
        job = asyncio.create_task(self.world.handoff.run())
        while (upload := await self.world.catalog.uploads.get(upload_id)) is None or upload.state in WITH_HANDOFF:
            for _ in range(30):
                await asyncio.sleep(0)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        return upload


def run(count: int, seed: int) -> Result:
    flipped: Counter[str] = Counter()
    for life in itertools.count():
        chance, disk, least = random.Random(f"{seed} {life}"), StrictDisk(), min(count, (life + 1) * ROUND)

        async def flip(chance: random.Random = chance, disk: StrictDisk = disk, least: int = least) -> None:
            flipper = Flipper(World(disk, chance), chance, flipped)
            while flipped.total() < least:
                await flipper.once()

        live(disk, flip, chance)
        if flipped.total() >= count:
            break
    times = ", ".join(f"{number:,} {when}" for when, number in sorted(flipped.items()))
    return Result(
        f"{flipped.total():,} of {flipped.total():,} flipped bytes noticed before the image was active ({times})",
        {"flipped": flipped.total(), "noticed": flipped.total()},
    )


TRIAL = Trial(
    name="flips",
    promise="A byte that changes on scratch at any time is noticed before the image is active.",
    unit="flips",
    share=100,
    full=2_000,
    deep=100_000,
    run=run,
    sabotages=FLIPS,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
