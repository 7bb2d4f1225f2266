"""kill -9 at random instants: while several uploads run, while images are handed over, while the service starts."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from pathlib import Path

from tests import process
from tests.reliability.load import AT_ONCE, Load
from tests.reliability.quick import QuickService, kept_in, quick
from tests.reliability.trial import Result, Trial, run_as_program

LONGEST_LIFE = 0.2  # seconds
DURING_START = 0.25  # of the kills
FRESH = 0.2  # of those: with nothing on the disk yet


def run(count: int, seed: int) -> Result:
    chance = random.Random(seed)
    memory = Path("/dev/shm")  # no power is cut here: an fsync that costs nothing tests as much
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        directory = Path(name) / "service"
        with contextlib.closing(quick(directory, directory / "state")) as service:
            load = Load(service, directory / "state", seed)
            starting = _kill_again_and_again(load, service, count, chance)
            load.finish()
    return Result(
        f"0 acknowledged bytes lost in {count:,} kills with {AT_ONCE} uploads at once, {starting:,} of them while the "
        f"service started ({load.acknowledgements:,} acknowledgements and {load.checked:,} images checked)",
        {
            "kills": count,
            "kills_during_start": starting,
            "acknowledgements": load.acknowledgements,
            "images": load.checked,
        },
    )


def _kill_again_and_again(load: Load, service: QuickService, count: int, chance: random.Random) -> int:
    """Returns how many kills came while the service started. In the end it runs."""
    takes, starting = load.start(), 0
    for _ in range(count):
        if chance.random() > DURING_START:
            with load.running() as life:
                time.sleep(chance.random() * LONGEST_LIFE)
                load.kill(life)
        else:
            service.kill()
            starting += 1
            if chance.random() < FRESH:
                _kill_first_start(service, chance.random() * 2 * takes)
            else:
                _kill_start(service, chance.random() * takes)
        takes = load.start()
    return starting


def _kill_start(service: QuickService, after: float) -> None:
    service.launch()
    time.sleep(after)
    assert not service.ended(), f"the service has ended by itself\n{process.tail(service.log)}"
    service.kill()


def _kill_first_start(service: QuickService, after: float) -> None:
    """What a first start has left when it is killed is no obstacle for the next one."""
    with tempfile.TemporaryDirectory(dir=service.directory) as name:
        service.configure(kept_in(Path(name) / "state"))
        _kill_start(service, after)
        _kill_start(service, after)
    service.configure(kept_in(service.directory / "state"))


TRIAL = Trial(
    name="kills",
    promise="No acknowledged byte is lost, and every image gets there once, however often the service is killed.",
    unit="kills",
    share=40,
    full=500,
    deep=10_000,
    run=run,
    sabotages=(),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
