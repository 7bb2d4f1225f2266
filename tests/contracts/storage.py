"""The contract of storage (resumable_glance.storage.base), as a check."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from resumable_glance.storage.base import UploadStorage
from tests.contracts.promises import promised, raises

KiB = 1024
BAD_IDS = (
    "",
    ".",
    "..",
    "../x",
    "a-../../../../../../tmp/x",
    "/etc/passwd",
    "%2e%2e%2fx",
    "a-" + "0" * 31,
    "a-" + "0" * 33,
    "a-" + "A" * 32,
    "a-" + "g" * 32,
    "-" + "0" * 32,
    "0" * 32,
    "b" * 17 + "-" + "0" * 32,
    "a-" + "0" * 32 + "\n",
    "a-" + "0" * 32 + "\0",
    "a-" + "٠" * 32,
    " a-" + "0" * 32,
)


async def check_storage(storage: UploadStorage) -> None:
    """Check that a storage keeps the contract. What others have there is not touched."""
    for check in (
        _creation_is_exclusive,
        _holes_read_as_zeros,
        _bytes_land_where_they_belong,
        _a_file_grows_with_what_is_written,
        _zeros_take_the_place_of_what_was_there,
        _a_file_reaches_as_far_as_its_zeros,
        _writers_do_not_disturb_each_other,
        _a_file_that_is_too_short_says_so,
        _synced_bytes_are_seen_by_others,
        _a_reader_gives_everything,
        _a_reader_sees_what_is_written_later,
        _removal_frees,
        _missing_files_are_missed,
        _an_upload_of_no_bytes_is_a_file_too,
    ):
        upload_id = f"check-{secrets.token_hex(16)}"
        try:
            await check(storage, upload_id)
        finally:
            await storage.remove(upload_id)
    await _bad_ids_touch_nothing(storage)
    free = await storage.free()
    promised(type(free) is int and free >= 0, f"free() is a number of bytes; it was {free!r}.")


async def _listed(storage: UploadStorage) -> set[str]:
    listed = [each async for each in storage.uploads()]
    promised(len(set(listed)) == len(listed), "uploads() names each upload once.")
    return set(listed)


async def _creation_is_exclusive(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 8)
    async with storage.open(upload_id) as file:
        await file.write(0, b"12345678")
        await file.sync()
    with raises(FileExistsError, "create() of an upload that has a file raises FileExistsError."):
        await storage.create(upload_id, 8)
    async with storage.open(upload_id) as file:
        promised(await file.read(0, 8) == b"12345678", "create() that is refused leaves the file as it was.")
    promised(upload_id in await _listed(storage), "uploads() lists what was created.")


async def _holes_read_as_zeros(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 64 * KiB)
    async with storage.open(upload_id) as file:
        promised(await file.read(0, 64 * KiB) == bytes(64 * KiB), "A file that nobody wrote to is all zeros.")
        await file.write(40_000, b"x")
        expected = bytes(40_000) + b"x" + bytes(64 * KiB - 40_001)
        promised(await file.read(0, 64 * KiB) == expected, "Around what was written there are zeros.")


async def _bytes_land_where_they_belong(storage: UploadStorage, upload_id: str) -> None:
    size = 300 * KiB
    model = bytearray(size)
    await storage.create(upload_id, size)
    async with storage.open(upload_id) as file:
        for position, length in ((200_000, 70_000), (0, 1), (size - 1, 1), (100, 100_000), (150, 10), (5, 0)):
            data = secrets.token_bytes(length)
            await file.write(position, memoryview(data) if length % 2 else data)
            model[position : position + length] = data
        await file.sync()
        promised(await file.read(0, size) == model, "Any position can be written to, in any order, and again.")
        promised(await file.read(149, 12) == model[149:161], "Any part can be read.")
        promised(await file.read(7, 0) == b"", "A read of no bytes gives none.")


async def _a_file_grows_with_what_is_written(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 0)
    async with storage.open(upload_id) as file:
        await file.write(0, b"one")
        await file.write(10, b"two")
        await file.sync()
        promised(await file.read(0, 13) == b"one" + bytes(7) + b"two", "Writes may go beyond the end of a file.")
        with raises(EOFError, "A file is no longer than what was written."):
            await file.read(0, 14)


async def _zeros_take_the_place_of_what_was_there(storage: UploadStorage, upload_id: str) -> None:
    size = 300 * KiB
    model = bytearray(size)
    await storage.create(upload_id, size)
    async with storage.open(upload_id) as file:
        for position, length in ((5_000, 100_000), (200_000, 3)):
            data = secrets.token_bytes(length)
            await file.write(position, data)
            model[position : position + length] = data
        await file.sync()
        await file.write(110_000, b"not synced")
    async with storage.open(upload_id) as file:
        for position, length in ((5_001, 50_000), (104_000, 96_001), (250_000, 10), (7, 0), (size - 1, 1)):
            await file.zero(position, length)
            model[position : position + length] = bytes(length)
        promised(await file.read(0, size) == model, "zero() leaves zeros, whoever wrote there, and all else as it was.")
        await file.sync()
    async with storage.open(upload_id) as file:
        promised(await file.read(0, size) == model, "Zeros that were synced are seen by whoever opens the file later.")


async def _a_file_reaches_as_far_as_its_zeros(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 0)
    async with storage.open(upload_id) as file:
        await file.write(0, b"one")
        await file.zero(2, 0)
        await file.zero(2, 100 * KiB)
        await file.zero(50, 10)
        await file.sync()
        found = b""
        with contextlib.suppress(EOFError):
            found = await file.read(0, 2 + 100 * KiB)
        promised(found == b"on" + bytes(100 * KiB), "A file has the zeros at its end, too.")
        with raises(EOFError, "A file is no longer than its last zero."):
            await file.read(0, 3 + 100 * KiB)


async def _writers_do_not_disturb_each_other(storage: UploadStorage, upload_id: str) -> None:
    writers, stripe, rounds = 8, 4 * KiB, 8
    await storage.create(upload_id, writers * stripe * rounds)

    async def write(mine: int) -> None:
        async with storage.open(upload_id) as file:
            for turn in range(rounds):
                await file.write((turn * writers + mine) * stripe, bytes([mine + 1]) * stripe)
            await file.sync()

    await asyncio.gather(*(write(each) for each in range(writers)))
    expected = b"".join(bytes([each + 1]) * stripe for each in range(writers)) * rounds
    async with storage.open(upload_id) as file:
        found = await file.read(0, len(expected))
    promised(found == expected, "Several writers at a time, each at its own places, lose nothing of each other.")


async def _a_file_that_is_too_short_says_so(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 10)
    async with storage.open(upload_id) as file:
        await file.write(0, b"0123456789")
        for position, length in ((0, 11), (10, 1), (1000, 1)):
            with raises(EOFError, "read() beyond the end raises EOFError rather than give fewer bytes."):
                await file.read(position, length)
        promised(await file.read(9, 1) == b"9", "After an EOFError the file can still be read.")


async def _synced_bytes_are_seen_by_others(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 4)
    async with storage.open(upload_id) as one, storage.open(upload_id) as other:
        await one.write(0, b"once")
        await one.sync()
        promised(await other.read(0, 4) == b"once", "What was synced is seen by whoever has the file open.")
        await one.sync()  # nothing new: no error
    async with storage.open(upload_id) as later:
        promised(await later.read(0, 4) == b"once", "What was synced is seen by whoever opens the file later.")


async def _a_reader_sees_what_is_written_later(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 20)
    async with storage.open(upload_id) as file:
        await file.write(0, b"first half")
        await file.sync()
        with await asyncio.to_thread(storage.reader, upload_id) as reader:
            promised(await asyncio.to_thread(reader.read, 10) == b"first half", "A reader gives what is there.")
            await file.write(10, b"other half")
            await file.sync()
            later = await asyncio.to_thread(reader.read, 10)
            promised(later == b"other half", "A reader sees what is synced while it reads.")


async def _a_reader_gives_everything(storage: UploadStorage, upload_id: str) -> None:
    data = secrets.token_bytes(200_000)
    await storage.create(upload_id, len(data))
    async with storage.open(upload_id) as file:
        await file.write(0, data)
        await file.sync()

    def read_all() -> bytes:
        with storage.reader(upload_id) as reader:
            pieces = list(iter(lambda: reader.read(30_000), b""))
            promised(all(len(each) <= 30_000 for each in pieces), "A reader gives no more than it is asked for.")
            promised(reader.read(1) == b"", "A reader at its end gives nothing, however often it is asked.")
        return b"".join(pieces)

    promised(await asyncio.to_thread(read_all) == data, "A reader gives every byte, in order, to a thread.")


async def _removal_frees(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 4)
    async with storage.open(upload_id) as file:
        await file.write(0, b"left")
        await file.sync()
    await storage.remove(upload_id)
    promised(upload_id not in await _listed(storage), "uploads() does not list what was removed.")
    with raises(FileNotFoundError, "What was removed can't be opened."):
        async with storage.open(upload_id):
            pass
    await storage.remove(upload_id)  # idempotent: no error
    await storage.create(upload_id, 4)
    async with storage.open(upload_id) as file:
        promised(await file.read(0, 4) == bytes(4), "A file that is made again has nothing of the one before.")


async def _missing_files_are_missed(storage: UploadStorage, upload_id: str) -> None:
    with raises(FileNotFoundError, "open() of an upload that has no file raises FileNotFoundError."):
        async with storage.open(upload_id):
            pass
    with raises(FileNotFoundError, "reader() of an upload that has no file raises FileNotFoundError."):
        storage.reader(upload_id).close()
    promised(upload_id not in await _listed(storage), "Asking for a file does not make it.")
    await storage.remove(upload_id)  # no error if there is nothing to free


async def _an_upload_of_no_bytes_is_a_file_too(storage: UploadStorage, upload_id: str) -> None:
    await storage.create(upload_id, 0)
    promised(upload_id in await _listed(storage), "An upload of no bytes is listed.")
    async with storage.open(upload_id) as file:
        await file.sync()
        promised(await file.read(0, 0) == b"", "An upload of no bytes can be read, and gives none.")
    with storage.reader(upload_id) as reader:
        promised(reader.read(10) == b"", "The reader of an upload of no bytes is at its end.")


async def _bad_ids_touch_nothing(storage: UploadStorage) -> None:
    before = await _listed(storage)
    for bad in BAD_IDS:
        sentence = f"{bad!r} is not an upload id: ValueError, before anything is touched."
        with raises(ValueError, sentence):
            await storage.create(bad, 1)
        with raises(ValueError, sentence):
            async with storage.open(bad):
                pass
        with raises(ValueError, sentence):
            storage.reader(bad).close()
        with raises(ValueError, sentence):
            await storage.remove(bad)
    promised(await _listed(storage) == before, "What is not an upload id changes nothing.")
