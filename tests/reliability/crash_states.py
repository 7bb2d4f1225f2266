"""Power cuts after every single operation, with all that a disk may then hold.

Scripts of random uploads run on the strict disk. For the crash after each entry of its log, what aftermath.py says may
be left is enumerated, or sampled where it is too much, and held against the catalog of that moment and against what
people had been told by then. From some of these states the service is really started again, and everybody goes on.
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
from tests.reliability.scripts import NEVER, AcknowledgedUpload, Meant, Person, Plan
from tests.reliability.strict_disk import Event, Node, Noted, StrictDisk
from tests.reliability.trial import Result, Trial, run_as_program
from tests.reliability.world import BEGIN, SCRATCH, Recorded, Showing, Shown, World, live

SCRIPTS = 60  # of a full run
FEWEST, MOST = 5_000, 50_000  # states of one script
EACH = 2_000  # states, of which one is really recovered from
UPLOADS = SCRATCH / "uploads"


@dataclass(frozen=True, slots=True)
class Script:
    """What happened: the log of the disk, what was meant to be uploaded, and what time it was in the end."""

    log: Sequence[Event]
    plans: dict[str, Plan]
    now: float


def played(chance: random.Random) -> Script:
    """A random script, from the first start of a service to the end of all uploads, with a restart or two."""
    disk = StrictDisk()
    plans: dict[str, Plan] = {}

    async def play() -> float:
        recorded, images, mine, now = None, dict[str, Shown](), dict[str, str](), BEGIN
        for left in reversed(range(chance.randint(1, 3))):
            async with World(disk, chance, recorded, images, now) as world:
                person = Person(world, chance, plans, mine)
                for _ in range(chance.randint(5, 20)):
                    await person.act()
                if not left:
                    await person.end()
                    await check_end(person)
            recorded, images, now = world.recorded().database, world.sink.images, world.now
        return now

    return Script(disk.log, plans, live(disk, play, chance))


async def check_end(person: Person) -> None:
    """When everybody is done: images are what was meant, and nothing is left on scratch or at the sink."""
    world = person.world
    for upload_id, record in world.recorded().uploads.items():
        assert not record.holds, f"{upload_id} is {record.state} in the end"
        async with world.handoff.paused(upload_id):
            pass  # an upload is active just before its scratch is freed
    left = [each async for each in world.scratch.uploads()]
    assert not left, f"nobody needs {left} on scratch"
    world.now += 2 * 3600
    await world.cleaner.tidy()
    for image_id, shown in world.sink.images.items():
        assert shown.content == person.plans[shown.label].content, f"image {image_id} is not {shown.label}"
    assert not (never := NEVER.intersection(person.refused)), f"refused with a disk that works: {never}"
    assert not world.disk.trespasses, f"calls on a descriptor that was closed: {world.disk.trespasses}"


def path_of(upload_id: str) -> str:
    return str(UPLOADS / f"{upload_id}.upload")


@dataclass(frozen=True, slots=True)
class Need:
    """What the catalog needs on scratch: a file of at least `size` bytes, and what is in its extents."""

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
    """The world as it stands at one place of a script's log."""

    plans: dict[str, Plan]
    disk: Aftermath = field(default_factory=Aftermath)
    catalog: Recorded = field(default_factory=lambda: Recorded(b"", {}))
    images: dict[str, Shown] = field(default_factory=dict)
    told: dict[str, list[AcknowledgedUpload]] = field(default_factory=dict)
    meant: set[str] = field(default_factory=set)
    needs: list[Need] = field(default_factory=list)
    untold_may_go: bool = False  # a catalog that fails after it has recorded something leaves a record without a file
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
            case Showing(images):
                self.images = dict(images)
            case Meant(upload_id):
                self.meant.add(upload_id)
            case AcknowledgedUpload() as told:
                self.told.setdefault(told.upload_id, []).append(told)
                self._check_told(told)

    def _forget(self, upload_id: str) -> None:
        """What has ended is forgotten a month later, and with it what people were told."""
        state = self.catalog.uploads[upload_id].state
        assert state in ENDED, f"{upload_id} is forgotten, and was {state}"
        self.told.pop(upload_id, None)

    def check_told(self) -> None:
        """Whatever people were told is true."""
        for each in itertools.chain.from_iterable(self.told.values()):
            self._check_told(each)

    def _check_told(self, told: AcknowledgedUpload) -> None:
        record = self.catalog.uploads.get(told.upload_id)
        assert record is not None, f"{told} is not in the catalog"
        assert told.state in {None, record.state}, f"{told} is {record.state} in the catalog"
        if told.state is State.CANCELLED:
            kept = [each for each in record.files if any(self.disk.names.get(path_of(each), ()))]
            assert not kept, f"{told}, but after a power cut {kept} may be there again"
        if record.state is State.ACTIVE:
            plan = self.plans[record.label]
            assert not plan.refutable, f"{told.upload_id} is active, and not what was declared"
            there = any(each.label == record.label and each.content == plan.content for each in self.images.values())
            assert there, f"{told.upload_id} is active without its image"
        elif record.state in ENDED:
            assert told.upload_id in self.meant, f"{told} is {record.state}, and nobody wanted that"
        else:
            durable = [Range(start, stop) for start, stop, _ in record.extents]
            gaps = [each for each in missing(told.range.stop, durable) if each.overlaps(told.range)]
            assert not gaps, f"{told} is not in the catalog"

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
        if not self.untold_may_go:
            return self.needs
        told = set(map(path_of, self.told))
        return [each for each in self.needs if each.path in told]

    def choices(self) -> list[Choice]:
        """What a power cut decides of what the catalog needs, or of the directories in which that is."""
        names = {each.path for each in self._needed()} | {str(each) for each in (UPLOADS, *UPLOADS.parents)}
        nodes = {node for name in names for node in self.disk.names.get(name, ())}
        return [each for each in self.disk.choices() if each.name in names or each.node in nodes]

    def check_states(self, limit: int, chance: random.Random) -> int:
        """Check all that may be left, or `limit` different states of it; how many it were."""
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
    """Start the service on one of the states of this moment; everybody goes on from what they are told."""
    choices = moment.disk.choices()
    taken = chance.choice(list(aftermath.states(choices, 3, chance)))
    disk = StrictDisk(aftermath.left(moment.disk, choices, taken))

    async def go_on() -> None:
        async with World(disk, chance, moment.catalog.database or None, moment.images, now) as world:
            person = Person(world, chance, dict(moment.plans))
            person.mine |= {each: of.label for each, of in world.recorded().uploads.items() if of.state not in ENDED}
            for told in itertools.chain.from_iterable(moment.told.values()):
                if told.upload_id in person.mine:
                    disk.note(told)
            await person.end()
            await check_end(person)

    live(disk, go_on, chance)


def fair(counts: Sequence[int], budget: int) -> int:
    """How many of each may be taken at most, so that all together are about `budget`."""
    left, limit = budget, 0
    for place, each in enumerate(ordered := sorted(counts)):
        limit = left // (len(ordered) - place)
        if each > limit:
            break
        left -= each
    return max(1, limit)


def inspect_head(script: Script, budget: int, chance: random.Random) -> tuple[int, int]:
    """Check about `budget` states of a script; how many it were, and how many recoveries."""
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
            moment.check_told()
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
            found = inspect_head(script, min(budget, count - states), chance)
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
    promise="Whatever of its unsynced writes a disk keeps in a power cut, no acknowledged byte is missing afterwards.",
    unit="states of the disk",
    share=30_000,
    full=1_000_000,
    deep=50_000_000,
    run=run,
    sabotages=CRASH_STATES,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
