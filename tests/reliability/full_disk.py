"""A disk that is really full at any moment: acknowledged bytes stay, and uploads go on when there is space again.

The service has a small file system to itself, with its scratch, its catalog or both on it. While clients of all
protocols send, another file fills it and is removed again.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.reliability.protocols import PROTOCOLS, WireProtocol
from tests.reliability.sender import Sender
from tests.reliability.trial import Missing, Result, Sabotage, Trial, run_as_program
from tests.support import images, small_disk
from tests.support.service import UNLIMITED, Service, development

KIB, MIB = 1024, 1024 * 1024
DISK = 16 * MIB
LARGEST = 3 * MIB
ON_IT = ("scratch", "both", "catalog")  # in turn; with both, scratch nearly always runs out of space first
HURRY = 0.05  # seconds that a client waits where Retry-After says a minute


def run(count: int, seed: int) -> Result:
    if lack := small_disk.refused():
        raise Missing(lack)
    refused: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        disks = [started(Path(name) / kind, kind) for kind in ON_IT[:count]]
        try:
            for number in range(count):
                service, disk = disks[number % len(disks)]
                refused += fill_and_free(service, disk, random.Random(f"{seed} {number}"))
        finally:
            for service, _ in disks:
                service.stop()
    assert set(refused) <= {"507"}, f"a full disk was answered with something else than 507: {refused}"
    assert refused["507"], f"in {count} rounds no client met a full disk"
    return Result(
        f"a disk that was really full {count} times, with scratch, the catalog or both on it: 507 "
        f"{refused['507']:,} times, every acknowledged byte kept, and all {count * len(PROTOCOLS):,} uploads of three "
        "protocols went on to the right images",
        {"rounds": count, "uploads": count * len(PROTOCOLS), "refused": refused["507"]},
    )


def started(directory: Path, kind: str) -> tuple[Service, Path]:
    """Start a service with a small disk; return it and the disk's directory."""
    disk = directory / "disk"
    groups = dict(UNLIMITED)
    if kind != "catalog":
        groups["scratch"] = {"directory": disk / "scratch"}
    if kind != "scratch":
        groups["database"] = {"connection": f"sqlite:///{disk / 'catalog.sqlite'}"}
    service = development(directory, groups)
    small_disk.put(service, disk, DISK)
    service.start()
    return service, small_disk.seen(service, disk)


def fill_and_free(service: Service, disk: Path, chance: random.Random) -> Counter[str]:
    """Run one round; return the answers that were no success."""
    senders = [
        Sender(service.port, service.directory / "images", file(chance), hurry=HURRY) for _ in range(len(PROTOCOLS))
    ]
    for sender, protocol in zip(senders, PROTOCOLS, strict=True):
        sender.create(protocol)  # while there is space: a creation reserves it
    with ThreadPoolExecutor(len(PROTOCOLS)) as threads:
        sending = [
            threads.submit(send, sender, protocol, random.Random(chance.random()))
            for sender, protocol in zip(senders, PROTOCOLS, strict=True)
        ]
        for _ in range(chance.randrange(1, 4)):
            time.sleep(chance.random() * 0.1)
            met = refusals_of(senders)
            small_disk.fill(disk / "ballast")
            while refusals_of(senders) == met and any(
                sender.missing and not each.done() for sender, each in zip(senders, sending, strict=True)
            ):
                time.sleep(0.005)  # until a client has been refused, or none sends any more
            (disk / "ballast").unlink()
        for each in sending:
            each.result()
    return refusals_of(senders)


def refusals_of(senders: list[Sender]) -> Counter[str]:
    """Return the answers that were no success."""
    return sum((each.refused for each in senders), Counter[str]())


def file(chance: random.Random) -> bytes:
    return images.noise(chance, chance.randrange(LARGEST // 2, LARGEST))


def send(sender: Sender, protocol: WireProtocol, chance: random.Random) -> None:
    while sender.missing:
        sender.go_on(protocol, chance, chance.choice([16 * KIB, 256 * KIB, LARGEST]))
        time.sleep(0.01)
    sender.finish()


TRIAL = Trial(
    name="full_disk",
    promise="A full disk is answered with 507, no acknowledged byte is lost, and uploads go on when there is space.",
    unit="times that a disk is full",
    share=4,
    full=50,
    deep=2_000,
    run=run,
    sabotages=(
        Sabotage(
            "a write that finds no space counts as done",
            "storage/local.py",
            "        written = os.pwrite(descriptor, rest, position)\n",
            "        try:\n"
            "            written = os.pwrite(descriptor, rest, position)\n"
            "        except OSError:\n"
            "            written = len(rest)\n",
            count=6,
        ),
        Sabotage(
            "a chunk that finds no space is answered as a success",
            "errors.py",
            'NO_SPACE = "no-scratch-space", 507',
            'NO_SPACE = "no-scratch-space", 204',
            count=6,
        ),
        Sabotage(
            "a full disk under the catalog is an error of ours",
            "catalog/transactions.py",
            "_ERRNO = {sqlite3.SQLITE_FULL: errno.ENOSPC, ",
            "_ERRNO = {",
            count=6,
        ),
        Sabotage(
            "a full disk under scratch is an error of the disk",
            "uploads/chunk_writer.py",
            "problem.errno in {errno.ENOSPC, errno.EDQUOT}:",
            "problem.errno in {errno.EDQUOT}:",
            count=6,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
