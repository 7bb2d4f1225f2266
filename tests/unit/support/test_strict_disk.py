"""The strict disk is a disk, and tells all that a power cut may leave."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from tests.reliability import aftermath
from tests.reliability.aftermath import SECTOR, Aftermath
from tests.reliability.strict_disk import ROOT, StrictDisk

FILE = ROOT / "file"
NEW = StrictDisk.O_RDWR | StrictDisk.O_CREAT


def left(disk: StrictDisk) -> set[bytes | None]:
    """What the file may be after a power cut; None if it may be gone."""
    after = Aftermath()
    for event in disk.log:
        after.happen(event)
    choices = after.choices()
    found = [aftermath.left(after, choices, taken) for taken in aftermath.states(choices, 1000, random.Random(1))]
    return {bytes(each[str(FILE)].data) if str(FILE) in each else None for each in found}


def made(disk: StrictDisk, content: bytes) -> int:
    """A file that is durable with its name."""
    descriptor, directory = disk.open(FILE, NEW), disk.open(ROOT, StrictDisk.O_RDONLY)
    disk.pwrite(descriptor, content, 0)
    disk.fsync(descriptor)
    disk.fsync(directory)
    return descriptor


def test_a_file_that_is_flushed_may_lose_its_name() -> None:
    disk = StrictDisk()
    descriptor = disk.open(FILE, NEW)
    disk.pwrite(descriptor, b"data", 0)
    assert left(disk) == {None, b"", bytes(4), b"data"}
    disk.fsync(descriptor)
    assert left(disk) == {None, b"data"}
    disk.fsync(disk.open(ROOT, StrictDisk.O_RDONLY))
    assert left(disk) == {b"data"}


def test_a_removed_name_may_be_there_again() -> None:
    disk = StrictDisk()
    made(disk, b"data")
    disk.unlink(FILE)
    assert left(disk) == {None, b"data"}
    disk.fsync(disk.open(ROOT, StrictDisk.O_RDONLY))
    assert left(disk) == {None}


def test_a_write_is_torn_between_sectors_and_never_within_one() -> None:
    disk = StrictDisk()
    before, after = bytes(2 * SECTOR), b"x" * 2 * SECTOR
    descriptor = made(disk, before)
    disk.pwrite(descriptor, after, 0)
    one, other = after[:SECTOR], before[:SECTOR]
    assert left(disk) == {before, after, one + other, other + one}
    disk.fdatasync(descriptor)
    assert left(disk) == {after}


def test_of_two_writes_to_a_sector_either_may_be_there_alone() -> None:
    disk = StrictDisk()
    descriptor = made(disk, b"....")
    disk.pwrite(descriptor, b"ab", 0)
    disk.pwrite(descriptor, b"c", 3)
    assert left(disk) == {b"....", b"ab..", b"...c", b"ab.c"}


def test_a_second_flush_does_not_repair_a_failed_one() -> None:
    disk = StrictDisk()
    descriptor = made(disk, b"old!")
    disk.pwrite(descriptor, b"new!", 0)
    disk.fault = {"fdatasync": errno.EIO}.get
    with pytest.raises(OSError, match="Input/output error"):
        disk.fdatasync(descriptor)
    disk.fault = lambda _: None
    disk.fdatasync(descriptor)
    assert disk.pread(descriptor, 4, 0) == b"new!"
    assert left(disk) == {b"old!"}


def test_a_file_is_lost_with_the_name_of_its_directory() -> None:
    disk = StrictDisk()
    disk.mkdir(ROOT / "new")
    descriptor = disk.open(ROOT / "new" / "file", NEW)
    disk.fsync(descriptor)
    disk.fsync(disk.open(ROOT / "new", StrictDisk.O_RDONLY))
    after = Aftermath()
    for event in disk.log:
        after.happen(event)
    (choice,) = after.choices()
    assert Path(str(choice.name)) == ROOT / "new"
    assert [set(aftermath.left(after, [choice], [each])) for each in choice.options] == [
        {"/", str(ROOT)},
        {"/", str(ROOT), str(ROOT / "new"), str(ROOT / "new" / "file")},
    ]
