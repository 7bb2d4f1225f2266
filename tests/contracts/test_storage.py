"""Storages keep their contract, and the check notices those that do not."""

import asyncio
import contextlib
import io
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from resumable_glance.storage.base import checked
from resumable_glance.storage.local import LocalStorage
from tests.contracts import BrokenPromise, check_storage
from tests.fakes.memory_storage import MemoryStorage, MemoryStorageFile
from tests.reliability.strict_disk import ROOT, StrictDisk
from tests.reliability.world import live


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LocalStorage]:
    made = LocalStorage(tmp_path / "scratch")
    yield made
    made.close()


def test_local_storage_keeps_the_contract(storage: LocalStorage) -> None:
    asyncio.run(check_storage(storage))


def test_memory_storage_keeps_the_contract() -> None:
    asyncio.run(check_storage(MemoryStorage()))


def test_the_check_of_the_contract_leaves_nothing_behind(storage: LocalStorage, tmp_path: Path) -> None:
    asyncio.run(check_storage(storage))
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / "scratch" / "lock"]


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


class ReadsShort(MemoryStorage):
    class file(MemoryStorageFile):
        async def read(self, position: int, length: int) -> bytes:
            return bytes(self._stored.current[position : position + length])


class OffByOne(MemoryStorage):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(position + (position > 100_000), data)


class KeepsItsSize(MemoryStorage):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(position, data[: max(0, self._stored.size - position)])


class Appends(MemoryStorage):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(len(self._stored.current), data)


class WritesAPart(MemoryStorage):
    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            await super().write(position, data[: 64 * 1024])


class ZeroesNothing(MemoryStorage):
    """As if nothing could lie where nothing is durable."""

    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            self._stored.grow(position + length)


class ZeroesOnlyWhatWasSynced(MemoryStorage):
    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            for each in range(position, min(position + length, len(self._stored.current))):
                if self._stored.durable[each]:
                    await super().zero(each, 1)
            self._stored.grow(position + length)


class ZeroesWholeBlocks(MemoryStorage):
    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            start = position // 4096 * 4096
            await super().zero(start, position + length - start)


class EndsBeforeItsZeros(MemoryStorage):
    class file(MemoryStorageFile):
        async def zero(self, position: int, length: int) -> None:
            if position < len(self._stored.current):
                await super().zero(position, min(length, len(self._stored.current) - position))


class WritersRace(MemoryStorage):
    """Reads the whole file, waits, and writes it back with its own part changed."""

    class file(MemoryStorageFile):
        async def write(self, position: int, data: bytes | memoryview) -> None:
            whole = bytearray(self._stored.current)
            await asyncio.sleep(0)
            whole.extend(bytes(max(0, position + len(data) - len(whole))))
            whole[position : position + len(data)] = data
            self._stored.current[:] = whole


class KeepsToItself(MemoryStorage):
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
    "broken",
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
        KeepsItsSize,
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
def test_the_check_notices_a_broken_storage(broken: type[MemoryStorage]) -> None:
    own_error = {RemovesOnlyOnce: KeyError, KeepsItsSize: EOFError}.get(broken, BrokenPromise)
    with pytest.raises((BrokenPromise, own_error)):
        asyncio.run(check_storage(broken()))


def test_local_storage_keeps_the_contract_on_the_strict_disk() -> None:
    disk = StrictDisk()
    live(disk, lambda: check_storage(LocalStorage(ROOT / "scratch")), random.Random(1))
    assert not disk.trespasses
