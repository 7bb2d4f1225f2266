"""Uploads as files of a local directory."""

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import aiofiles.os
import pytest

from resumable_glance.runtime import durable
from resumable_glance.storage import local
from resumable_glance.storage.local import InUse, LocalStorage

ID = "a-" + "0" * 32
OTHER = "a-" + "1" * 32


@contextlib.contextmanager
def fails_with(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as failed:  # noqa: PT011 - its number is what is looked at
        yield
    assert failed.value.errno == number


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LocalStorage]:
    made = LocalStorage(tmp_path / "scratch")
    yield made
    made.close()


def test_a_directory_belongs_to_one_instance_at_a_time(tmp_path: Path) -> None:
    first = LocalStorage(tmp_path)
    with pytest.raises(InUse):
        LocalStorage(tmp_path)
    first.close()
    LocalStorage(tmp_path).close()


def test_a_refused_instance_keeps_no_descriptor(tmp_path: Path) -> None:
    first = LocalStorage(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(InUse):
            LocalStorage(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    first.close()


def test_uploads_are_there_again_after_a_restart(tmp_path: Path) -> None:
    async def store(storage: LocalStorage) -> None:
        await storage.create(ID, 5)
        async with storage.open(ID) as file:
            await file.write(0, b"bytes")
            await file.sync()

    async def read(storage: LocalStorage) -> bytes:
        assert [each async for each in storage.uploads()] == [ID]
        async with storage.open(ID) as file:
            return await file.read(0, 5)

    before = LocalStorage(tmp_path)
    asyncio.run(store(before))
    before.close()
    after = LocalStorage(tmp_path)
    assert asyncio.run(read(after)) == b"bytes"
    after.close()


def test_files_and_directories_are_private(storage: LocalStorage, tmp_path: Path) -> None:
    asyncio.run(storage.create(ID, 5))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*")}
    assert modes == {"scratch": 0o700, "uploads": 0o700, "lock": 0o600, f"{ID}.upload": 0o600}


def test_an_unwritten_file_takes_no_space(storage: LocalStorage, tmp_path: Path) -> None:
    asyncio.run(storage.create(ID, 1 << 40))
    made = (tmp_path / "scratch" / "uploads" / f"{ID}.upload").stat()
    assert made.st_size == 1 << 40
    assert made.st_blocks * 512 < 1 << 20


def test_zeros_take_no_space_however_many_there_are(storage: LocalStorage, tmp_path: Path) -> None:
    """Only what was written before is written again, and the last byte of a file that has to become longer."""

    async def scenario() -> None:
        await storage.create(ID, 1 << 40)
        async with storage.open(ID) as file:
            await file.write(1 << 30, b"left by somebody")
            await file.zero(0, 1 << 40)
            await file.zero(1 << 40, 1 << 20)
            await file.sync()
            assert await file.read(1 << 30, 16) == bytes(16)

    asyncio.run(scenario())
    made = (tmp_path / "scratch" / "uploads" / f"{ID}.upload").stat()
    assert made.st_size == (1 << 40) + (1 << 20)
    assert made.st_blocks * 512 < 1 << 20


def test_zeros_are_written_where_holes_are_unsupported(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 3_000_000  # more than is written at once

    def lseek(descriptor: int, position: int, how: int) -> int:
        """As the kernel does it where a file system has not its own."""
        end = os.fstat(descriptor).st_size
        if position >= end:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return position if how == os.SEEK_DATA else end

    async def scenario() -> None:
        await storage.create(ID, size + 2)
        async with storage.open(ID) as file:
            await file.write(0, b"x" * (size + 2))
            monkeypatch.setattr(os, "lseek", lseek)
            await file.zero(1, size)
            assert await file.read(0, size + 2) == b"x" + bytes(size) + b"x"

    asyncio.run(scenario())


def test_a_file_without_seek_data_is_not_taken_for_a_hole(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lseek(descriptor: int, position: int, how: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def scenario() -> None:
        await storage.create(ID, 4)
        async with storage.open(ID) as file:
            monkeypatch.setattr(os, "lseek", lseek)
            with fails_with(errno.EIO):
                await file.zero(0, 4)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["README.upload", "a-123.upload", ".upload", "lost+found", ID, f"{ID}.upload~"])
def test_a_foreign_file_is_not_an_upload(storage: LocalStorage, tmp_path: Path, name: str) -> None:
    """Else the sweep at the start asks for its removal, is told that this is no id, and the service can't start."""
    (tmp_path / "scratch" / "uploads" / name).touch()

    async def listed() -> list[str]:
        await storage.create(OTHER, 1)
        return [each async for each in storage.uploads()]

    assert asyncio.run(listed()) == [OTHER]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What fsync() is called for, in order."""
    found: list[Path] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        found.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    return found


def test_a_new_file_and_then_its_name_are_durable(storage: LocalStorage, tmp_path: Path, synced: list[Path]) -> None:
    asyncio.run(storage.create(ID, 5))
    uploads = tmp_path / "scratch" / "uploads"
    assert synced == [uploads / f"{ID}.upload", uploads]


def test_a_removal_is_durable(storage: LocalStorage, tmp_path: Path, synced: list[Path]) -> None:
    asyncio.run(storage.create(ID, 5))
    synced.clear()
    asyncio.run(storage.remove(ID))
    assert synced == [tmp_path / "scratch" / "uploads"]


def test_a_removal_that_is_tried_again_is_durable(storage: LocalStorage, tmp_path: Path, synced: list[Path]) -> None:
    """The first one may have failed just before it was."""
    synced.clear()
    asyncio.run(storage.remove(ID))
    assert synced[-1:] == [tmp_path / "scratch" / "uploads"]


def test_every_directory_that_was_made_has_a_durable_name(tmp_path: Path, synced: list[Path]) -> None:
    LocalStorage(tmp_path / "one" / "two").close()
    assert {tmp_path, tmp_path / "one", tmp_path / "one" / "two"} <= set(synced)


def test_a_start_makes_a_failed_starts_directories_durable(tmp_path: Path, synced: list[Path]) -> None:
    (tmp_path / "scratch" / "uploads").mkdir(parents=True)
    LocalStorage(tmp_path / "scratch").close()
    assert synced == [tmp_path, tmp_path / "scratch"]  # where the names of both are


def test_a_foreign_parent_directory_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(directory: Path) -> None:
        if directory == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(durable, "sync_directory", refused)
    (tmp_path / "scratch").mkdir()
    LocalStorage(tmp_path / "scratch").close()
    with fails_with(errno.EACCES):
        LocalStorage(tmp_path / "another")


def test_a_write_that_the_disk_takes_in_parts_is_finished(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, position: pwrite(fd, data[:3], position))

    async def write_and_read() -> bytes:
        await storage.create(ID, 12)
        async with storage.open(ID) as file:
            await file.write(1, b"ten bytes!")
            return await file.read(0, 12)

    assert asyncio.run(write_and_read()) == b"\0ten bytes!\0"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_fault_in_the_middle_of_a_write_is_raised(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    pwrite = os.pwrite

    def nearly_full(descriptor: int, data: memoryview, position: int) -> int:
        if position >= 6:
            raise OSError(number, os.strerror(number))
        return pwrite(descriptor, data[:6], position)

    monkeypatch.setattr(os, "pwrite", nearly_full)

    async def write() -> None:
        await storage.create(ID, 12)
        async with storage.open(ID) as file:
            await file.write(0, b"ten bytes!")

    with fails_with(number):
        asyncio.run(write())


class PausedCall:
    """Holds a thread in a call until it may go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.may_go_on = threading.Event()
        self.left = threading.Event()

    def __enter__(self) -> None:
        self.entered.set()
        assert self.may_go_on.wait(10)

    def __exit__(self, *_: object) -> None:
        self.left.set()


@pytest.mark.parametrize("cancellations", [1, 2])
def test_a_cancelled_write_closes_its_file_after_its_thread(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, cancellations: int
) -> None:
    """Otherwise its bytes land late, or in whatever file has the same number by then."""
    paused, pwrite, landed = PausedCall(), os.pwrite, []

    def slow(descriptor: int, data: memoryview, position: int) -> int:
        with paused:
            landed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).stem)
            return pwrite(descriptor, data, position)

    async def write() -> None:
        async with storage.open(ID) as file:
            await file.write(0, b"bytes")

    async def cancelled() -> None:
        await storage.create(ID, 5)
        monkeypatch.setattr(os, "pwrite", slow)
        task = asyncio.create_task(write())
        assert await asyncio.to_thread(paused.entered.wait, 10)
        try:
            for _ in range(cancellations):
                task.cancel()
                await asyncio.wait([task], timeout=0.05)
                assert not task.done()
        finally:
            paused.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert paused.left.is_set()

    asyncio.run(cancelled())
    assert landed == [ID]


def test_a_cancelled_open_leaves_no_descriptor(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    paused, seen = PausedCall(), list[int]()

    def slow(path: Path, opened: list[int]) -> None:
        with paused:
            opened.append(os.open(path, os.O_RDWR))
            seen.extend(opened)

    async def write() -> None:
        async with storage.open(ID):
            pytest.fail("cancelled, and yet it is open")

    async def cancelled() -> None:
        await storage.create(ID, 5)
        monkeypatch.setattr(local, "_open", aiofiles.os.wrap(slow))
        task = asyncio.create_task(write())
        assert await asyncio.to_thread(paused.entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        paused.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(paused.left.wait, 10)

    asyncio.run(cancelled())
    with fails_with(errno.EBADF):
        os.fstat(seen[0])
