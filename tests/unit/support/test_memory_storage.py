"""The storage of the tests loses in a crash what a disk may lose."""

import asyncio
import contextlib
import errno
from collections.abc import Iterator

import pytest

from resumable_glance.storage.base import StorageFile, UploadStorage
from tests.fakes.memory_storage import MemoryStorage

ID = "a-" + "0" * 32
OTHER = "a-" + "1" * 32


@contextlib.contextmanager
def fails_with(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as failed:  # noqa: PT011 - its number is what is looked at
        yield
    assert failed.value.errno == number


async def written(storage: UploadStorage, *, synced: bool) -> None:
    await storage.create(ID, 4)
    async with storage.open(ID) as file:
        await file.write(0, b"old!")
        await file.sync()
        await file.write(0, b"new!")
        if synced:
            await file.sync()


async def content(storage: UploadStorage, length: int = 4) -> bytes:
    async with storage.open(ID) as file:
        return await file.read(0, length)


@pytest.mark.parametrize(("synced", "left"), [(False, b"old!"), (True, b"new!")])
def test_a_crash_loses_unsynced_bytes(synced: bool, left: bytes) -> None:
    async def scenario() -> bytes:
        storage = MemoryStorage()
        await written(storage, synced=synced)
        assert await content(storage) == b"new!"
        storage.crash()
        return await content(storage)

    assert asyncio.run(scenario()) == left


def test_a_crash_can_keep_unsynced_bytes() -> None:
    async def scenario() -> bytes:
        storage = MemoryStorage()
        await written(storage, synced=False)
        storage.crash(keeps=True)
        storage.crash()
        return await content(storage)

    assert asyncio.run(scenario()) == b"new!"


def test_a_sync_covers_writes_of_the_same_file_object() -> None:
    async def scenario() -> bytes:
        storage = MemoryStorage()
        await storage.create(ID, 4)
        async with storage.open(ID) as one, storage.open(ID) as other:
            await one.write(0, b"a")
            await other.write(1, b"b")
            await other.sync()
        storage.crash()
        return await content(storage)

    assert asyncio.run(scenario()) == b"\0b\0\0"


def test_a_second_sync_does_not_repair_a_failed_one() -> None:
    """The kernel may have dropped the pages: a sync that is tried again says yes and is wrong."""

    async def scenario() -> bytes:
        storage = MemoryStorage()
        await storage.create(ID, 4)
        async with storage.open(ID) as file:
            await file.write(0, b"lost")
            storage.faults["sync"] = errno.EIO
            with fails_with(errno.EIO):
                await file.sync()
            await file.sync()
        storage.crash()
        return await content(storage)

    assert asyncio.run(scenario()) == bytes(4)


@pytest.mark.parametrize("operation", ["create", "write", "zero", "sync", "read"])
def test_a_fault_affects_the_next_call_only(operation: str) -> None:
    async def scenario() -> None:
        storage = MemoryStorage()

        async def call(file: StorageFile) -> None:
            calls = {"write": lambda: file.write(0, b"x"), "sync": file.sync, "read": lambda: file.read(0, 1)}
            calls["zero"] = lambda: file.zero(0, 1)
            await calls.get(operation, lambda: storage.create(OTHER, 1))()  # type: ignore[no-untyped-call]

        await storage.create(ID, 4)
        async with storage.open(ID) as file:
            storage.faults[operation] = errno.EIO
            with fails_with(errno.EIO):
                await call(file)
            await call(file)

    asyncio.run(scenario())


def test_a_full_storage_takes_nothing_of_a_write() -> None:
    async def scenario() -> None:
        storage = MemoryStorage(capacity=6)
        await storage.create(ID, 8)
        async with storage.open(ID) as file:
            await file.write(0, b"1234")
            with fails_with(errno.ENOSPC):
                await file.write(4, b"5678")
            assert await file.read(0, 8) == b"1234" + bytes(4)
        assert await storage.free() == 2

    asyncio.run(scenario())


def test_a_full_storage_takes_bytes_after_a_removal() -> None:
    async def scenario() -> int:
        storage = MemoryStorage(capacity=8)
        await written(storage, synced=True)
        await storage.remove(ID)
        return await storage.free()

    assert asyncio.run(scenario()) == 8
