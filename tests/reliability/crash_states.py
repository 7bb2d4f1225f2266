"""Power cuts after every single operation, with every state that the disk may then have.

Scripts of random uploads run on the strict disk. For a power cut after each entry of its log, the possible states
(aftermath.py) are enumerated, or sampled if there are too many, and compared with the catalog of that moment and with
all acknowledgements so far. From some of these states the service is started again, and the uploads are finished.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from resumable_glance.model.digests import Digest, hasher
from resumable_glance.model.ranges import Range, missing
from resumable_glance.model.states import ENDED, State
from tests.reliability import aftermath
from tests.reliability.aftermath import Aftermath, Choice
from tests.reliability.disk_sabotages import CRASH_STATES
from tests.reliability.scripts import NEVER, Acknowledgement, MayEnd, Person, Plan
from tests.reliability.strict_disk import Event, Node, Noted, StrictDisk
from tests.reliability.trial import Result, Trial, run_as_program
from tests.reliability.world import BEGIN, SCRATCH, Recorded, StoredImage, StoredImages, World, live

SCRIPTS = 60  # of a full run
FEWEST, MOST = 5_000, 50_000  # states of one script
EACH = 2_000  # states for one real recovery
UPLOADS = SCRATCH / "uploads"


@dataclass(frozen=True, slots=True)
class Script:
    """A script that was run: the log of the disk, the planned uploads by label, and the time at its end."""

    log: Sequence[Event]
    plans: dict[str, Plan]
    now: float


def played(chance: random.Random) -> Script:
    """Run a random script, from the first start of a service to the end of all uploads, with up to two restarts."""
    disk = StrictDisk()
    plans: dict[str, Plan] = {}

    async def play() -> float:
        recorded, images, mine, now = None, dict[str, StoredImage](), dict[str, str](), BEGIN
        for left in reversed(range(chance.randint(1, 3))):
            async with World(disk, chance, recorded, images, now) as world:
                person = Person(world, chance, plans, mine)
                for _ in range(chance.randint(5, 20)):
                    await person.act()
                if not left:
                    await person.end()
                    await check_end(person)
            recorded, images, now = world.recorded().database, world.images.stored, world.now
        return now

    return Script(disk.log, plans, live(disk, play, chance))


async def check_end(person: Person) -> None:
    """Assert that every image is as planned, and that nothing else is left on scratch or in the image service."""
    world = person.world
    for upload_id, record in world.recorded().uploads.items():
        assert not record.holds, f"{upload_id} is {record.state} in the end"
        async with world.handoff.paused(upload_id):
            pass  # an upload is active just before its scratch is freed
    left = [each async for each in world.scratch.uploads()]
    assert not left, f"no upload needs {left} on scratch"
    world.now += 2 * 3600
    await world.cleaner.tidy()
    for image_id, shown in world.images.stored.items():
        assert shown.content == person.plans[shown.label].content, f"image {image_id} is not {shown.label}"
    assert not (never := NEVER.intersection(person.refused)), f"refused with a disk that works: {never}"
    assert not world.disk.trespasses, f"calls on a descriptor that was closed: {world.disk.trespasses}"


def path_of(upload_id: str) -> str:
    return str(UPLOADS / f"{upload_id}.upload")


@dataclass(frozen=True, slots=True)
class Need:
    """A file that the catalog needs on scratch: of at least `size` bytes, with the content of its extents."""

    path: str
    size: int
    extents: tuple[tuple[int, int, bytes], ...]

    def check(self, data: bytes | bytearray | None) -> None:
        assert data is not None, f"{self.path} is lost"
        assert len(data) >= self.size, f"{self.path} has {len(data)} of {self.size} bytes"
        for start, stop, content in self.extents:
            assert data[start:stop] == content, f"bytes {start} to {stop - 1} of {self.path} are lost"


@dataclass
class Moment:
    """The state of everything at one place of a script's log.

    With `unacknowledged_may_go`, an upload without an acknowledgement may lack its file: a catalog that fails after its
    commit leaves such a record.
    """

    plans: dict[str, Plan]
    disk: Aftermath = field(default_factory=Aftermath)
    catalog: Recorded = field(default_factory=lambda: Recorded(b"", {}))
    images: dict[str, StoredImage] = field(default_factory=dict)
    acknowledgements: dict[str, list[Acknowledgement]] = field(default_factory=dict)
    may_end: set[str] = field(default_factory=set)
    needs: list[Need] = field(default_factory=list)
    unacknowledged_may_go: bool = False
    _checked: set[tuple[str, int, int, str]] = field(default_factory=set)

    def happen(self, event: Event) -> None:
        match event.what if isinstance(event, Noted) else None:
            case None:
                self.disk.happen(event)
            case Recorded() as recorded:
                for each in self.catalog.uploads.keys() - recorded.uploads.keys():
                    self._forget(each)
                self.catalog = recorded
                self.needs = [
                    self._need(each) for each, of in recorded.uploads.items() if of.holds and of.files == (each,)
                ]
            case StoredImages(images):
                self.images = dict(images)
            case MayEnd(upload_id):
                self.may_end.add(upload_id)
            case Acknowledgement() as acknowledged:
                self.acknowledgements.setdefault(acknowledged.upload_id, []).append(acknowledged)
                self._check_acknowledgement(acknowledged)

    def _forget(self, upload_id: str) -> None:
        """Forget the acknowledgements of an upload whose record was purged."""
        state = self.catalog.uploads[upload_id].state
        assert state in ENDED, f"{upload_id} is forgotten, and was {state}"
        self.acknowledgements.pop(upload_id, None)

    def check_acknowledgements(self) -> None:
        """Assert that every acknowledgement holds."""
        for each in itertools.chain.from_iterable(self.acknowledgements.values()):
            self._check_acknowledgement(each)

    def _check_acknowledgement(self, acknowledged: Acknowledgement) -> None:
        record = self.catalog.uploads.get(acknowledged.upload_id)
        assert record is not None, f"{acknowledged} is not in the catalog"
        assert acknowledged.state in {None, record.state}, f"{acknowledged} is {record.state} in the catalog"
        if acknowledged.state is State.CANCELLED:
            kept = [each for each in record.files if any(self.disk.names.get(path_of(each), ()))]
            assert not kept, f"{acknowledged}, but after a power cut {kept} may be there again"
        if record.state is State.ACTIVE:
            plan = self.plans[record.label]
            assert not plan.refutable, f"{acknowledged.upload_id} is active, and not what was declared"
            there = any(each.label == record.label and each.content == plan.content for each in self.images.values())
            assert there, f"{acknowledged.upload_id} is active without its image"
        elif record.state in ENDED:
            assert acknowledged.upload_id in self.may_end, f"{acknowledged} is {record.state} without a reason"
        else:
            durable = [Range(start, stop) for start, stop, _ in record.extents]
            gaps = [each for each in missing(acknowledged.range.stop, durable) if each.overlaps(acknowledged.range)]
            assert not gaps, f"{acknowledged} is not in the catalog"

    def _need(self, upload_id: str) -> Need:
        record = self.catalog.uploads[upload_id]
        plan = self.plans[record.label]
        for start, stop, digests in record.extents:
            if (upload_id, start, stop, digests) not in self._checked:
                for digest in map(Digest.parse, digests.split()):
                    hashed = hasher(digest.algorithm)
                    hashed.update(plan.content[start:stop])
                    assert hashed.digest() == digest.value, f"{upload_id} {start} {stop}: not its {digest}"
                self._checked.add((upload_id, start, stop, digests))
        extents = tuple((start, stop, plan.content[start:stop]) for start, stop, _ in record.extents)
        return Need(path_of(upload_id), plan.size or 0, extents)

    def _needed(self) -> list[Need]:
        if not self.unacknowledged_may_go:
            return self.needs
        acknowledged = set(map(path_of, self.acknowledgements))
        return [each for each in self.needs if each.path in acknowledged]

    def choices(self) -> list[Choice]:
        """Return what a power cut decides about the files that the catalog needs and their directories."""
        names = {each.path for each in self._needed()} | {str(each) for each in (UPLOADS, *UPLOADS.parents)}
        nodes = {node for name in names for node in self.disk.names.get(name, ())}
        return [each for each in self.disk.choices() if each.name in names or each.node in nodes]

    def check_states(self, limit: int, chance: random.Random) -> int:
        """Check all states of the disk, or `limit` different ones; return how many."""
        choices = self.choices()
        names = {each.name: at for at, each in enumerate(choices) if each.name is not None}
        files: dict[Node, list[int]] = {}
        for at, each in enumerate(choices):
            if each.node is not None:
                files.setdefault(each.node, []).append(at)
        above = [at for name, at in names.items() if not name.endswith(".upload")]
        doubtful = []
        for need in self._needed():
            node, *_ = self.disk.names.get(need.path, [None])
            if above or need.path in names or node in files:
                doubtful.append((need, names.get(need.path), node))
            else:
                need.check(None if node is None else aftermath.content(self.disk, node, ()))
        number = 0
        for taken in aftermath.states(choices, limit, chance):
            gone = any(taken[at] is None for at in above)
            for need, named, node in doubtful:
                found = node if named is None else taken[named]
                if gone or found is None:
                    need.check(None)
                assert isinstance(found, Node)
                chosen = [(choices[each], taken[each]) for each in files.get(found, ())]
                need.check(aftermath.content(self.disk, found, chosen))
            number += 1
        return number


def recovered(moment: Moment, now: float, chance: random.Random) -> None:
    """Start the service on one of the states of this moment, and finish all uploads."""
    choices = moment.disk.choices()
    taken = chance.choice(list(aftermath.states(choices, 3, chance)))
    disk = StrictDisk(aftermath.left(moment.disk, choices, taken))

    async def go_on() -> None:
        async with World(disk, chance, moment.catalog.database or None, moment.images, now) as world:
            person = Person(world, chance, dict(moment.plans))
            person.mine |= {each: of.label for each, of in world.recorded().uploads.items() if of.state not in ENDED}
            for acknowledged in itertools.chain.from_iterable(moment.acknowledgements.values()):
                if acknowledged.upload_id in person.mine:
                    disk.note(acknowledged)
            await person.end()
            await check_end(person)

    live(disk, go_on, chance)


def fair(counts: Sequence[int], budget: int) -> int:
    """Return the most to take of each, so that all together are about `budget`."""
    left, limit = budget, 0
    for place, each in enumerate(ordered := sorted(counts)):
        limit = left // (len(ordered) - place)
        if each > limit:
            break
        left -= each
    return max(1, limit)


def check_script(script: Script, budget: int, chance: random.Random) -> tuple[int, int]:
    """Check about `budget` states of a script; return how many, and the number of recoveries."""
    moment, counts = Moment(script.plans), []
    for event in script.log:
        moment.happen(event)
        counts.append(aftermath.count(moment.choices()))
    limit = fair(counts, budget)
    moment, states = Moment(script.plans), 0
    recoveries = set(chance.sample(range(len(script.log)), max(1, budget // EACH)))
    for place, event in enumerate(script.log):
        try:
            moment.happen(event)
            moment.check_acknowledgements()
            states += moment.check_states(limit, chance)
            if place in recoveries:
                recovered(moment, script.now, chance)
        except AssertionError as problem:
            problem.add_note(f"if the power goes after entry {place} of the log, of which the last ones are")
            for each in script.log[max(0, place - 8) : place + 1]:
                problem.add_note(f"  {each!s:.200}")
            raise
    return states, len(recoveries)


def run(count: int, seed: int) -> Result:
    scripts = states = points = recoveries = 0
    budget = min(max(count // SCRIPTS, FEWEST), MOST)
    while states < count:
        chance = random.Random(f"{seed} {scripts}")
        try:
            script = played(chance)
            found = check_script(script, min(budget, count - states), chance)
        except AssertionError as problem:
            problem.add_note(f"script {scripts}")
            raise
        states, recoveries = states + found[0], recoveries + found[1]
        scripts, points = scripts + 1, points + len(script.log)
    return Result(
        f"0 bad in {states:,} states of the disk after a power cut at {points:,} places of {scripts} scripts; "
        f"{recoveries} real recoveries",
        {"states": states, "scripts": scripts, "places": points, "recoveries": recoveries, "bad": 0},
    )


TRIAL = Trial(
    name="crash_states",
    promise="After a power cut no acknowledged byte is missing, whichever of its unsynced writes the disk has kept.",
    unit="states of the disk",
    share=30_000,
    full=1_000_000,
    deep=50_000_000,
    run=run,
    sabotages=CRASH_STATES,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
