"""Every scratch keeps the family's contract, and the check of it notices whoever does not."""

import asyncio
import contextlib
import errno
import io
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import aiofiles.os
import pytest

from resumable_glance.runtime import durable
from resumable_glance.storage import local
from resumable_glance.storage.base import UPLOAD_ID, StorageFile, UploadStorage, checked
from resumable_glance.storage.local import InUse, LocalStorage
from tests.contracts import BAD_IDS, BrokenPromise, check_storage
from tests.fakes.memory_storage import MemoryStorage, MemoryStorageFile

ID = "a-" + "0" * 32
OTHER = "a-" + "1" * 32


@contextlib.contextmanager
def fails_with(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as failed:  # noqa: PT011 - its number is what is looked at
        yield
    assert failed.value.errno == number


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[LocalStorage]:
    made = LocalStorage(tmp_path / "scratch")
    yield made
    made.close()


def test_local_scratch_keeps_the_contract(scratch: LocalStorage) -> None:
    asyncio.run(check_storage(scratch))


def test_memory_scratch_keeps_the_contract() -> None:
    asyncio.run(check_storage(MemoryStorage()))


def test_the_check_of_the_contract_leaves_nothing_behind(scratch: LocalStorage, tmp_path: Path) -> None:
    asyncio.run(check_storage(scratch))
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / "scratch" / "lock"]


@pytest.mark.parametrize("text", BAD_IDS)
def test_what_is_not_an_upload_id_never_becomes_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="not an upload id"):
        checked(text)


@pytest.mark.parametrize("text", [ID, "node17-" + "f" * 32, "0123456789abcdef-" + "0" * 32])
def test_an_upload_id_is_an_instance_and_128_bits(text: str) -> None:
    assert checked(text) == text
    assert UPLOAD_ID.fullmatch(text)


# What the check of the contract must notice


class Sabotaged(MemoryStorage):
    """A memory scratch whose files are made by `file`."""

    file: type[MemoryStorageFile] = MemoryStorageFile

    @contextlib.asynccontextmanager
    async def open(self, upload_id: str) -> AsyncIterator[MemoryStorageFile]:
        yield self.file(self, self._found(upload_id))


class OverwritesOnCreate(MemoryStorage):
    async def create(self, upload_id: str, size: int) -> None:
        await self.remove(upload_id)
        await super().create(upload_id, size)


class EmptiesOnRefusedCreate(MemoryStorage):
    async def create(self, upload_id: str, size: int) -> None:
        if checked(upload_id) in self._stored:
            self._stored[upload_id].current[:] = bytes(size)
        await super().create(upload_id, size)


class StartsWithGarbage(MemoryStorage):
    async def create(self, upload_id: str, size: int) -> None:
        await super().create(upload_id, size)
        self._stored[upload_id].current[:] = b"?" * size


class TakesAnyId(MemoryStorage):
    async def remove(self, upload_id: str) -> None:
        self._stored.pop(upload_id, None)


class LooksFirstAndThenAtTheId(MemoryStorage):
    def reader(self, upload_id: str) -> BinaryIO:
        if upload_id not in self._stored:
            raise FileNotFoundError(upload_id)
        return super().reader(upload_id)


class KeepsWhatWasRemoved(MemoryStorage):
    async def remove(self, upload_id: str) -> None:
        checked(upload_id)


class RemovesOnlyOnce(MemoryStorage):
    async def remove(self, upload_id: str) -> None:
        del self._stored[checked(upload_id)]


class ListsNothing(MemoryStorage):
    async def uploads(self) -> AsyncIterator[str]:
        for each in list[str]():
            yield each


class ListsTwice(MemoryStorage):
    async def uploads(self) -> AsyncIterator[str]:
        for each in [*self._stored, *self._stored]:
            yield each


class MakesWhatIsOpened(MemoryStorage):
    @contextlib.asynccontextmanager
    async def open(self, upload_id: str) -> AsyncIterator[MemoryStorageFile]:
        if checked(upload_id) not in self._stored:
            await self.create(upload_id, 0)
        yield MemoryStorageFile(self, self._found(upload_id))


class ReaderStopsEarly(MemoryStorage):
    def reader(self, upload_id: str) -> BinaryIO:
        return io.BytesIO(super().reader(upload_id).read()[:-1])


class FreeIsARatio(MemoryStorage):
    async def free(self) -> int:
        return float(await super().free())  # type: ignore[return-value]


class ReadsShort(Sabotaged):
    class file(MemoryStorageFile):
        async def read(self, position: int, length: int) -> bytes:
            return bytes(self._stored.current[position : position + length])


class OffByOne(Sabotaged):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(position + (position > 100_000), data)


class KeepsItsSize(Sabotaged):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(position, data[: max(0, self._stored.size - position)])


class Appends(Sabotaged):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(len(self._stored.current), data)


class WritesAPart(Sabotaged):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(position, data[: 64 * 1024])


class ZeroesNothing(Sabotaged):
    """As if nothing could lie where nothing is durable."""

    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            self._stored.grow(position + length)


class ZeroesOnlyWhatWasSynced(Sabotaged):
    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            for each in range(position, min(position + length, len(self._stored.current))):
                if self._stored.durable[each]:
                    await super().zero(each, 1)
            self._stored.grow(position + length)


class ZeroesWholeBlocks(Sabotaged):
    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            start = position // 4096 * 4096
            await super().zero(start, position + length - start)


class EndsBeforeItsZeros(Sabotaged):
    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            if position < len(self._stored.current):
                await super().zero(position, min(length, len(self._stored.current) - position))


class WritersRace(Sabotaged):
    """Reads the whole file, waits, and writes it back with its own part changed."""

    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            whole = bytearray(self._stored.current)
            await asyncio.sleep(0)
            whole.extend(bytes(max(0, position + len(data) - len(whole))))
            whole[position : position + len(data)] = data
            self._stored.current[:] = whole


class KeepsToItself(Sabotaged):
    """Synced bytes are seen by nobody who had the file open before."""

    class file(MemoryStorageFile):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self._mine = bytes(self._stored.current)

        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(position, data)
            self._mine = bytes(self._stored.current)

        async def read(self, position: int, length: int) -> bytes:
            await super().read(position, length)
            return self._mine[position : position + length]


@pytest.mark.parametrize(
    "saboteur",
    [
        OverwritesOnCreate,
        EmptiesOnRefusedCreate,
        StartsWithGarbage,
        TakesAnyId,
        LooksFirstAndThenAtTheId,
        KeepsWhatWasRemoved,
        RemovesOnlyOnce,
        ListsNothing,
        ListsTwice,
        MakesWhatIsOpened,
        ReaderStopsEarly,
        FreeIsARatio,
        ReadsShort,
        OffByOne,
        Appends,
        WritesAPart,
        ZeroesNothing,
        ZeroesOnlyWhatWasSynced,
        ZeroesWholeBlocks,
        EndsBeforeItsZeros,
        WritersRace,
        KeepsToItself,
    ],
)
def test_the_check_notices_a_scratch_that_breaks_its_word(saboteur: type[MemoryStorage]) -> None:
    expected = (BrokenPromise, KeyError) if saboteur is RemovesOnlyOnce else BrokenPromise
    with pytest.raises(expected):
        asyncio.run(check_storage(saboteur()))


# Local scratch


def test_a_scratch_directory_belongs_to_one_instance_at_a_time(tmp_path: Path) -> None:
    first = LocalStorage(tmp_path)
    with pytest.raises(InUse):
        LocalStorage(tmp_path)
    first.close()
    LocalStorage(tmp_path).close()


def test_whoever_is_refused_a_directory_keeps_no_descriptor_of_it(tmp_path: Path) -> None:
    first = LocalStorage(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(InUse):
            LocalStorage(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    first.close()


def test_uploads_are_there_again_after_a_restart(tmp_path: Path) -> None:
    async def store(scratch: LocalStorage) -> None:
        await scratch.create(ID, 5)
        async with scratch.open(ID) as file:
            await file.write(0, b"bytes")
            await file.sync()

    async def read(scratch: LocalStorage) -> bytes:
        assert [each async for each in scratch.uploads()] == [ID]
        async with scratch.open(ID) as file:
            return await file.read(0, 5)

    before = LocalStorage(tmp_path)
    asyncio.run(store(before))
    before.close()
    after = LocalStorage(tmp_path)
    assert asyncio.run(read(after)) == b"bytes"
    after.close()


def test_files_and_directories_are_for_nobody_else(scratch: LocalStorage, tmp_path: Path) -> None:
    asyncio.run(scratch.create(ID, 5))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*")}
    assert modes == {"scratch": 0o700, "uploads": 0o700, "lock": 0o600, f"{ID}.upload": 0o600}


def test_a_file_that_nobody_wrote_to_takes_no_space(scratch: LocalStorage, tmp_path: Path) -> None:
    asyncio.run(scratch.create(ID, 1 << 40))
    made = (tmp_path / "scratch" / "uploads" / f"{ID}.upload").stat()
    assert made.st_size == 1 << 40
    assert made.st_blocks * 512 < 1 << 20


def test_zeros_take_no_space_however_many_there_are(scratch: LocalStorage, tmp_path: Path) -> None:
    """Only what was written before is written again, and the last byte of a file that has to become longer."""

    async def scenario() -> None:
        await scratch.create(ID, 1 << 40)
        async with scratch.open(ID) as file:
            await file.write(1 << 30, b"left by somebody")
            await file.zero(0, 1 << 40)
            await file.zero(1 << 40, 1 << 20)
            await file.sync()
            assert await file.read(1 << 30, 16) == bytes(16)

    asyncio.run(scenario())
    made = (tmp_path / "scratch" / "uploads" / f"{ID}.upload").stat()
    assert made.st_size == (1 << 40) + (1 << 20)
    assert made.st_blocks * 512 < 1 << 20


def test_where_a_file_system_knows_no_holes_all_zeros_are_written(
    scratch: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3_000_000  # more than is written at once

    def lseek(descriptor: int, position: int, how: int) -> int:
        """As the kernel does it where a file system has not its own."""
        end = os.fstat(descriptor).st_size
        if position >= end:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return position if how == os.SEEK_DATA else end

    async def scenario() -> None:
        await scratch.create(ID, size + 2)
        async with scratch.open(ID) as file:
            await file.write(0, b"x" * (size + 2))
            monkeypatch.setattr(os, "lseek", lseek)
            await file.zero(1, size)
            assert await file.read(0, size + 2) == b"x" + bytes(size) + b"x"

    asyncio.run(scenario())


def test_a_file_that_can_not_be_searched_for_data_is_not_taken_for_a_hole(
    scratch: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lseek(descriptor: int, position: int, how: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def scenario() -> None:
        await scratch.create(ID, 4)
        async with scratch.open(ID) as file:
            monkeypatch.setattr(os, "lseek", lseek)
            with fails_with(errno.EIO):
                await file.zero(0, 4)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["README.upload", "a-123.upload", ".upload", "lost+found", ID, f"{ID}.upload~"])
def test_a_file_that_somebody_else_left_is_not_an_upload(scratch: LocalStorage, tmp_path: Path, name: str) -> None:
    """Else the sweep at the start asks for its removal, is told that this is no id, and the service can't start."""
    (tmp_path / "scratch" / "uploads" / name).touch()

    async def listed() -> list[str]:
        await scratch.create(OTHER, 1)
        return [each async for each in scratch.uploads()]

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


def test_a_new_file_and_then_its_name_are_durable(scratch: LocalStorage, tmp_path: Path, synced: list[Path]) -> None:
    asyncio.run(scratch.create(ID, 5))
    uploads = tmp_path / "scratch" / "uploads"
    assert synced == [uploads / f"{ID}.upload", uploads]


def test_a_removal_is_durable(scratch: LocalStorage, tmp_path: Path, synced: list[Path]) -> None:
    asyncio.run(scratch.create(ID, 5))
    synced.clear()
    asyncio.run(scratch.remove(ID))
    assert synced == [tmp_path / "scratch" / "uploads"]


def test_a_removal_that_is_tried_again_is_durable(scratch: LocalStorage, tmp_path: Path, synced: list[Path]) -> None:
    """The first one may have failed just before it was."""
    synced.clear()
    asyncio.run(scratch.remove(ID))
    assert synced[-1:] == [tmp_path / "scratch" / "uploads"]


def test_every_directory_that_was_made_has_a_durable_name(tmp_path: Path, synced: list[Path]) -> None:
    LocalStorage(tmp_path / "one" / "two").close()
    assert {tmp_path, tmp_path / "one", tmp_path / "one" / "two"} <= set(synced)


def test_a_start_makes_durable_what_one_that_failed_has_left(tmp_path: Path, synced: list[Path]) -> None:
    (tmp_path / "scratch" / "uploads").mkdir(parents=True)
    LocalStorage(tmp_path / "scratch").close()
    assert synced == [tmp_path, tmp_path / "scratch"]  # where the names of both are


def test_a_directory_whose_parent_is_somebody_elses_can_be_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(directory: Path) -> None:
        if directory == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(durable, "sync_directory", refused)
    (tmp_path / "scratch").mkdir()
    LocalStorage(tmp_path / "scratch").close()
    with fails_with(errno.EACCES):
        LocalStorage(tmp_path / "another")


def test_a_write_that_the_disk_takes_in_parts_is_finished(
    scratch: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, position: pwrite(fd, data[:3], position))

    async def write_and_read() -> bytes:
        await scratch.create(ID, 12)
        async with scratch.open(ID) as file:
            await file.write(1, b"ten bytes!")
            return await file.read(0, 12)

    assert asyncio.run(write_and_read()) == b"\0ten bytes!\0"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_in_the_middle_of_a_write_is_not_hidden(
    scratch: LocalStorage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    pwrite = os.pwrite

    def nearly_full(descriptor: int, data: memoryview, position: int) -> int:
        if position >= 6:
            raise OSError(number, os.strerror(number))
        return pwrite(descriptor, data[:6], position)

    monkeypatch.setattr(os, "pwrite", nearly_full)

    async def write() -> None:
        await scratch.create(ID, 12)
        async with scratch.open(ID) as file:
            await file.write(0, b"ten bytes!")

    with fails_with(number):
        asyncio.run(write())


class Authenticator:
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
def test_whoever_is_cancelled_during_a_write_closes_the_file_only_after_the_thread_has_finished(
    scratch: LocalStorage, monkeypatch: pytest.MonkeyPatch, cancellations: int
) -> None:
    """Otherwise its bytes land late, or in whatever file has the same number by then."""
    gate, pwrite, landed = Authenticator(), os.pwrite, []

    def slow(descriptor: int, data: memoryview, position: int) -> int:
        with gate:
            landed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).stem)
            return pwrite(descriptor, data, position)

    async def write() -> None:
        async with scratch.open(ID) as file:
            await file.write(0, b"bytes")

    async def cancelled() -> None:
        await scratch.create(ID, 5)
        monkeypatch.setattr(os, "pwrite", slow)
        task = asyncio.create_task(write())
        assert await asyncio.to_thread(gate.entered.wait, 10)
        try:
            for _ in range(cancellations):
                task.cancel()
                await asyncio.wait([task], timeout=0.05)
                assert not task.done()
        finally:
            gate.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gate.left.is_set()

    asyncio.run(cancelled())
    assert landed == [ID]


def test_whoever_is_cancelled_while_a_file_is_being_opened_leaves_no_descriptor_open(
    scratch: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, seen = Authenticator(), list[int]()

    def slow(path: Path, opened: list[int]) -> None:
        with gate:
            opened.append(os.open(path, os.O_RDWR))
            seen.extend(opened)

    async def write() -> None:
        async with scratch.open(ID):
            pytest.fail("cancelled, and yet it is open")

    async def cancelled() -> None:
        await scratch.create(ID, 5)
        monkeypatch.setattr(local, "_open", aiofiles.os.wrap(slow))
        task = asyncio.create_task(write())
        assert await asyncio.to_thread(gate.entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        gate.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gate.left.wait, 10)

    asyncio.run(cancelled())
    with fails_with(errno.EBADF):
        os.fstat(seen[0])


# Memory scratch


async def written(scratch: UploadStorage, *, synced: bool) -> None:
    await scratch.create(ID, 4)
    async with scratch.open(ID) as file:
        await file.write(0, b"old!")
        await file.sync()
        await file.write(0, b"new!")
        if synced:
            await file.sync()


async def content(scratch: UploadStorage, length: int = 4) -> bytes:
    async with scratch.open(ID) as file:
        return await file.read(0, length)


@pytest.mark.parametrize(("synced", "left"), [(False, b"old!"), (True, b"new!")])
def test_a_crash_of_memory_loses_exactly_what_was_not_synced(synced: bool, left: bytes) -> None:
    async def scenario() -> bytes:
        scratch = MemoryStorage()
        await written(scratch, synced=synced)
        assert await content(scratch) == b"new!"
        scratch.crash()
        return await content(scratch)

    assert asyncio.run(scenario()) == left


def test_a_crash_of_memory_can_keep_what_was_not_synced() -> None:
    async def scenario() -> bytes:
        scratch = MemoryStorage()
        await written(scratch, synced=False)
        scratch.crash(keeps=True)
        scratch.crash()
        return await content(scratch)

    assert asyncio.run(scenario()) == b"new!"


def test_a_sync_makes_durable_what_was_written_through_the_same_object_only() -> None:
    async def scenario() -> bytes:
        scratch = MemoryStorage()
        await scratch.create(ID, 4)
        async with scratch.open(ID) as one, scratch.open(ID) as other:
            await one.write(0, b"a")
            await other.write(1, b"b")
            await other.sync()
        scratch.crash()
        return await content(scratch)

    assert asyncio.run(scenario()) == b"\0b\0\0"


def test_what_a_failed_sync_was_to_make_durable_a_second_one_does_not() -> None:
    """The kernel may have dropped the pages: a sync that is tried again says yes and is wrong."""

    async def scenario() -> bytes:
        scratch = MemoryStorage()
        await scratch.create(ID, 4)
        async with scratch.open(ID) as file:
            await file.write(0, b"lost")
            scratch.faults["sync"] = errno.EIO
            with fails_with(errno.EIO):
                await file.sync()
            await file.sync()
        scratch.crash()
        return await content(scratch)

    assert asyncio.run(scenario()) == bytes(4)


@pytest.mark.parametrize("operation", ["create", "write", "zero", "sync", "read"])
def test_a_fault_strikes_the_next_call_and_no_other(operation: str) -> None:
    async def scenario() -> None:
        scratch = MemoryStorage()

        async def call(file: StorageFile) -> None:
            calls = {"write": lambda: file.write(0, b"x"), "sync": file.sync, "read": lambda: file.read(0, 1)}
            calls["zero"] = lambda: file.zero(0, 1)
            await calls.get(operation, lambda: scratch.create(OTHER, 1))()  # type: ignore[no-untyped-call]

        await scratch.create(ID, 4)
        async with scratch.open(ID) as file:
            scratch.faults[operation] = errno.EIO
            with fails_with(errno.EIO):
                await call(file)
            await call(file)

    asyncio.run(scenario())


def test_memory_that_is_full_says_so_and_takes_nothing_of_what_does_not_fit() -> None:
    async def scenario() -> None:
        scratch = MemoryStorage(capacity=6)
        await scratch.create(ID, 8)
        async with scratch.open(ID) as file:
            await file.write(0, b"1234")
            with fails_with(errno.ENOSPC):
                await file.write(4, b"5678")
            assert await file.read(0, 8) == b"1234" + bytes(4)
        assert await scratch.free() == 2

    asyncio.run(scenario())


def test_memory_that_was_full_takes_bytes_again_after_a_removal() -> None:
    async def scenario() -> int:
        scratch = MemoryStorage(capacity=8)
        await written(scratch, synced=True)
        await scratch.remove(ID)
        return await scratch.free()

    assert asyncio.run(scenario()) == 8
