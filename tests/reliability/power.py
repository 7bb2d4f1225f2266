"""Power cuts at random instants, on real file systems that hold all of the service's data.

Answers after the cut do not count: without power there would be none, and a flush that was under way may return
success although the file system has dropped it (seen with ext4).

Some omissions can't be seen here: a flush of the catalog also flushes the names of new files, since both file systems
have one journal for everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from pathlib import Path

from tests.reliability.disk import APART, Disk, apart, check_machine, disk
from tests.reliability.load import AT_ONCE, Load
from tests.reliability.quick import QuickService, kept_in
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program


def run(count: int, seed: int) -> Result:
    """Cut the power `count` times on ext4, and half as often on xfs."""
    check_machine()
    if APART not in os.environ:
        return Result(**json.loads(apart("tests.reliability.power", count, seed)))
    cuts = {"ext4": count, "xfs": (count + 1) // 2}
    acknowledgements = images = 0
    directory = Path(os.environ[APART])
    with contextlib.closing(QuickService(directory / "service", {})) as service:
        for kind in cuts:
            with disk(directory / kind, kind) as cuttable, contextlib.ExitStack() as stack:
                stack.callback(service.kill)  # else the disk can't be unmounted
                load = _cut_again_and_again(cuttable, service, cuts[kind], seed)
                acknowledgements += load.acknowledgements
                images += load.checked
    return Result(
        f"0 acknowledged bytes lost in {cuts['ext4']:,} power cuts on ext4 and {cuts['xfs']:,} on xfs with {AT_ONCE} "
        f"uploads at once ({acknowledgements:,} acknowledgements and {images:,} images checked)",
        {
            "cuts_on_ext4": cuts["ext4"],
            "cuts_on_xfs": cuts["xfs"],
            "acknowledgements": acknowledgements,
            "images": images,
        },
    )


def _cut_again_and_again(cuttable: Disk, service: QuickService, count: int, seed: int) -> Load:
    chance = random.Random(seed)
    state = cuttable.mounted / "state"
    service.configure(kept_in(state))
    load = Load(service, state, seed)
    load.start()
    for _ in range(count):
        with load.running() as life:
            load.let_live(chance)
            life.dark = True
            cuttable.cut()
            load.kill(life)
        cuttable.unmount()
        cuttable.mount()
        load.start()
    load.finish()
    return load


TRIAL = Trial(
    name="power",
    promise="No acknowledged byte and no active image is lost when the power is cut.",
    unit="power cuts on ext4 (and half as many on xfs)",
    share=10,
    full=200,
    deep=3_000,
    run=run,
    sabotages=(
        Sabotage(
            "data is not flushed before it is acknowledged",
            "storage/local.py",
            "    os.fdatasync(descriptor)\n",
            "    pass\n",
            count=30,
        ),
        Sabotage(
            "the catalog is not flushed at each commit",
            "catalog/engine.py",
            '"synchronous = FULL"',
            '"synchronous = NORMAL"',
            count=6,
        ),
        Sabotage(
            "an image becomes active before it is durable",
            "images/directory.py",
            "            os.fsync(file.fileno())",
            "            if path.suffix:\n                os.fsync(file.fileno())",
            count=15,
        ),
        Sabotage(
            "the description of an image is not flushed before it is renamed",
            "images/directory.py",
            "            os.fsync(file.fileno())",
            "            if not path.suffix:\n                os.fsync(file.fileno())",
            count=6,
        ),
        Sabotage(
            "the key file is not flushed",
            "auth/encryption.py",
            "            os.fsync(descriptor)\n",
            "",
            count=4,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
