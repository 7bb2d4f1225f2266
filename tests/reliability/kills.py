"""kill -9 at random instants: half at any time, a quarter during handoffs, a quarter while the service starts."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.reliability.load import AT_ONCE, MOMENT, Load
from tests.reliability.quick import QuickService, kept_in, quick
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support import process

FRESH = 0.2  # the part of the kills during a start that hit a first start, on an empty disk


def run(count: int, seed: int) -> Result:
    chance = random.Random(seed)
    kills = Counter(chance.choices(list(_WAYS), weights=[2, 1, 1], k=count))
    memory = Path("/dev/shm")  # in memory fsync is cheap, and a kill loses nothing that was written
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        directory = Path(name) / "service"
        with contextlib.closing(quick(directory, directory / "state")) as service:
            load = Load(service, directory / "state", seed)
            load.start()
            for way in chance.sample(list(kills.elements()), k=count):
                _WAYS[way](load, service, chance)
                load.start()
            load.finish()
    return Result(
        f"0 acknowledged bytes lost in {count:,} kills with {AT_ONCE} uploads at once, {kills['start']:,} of them while"
        f" the service started and {kills['handoff']:,} while images were handed over ({load.acknowledgements:,}"
        f" acknowledgements and {load.checked:,} images checked)",
        {
            "kills": count,
            "kills_during_start": kills["start"],
            "kills_during_handoff": kills["handoff"],
            "acknowledgements": load.acknowledgements,
            "images": load.checked,
        },
    )


def _kill_any_time(load: Load, service: QuickService, chance: random.Random) -> None:
    with load.running() as life:
        load.let_live(chance)
        load.kill(life)


def _kill_handoff(load: Load, service: QuickService, chance: random.Random) -> None:
    with load.running() as life:
        load.await_(lambda: load.handing_over)
        time.sleep(chance.choice((0, chance.random() * MOMENT)))
        load.kill(life)


def _kill_during_start(load: Load, service: QuickService, chance: random.Random) -> None:
    service.kill()
    if chance.random() < FRESH:
        _kill_first_start(service, chance.random() * 2 * load.start_takes)
    else:
        _kill_start(service, chance.random() * load.start_takes)


_WAYS = {"any time": _kill_any_time, "handoff": _kill_handoff, "start": _kill_during_start}


def _kill_start(service: QuickService, after: float) -> None:
    service.launch()
    time.sleep(after)
    assert not service.ended(), f"the service has ended by itself\n{process.tail(service.log)}"
    service.kill()


def _kill_first_start(service: QuickService, after: float) -> None:
    """Kill a first start twice: its leftovers must not stop the next one."""
    with tempfile.TemporaryDirectory(dir=service.directory) as name:
        service.configure(kept_in(Path(name) / "state"))
        _kill_start(service, after)
        _kill_start(service, after)
    service.configure(kept_in(service.directory / "state"))


TRIAL = Trial(
    name="kills",
    promise="However often the service is killed, no acknowledged byte is lost, and every image becomes active once.",
    unit="kills",
    share=30,
    full=500,
    deep=10_000,
    run=run,
    sabotages=(
        Sabotage(
            "a chunk is acknowledged before it is recorded",
            "uploads/chunk_writer.py",
            "            await self._commit_extents(extents)\n",
            "            asyncio.ensure_future(self._commit_extents(extents))\n",
            count=60,
        ),
        Sabotage(
            "a commit is several transactions",
            "catalog/engine.py",
            'connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")',
            "pass",
            count=60,
        ),
        Sabotage(
            "a new upload is answered before it is recorded",
            "uploads/create.py",
            "                await self.uploads.add(upload, credential, key)\n",
            "                import asyncio\n\n"
            "                asyncio.ensure_future(self.uploads.add(upload, credential, key))\n",
            count=60,
        ),
        Sabotage(
            "scratch is freed before the delivery is recorded",
            "handoff/delivering.py",
            "                await self.images.deliver(",
            "                await self.readers.storage.remove(upload.id)\n                await self.images.deliver(",
            count=60,
        ),
        Sabotage(
            "a start removes the scratch of running handoffs",
            "model/states.py",
            "HOLDING_STORAGE = WITH_HANDOFF | {State.RECEIVING, State.FAILED}",
            "HOLDING_STORAGE = frozenset({State.SEALED, State.RECEIVING, State.FAILED})",
            count=40,
        ),
        Sabotage(
            "an interrupted handoff is not resumed",
            "catalog/uploads.py",
            "uploads.select().where(uploads.c.state.in_(WITH_HANDOFF))",
            "uploads.select().where(uploads.c.state == State.SEALED)",
            count=30,
        ),
        Sabotage(
            "an image is not recorded before it is made",
            "uploads/image_preparation.py",
            "        await self.orphans.expect(expected, now, due_at=now + CREATION_TIMEOUT)\n",
            "",
            count=30,
        ),
        Sabotage(
            "a start leaves files that no upload needs",
            "uploads/cleanup.py",
            "                await self.storage.remove(name)\n",
            "                pass\n",
            count=60,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
