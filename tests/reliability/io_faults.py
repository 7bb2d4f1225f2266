"""A disk or a catalog that fails: each of its calls in turn, in every way, once and for ever.

One script, the whole life of uploads, runs again and again on the strict disk; each time another call fails. There may
be no false acknowledgement, no hang, and no error but a refusal. Then the power is cut, the disk works again, the
service starts, and all uploads are finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from resumable_glance.model.states import ENDED, State
from tests.reliability import aftermath
from tests.reliability.crash_states import Moment, check_end
from tests.reliability.disk_sabotages import IO_FAULTS
from tests.reliability.scripts import Acknowledgement, Person, Plan
from tests.reliability.strict_disk import SHORT, StrictDisk
from tests.reliability.trial import Result, Trial, run_as_program
from tests.reliability.world import BEGIN, StoredImage, World, engine, live

NUMBERS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, "EROFS": errno.EROFS}
OF_SQLITE = {"IOERR": sqlite3.SQLITE_IOERR, "FULL": sqlite3.SQLITE_FULL, "READONLY": sqlite3.SQLITE_READONLY}
WAYS = {
    "pwrite": (*NUMBERS, "short"),
    "execute": ("IOERR",),  # of the catalog, as the next ones
    "commit": tuple(OF_SQLITE),
    "committed": ("IOERR",),  # a commit that fails after it was made
}
GOOD = {State.ACTIVE, State.JOINED}
AT_FIRST = 3  # calls of each name that are tried before all others


class CannotBegin(Exception):
    """The service refuses to start."""


@dataclass
class Fault:
    """The `nth` call of this name fails; if `lasting`, all later ones too."""

    call: str = ""
    way: str = ""
    nth: int = 0
    lasting: bool = False
    seen: Counter[str] = field(default_factory=Counter, repr=False)

    def strikes(self, call: str) -> bool:
        self.seen[call] += 1
        return call == self.call and (self.seen[call] == self.nth or (self.lasting and self.seen[call] > self.nth))

    def of_disk(self, call: str) -> int | None:
        return NUMBERS.get(self.way, SHORT) if self.strikes(call) else None

    def of_catalog(self, call: str) -> None:
        if self.strikes(call):
            problem = sqlite3.OperationalError(f"sabotaged {call}")
            problem.sqlite_errorcode = OF_SQLITE[self.way]
            raise problem


@contextlib.contextmanager
def failing(fault: Fault, disk: StrictDisk) -> Iterator[None]:
    """Let the disk or the catalog fail."""
    dialect = engine().dialect
    execute, commit = dialect.do_execute, dialect.do_commit

    def do_execute(*arguments: Any) -> None:
        fault.of_catalog("execute")
        execute(*arguments)

    def do_commit(connection: Any) -> None:
        fault.of_catalog("commit")
        commit(connection)
        fault.of_catalog("committed")

    disk.fault = fault.of_disk
    with mock.patch.object(dialect, "do_execute", do_execute), mock.patch.object(dialect, "do_commit", do_commit):
        try:
            yield
        finally:
            disk.fault = lambda _: None


async def whole_life(person: Person) -> None:
    """Make uploads of every kind; each refused command is tried once more."""
    image = await person.create("sized", 900)
    if image is not None:
        await person.append(image, 300, 700)
        await person.append(image, 0, 400, "cut")
        await person.append(image, 200, 800)  # the durable part is compared
        await person.append(image, 800, 900, "digest")
    open_ended = await person.create("unsized", 600)
    for each in (open_ended, image):
        if each is not None:
            await person.finish(each)
    first, second = await person.create("part", 200), await person.create("part", 300)
    if first is not None and second is not None:
        await asyncio.gather(person.finish(first), person.finish(second))
        await person.join([first, second])
    cancelled, left = await person.create("first", 300), await person.create("sized", 400)
    if left is not None:
        await person.append(left, 0, 300)
    for _ in range(2):
        if cancelled is not None:
            await person.cancel(cancelled)
    for _ in range(200):
        await asyncio.sleep(0)
    for each in list(person.mine):
        await person.ask(each)


@dataclass
class Attempt:
    """One run with one fault."""

    fault: Fault
    chance: random.Random
    disk: StrictDisk = field(default_factory=StrictDisk)
    plans: dict[str, Plan] = field(default_factory=dict)
    mine: dict[str, str] = field(default_factory=dict)
    images: dict[str, StoredImage] = field(default_factory=dict)
    database: bytes | None = None
    now: float = BEGIN

    async def faulty(self) -> None:
        """Run two lives with the fault; each may refuse to start."""
        with failing(self.fault, self.disk):
            for life in (whole_life, self._second_life):
                with contextlib.suppress(CannotBegin):
                    await self._live(life)
                self.disk.crash_of_the_process()
                self.now += 90  # seconds: longer than a handoff is postponed

    async def _live(self, life: Callable[[Person], Awaitable[None]]) -> None:
        try:
            world = World(self.disk, self.chance, self.database, self.images, self.now)
            await world.__aenter__()
        except OSError as problem:
            raise CannotBegin from problem
        try:
            await life(Person(world, self.chance, self.plans, self.mine))
        finally:
            with contextlib.suppress(OSError):
                await world.__aexit__()
            self.database, self.images, self.now = world.recorded().database, world.images.stored, world.now

    async def _second_life(self, person: Person) -> None:
        if not self.mine:  # the first life did not start
            await whole_life(person)
        for each in list(self.mine):
            await person.finish(each)
        with contextlib.suppress(OSError):
            await person.world.scratch.check()
        with contextlib.suppress(OSError):  # the service would retry in a minute
            await person.expire()

    def check(self) -> Moment:
        """Assert that every acknowledgement holds, wherever the power is cut."""
        moment = Moment(self.plans, unacknowledged_may_go=self.fault.call == "committed")
        for event in self.disk.log:
            moment.happen(event)
            if isinstance(getattr(event, "what", None), Acknowledgement):
                moment.check_states(2, self.chance)
        moment.check_acknowledgements()
        moment.check_states(10, self.chance)
        return moment

    async def recover(self, disk: StrictDisk, moment: Moment) -> None:
        """Finish the uploads on a disk that works."""
        async with World(disk, self.chance, self.database, self.images, self.now) as world:
            person = Person(world, self.chance, self.plans)
            records = world.recorded().uploads
            person.mine |= {each: of.label for each, of in records.items() if of.state not in ENDED}
            await person.end()
            wanted = [each for each in self.mine if each not in moment.may_end]
            for each in wanted:
                assert (state := world.recorded().uploads[each].state) in GOOD, f"{each} is {state} in the end"
            person.refused.clear()  # an upload without an acknowledgement may be lost
            await check_end(person)


def attempt(fault: Fault, chance: random.Random) -> None:
    made = Attempt(fault, chance)
    try:
        live(made.disk, made.faulty, chance)
        assert not made.disk.trespasses, f"calls on a descriptor that was closed: {made.disk.trespasses}"
        moment = made.check()
        choices = moment.disk.choices()
        states = aftermath.states(choices, 2, chance)  # nothing of what was not synced, and all of it
        taken = chance.choice(list(states))
        disk = StrictDisk(aftermath.left(moment.disk, choices, taken))
        live(disk, lambda: made.recover(disk, moment), chance)
    except Exception as problem:
        problem.add_note(f"with {fault}")
        if isinstance(problem, AssertionError):
            raise
        raise AssertionError(f"neither an answer nor a refusal, but {problem!r}, with {fault}") from problem


def every_fault(seed: int) -> list[Fault]:
    """Return all faults of the script, with each call early among them, and the calls of a start first."""
    watched, chance = Fault(), random.Random(seed)
    attempt(watched, random.Random(seed))
    of_calls: dict[tuple[str, bool], list[Fault]] = {}
    for call, times in watched.seen.items():
        for way, nth, lasting in itertools.product(WAYS.get(call, tuple(NUMBERS)), range(1, times + 1), (False, True)):
            of_calls.setdefault((call, way == "short"), []).append(Fault(call, way, nth, lasting))
    for faults in of_calls.values():
        chance.shuffle(faults)
        firsts = {each.nth: each for each in faults if each.nth <= AT_FIRST and not each.lasting}
        faults[:] = [*firsts.values(), *(each for each in faults if each not in firsts.values())]
    return [each for row in itertools.zip_longest(*of_calls.values()) for each in row if each is not None]


def run(count: int, seed: int) -> Result:
    faults = every_fault(seed)
    taken = faults[:count]
    for fault in taken:
        attempt(fault, random.Random(seed))  # up to the fault it is always the same run
    return Result(
        f"0 false acknowledgements, hangs or wrong images with {len(taken):,} of {len(faults):,} faults of the disk "
        f"and of the catalog, in {len({each.call for each in taken})} calls",
        {"tried": len(taken), "faults": len(faults), "wrong": 0},
    )


TRIAL = Trial(
    name="io_faults",
    promise="A failing disk leads to no false acknowledgement and no hang; once it works again, uploads go on.",
    unit="faults",
    share=20,
    full=1_000,
    deep=100_000,
    run=run,
    sabotages=IO_FAULTS,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
