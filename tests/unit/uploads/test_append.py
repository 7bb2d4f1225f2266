"""Chunks: in order and in any order, taken over, and when storage or the catalog fails."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff import reader
from resumable_glance.model import digests
from resumable_glance.model.commands import Appended, Chunk
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import require
from resumable_glance.uploads import chunk_writer
from tests.fakes.memory_storage import MemoryStorage
from tests.support.rig import CONTENT, NOBODYS, SIZE, Pieces, Rig, refusal, rig


def test_a_complete_chunk_counts_though_a_newer_one_came(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            older = await here.begun(upload_id, Chunk(0, SIZE, in_order=True), sent=SIZE)
            assert await refusal(here.send_in_order(upload_id, 0, Pieces(CONTENT), SIZE)) is Reason.WRONG_OFFSET
            outcome = await older
            assert isinstance(outcome, Appended)
            assert outcome.upload.offset == SIZE

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [0, 1000])
def test_a_superseded_request_gets_the_current_offset(tmp_path: Path, sent: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            older = await here.begun(upload_id, Chunk(0, SIZE, in_order=True), sent)
            await here.send_in_order(upload_id, sent, Pieces(CONTENT[sent:]), SIZE - sent)
            with pytest.raises(Refused) as refused:
                await older
            assert (refused.value.reason, refused.value.facts["offset"]) == (Reason.SUPERSEDED, sent)

    asyncio.run(scenario())


def test_nothing_is_hashed_on_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashing: set[int] = set()
    real = digests.hasher

    class Watched:
        """A hasher that remembers which thread used it."""

        def __init__(self, algorithm: str) -> None:
            self._hasher = real(algorithm)

        def update(self, data: bytes | memoryview, /) -> None:
            hashing.add(threading.get_ident())
            self._hasher.update(data)

        def digest(self) -> bytes:
            return self._hasher.digest()

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            sha256 = Digest("sha256", hashlib.sha256(CONTENT[:50_000]).digest())
            await here.send_in_order(upload_id, 0, Pieces(CONTENT[:50_000]), 50_000, (sha256,))
            await here.send(upload_id, 40_000, SIZE)  # a part of it is compared, and a mark is computed of the rest
            await here.reaches(upload_id, State.ACTIVE)
            assert hashing
            assert threading.get_ident() not in hashing

    for module in (chunk_writer, reader, digests):
        monkeypatch.setattr(module, "hasher", Watched)
    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("operation", "number", "expected"),
    [
        ("write", errno.ENOSPC, Reason.NO_SPACE),
        ("write", errno.EDQUOT, Reason.NO_SPACE),
        ("write", errno.EIO, Reason.SCRATCH_FAILED),
        ("sync", errno.EIO, Reason.SCRATCH_FAILED),
        ("sync", errno.ENOSPC, Reason.NO_SPACE),
    ],
)
def test_a_storage_fault_keeps_acknowledged_bytes(
    tmp_path: Path, operation: str, number: int, expected: Reason
) -> None:
    async def scenario() -> None:
        storage = MemoryStorage()
        async with rig(tmp_path, storage) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            storage.faults[operation] = number
            assert await refusal(here.send(upload_id, 1000, SIZE)) is expected
            storage.crash()
            assert (await here.inspect(upload_id)).durable == (Range(0, 1000),)
            await here.send(upload_id, 1000, SIZE)
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_a_full_catalog_acknowledges_and_loses_nothing(tmp_path: Path) -> None:
    """SQLite itself says so here: it is forbidden to grow."""

    async def scenario() -> None:
        storage = MemoryStorage()
        async with rig(tmp_path, storage) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            pages = await here.catalog.transactions.write(
                lambda db: int(db.exec_driver_sql("PRAGMA page_count").scalar_one())
            )

            def grow_to(most: int) -> Callable[[sa.Connection], object]:
                return lambda db: db.exec_driver_sql(f"PRAGMA max_page_count = {most}").scalar_one()

            await here.catalog.transactions.write(grow_to(pages))
            assert await refusal(send_many(here, upload_id)) is Reason.NO_SPACE
            durable = (await here.inspect(upload_id)).durable
            assert durable[0] == Range(0, 1000)
            before = {each.name for each in here.images.iterdir()}
            assert await refusal(create_many(here)) is Reason.NO_SPACE
            created = {each.name for each in here.images.iterdir()} - before
            assert len(created) == len(await here.files()) - 1, "an image or a file without a record is left"
            await here.catalog.transactions.write(grow_to(pages + 1000))
            assert (await here.inspect(upload_id)).durable == durable
            await here.send(upload_id, 0, SIZE)
            await here.reaches(upload_id, State.ACTIVE)

    async def send_many(here: Rig, upload_id: str) -> None:
        for start in range(2000, SIZE, 20):
            await here.send(upload_id, start, start + 10)

    async def create_many(here: Rig) -> None:
        for _ in range(200):
            await here.create()

    asyncio.run(scenario())


@pytest.mark.parametrize("length", [None, 0, 500, SIZE - 1000])
def test_a_chunk_in_order_evicts_all_writers(tmp_path: Path, length: int | None) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            running = await here.begun(upload_id, Chunk(90_000, 10_000), sent=10)
            content = CONTENT[1000:] if length is None else CONTENT[1000 : 1000 + length]
            upload = await here.send_in_order(upload_id, 1000, Pieces(content), length)
            assert await refusal(running) is Reason.SUPERSEDED
            assert upload.offset == 1000 + len(content)
            if upload.state is State.RECEIVING:
                assert (await here.inspect(upload_id)).durable == (Range(0, upload.offset), Range(90_000, 90_010))
                await here.send(upload_id, upload.offset, SIZE)
            await here.reaches(upload_id, State.ACTIVE)
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT

    asyncio.run(scenario())


@pytest.mark.parametrize("older", [Chunk(1000, None, in_order=True), Chunk(1000, SIZE - 1000)])
def test_a_chunk_in_order_continues_after_a_stalled_one(tmp_path: Path, older: Chunk) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            running = await here.begun(upload_id, older, sent=10)
            with pytest.raises(Refused) as refused:
                await here.send_in_order(upload_id, 1000, Pieces(CONTENT[1000:]))
            assert refused.value.reason is Reason.WRONG_OFFSET
            assert refused.value.facts == {"offset": 1010, "provided": 1000}
            assert await refusal(running) is Reason.SUPERSEDED
            await here.send_in_order(upload_id, 1010, Pieces(CONTENT[1010:]))
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_a_stalled_chunk_with_a_digest_keeps_the_offset(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, None, (NOBODYS,), in_order=True))
            assert (await here.send_in_order(upload_id, 0, Pieces(CONTENT))).state is State.SEALED
            assert await refusal(running) is Reason.SUPERSEDED

    asyncio.run(scenario())


@pytest.mark.parametrize("start", [0, 999, 1001, SIZE - 1])
@pytest.mark.parametrize("length", [None, 1])
def test_a_chunk_in_order_at_a_wrong_offset_changes_nothing(tmp_path: Path, start: int, length: int | None) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            body = Pieces(CONTENT[start : start + 1])
            assert await refusal(here.send_in_order(upload_id, start, body, length)) is Reason.WRONG_OFFSET
            assert (await here.inspect(upload_id)).durable == (Range(0, 1000),)

    asyncio.run(scenario())


def test_a_chunk_without_order_evicts_nobody_elsewhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, 10_000))
            await here.send(upload_id, 10_000, 20_000)
            assert not running.done()
            await here.uploads.close()
            assert await refusal(running) is Reason.CLOSING

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [1, 10_000, SIZE])
def test_a_chunk_of_unknown_length_ends_where_its_body_does(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            digest = Digest("sha1", hashlib.sha1(CONTENT[:size], usedforsecurity=False).digest())
            upload = await here.send_in_order(upload_id, 0, Pieces(CONTENT[:size]), declared=(digest,))
            assert upload.offset == size
            if size < SIZE:
                assert upload.state is State.RECEIVING
                await here.send_in_order(upload_id, size, Pieces(CONTENT[size:]))
            await here.reaches(upload_id, State.ACTIVE)
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT

    asyncio.run(scenario())


def test_a_chunk_of_unknown_length_with_a_wrong_digest_is_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            sent = here.send_in_order(upload_id, 0, Pieces(CONTENT[:10]), declared=(NOBODYS,))
            assert await refusal(sent) is Reason.CHUNK_DIGEST_MISMATCH
            assert (await here.inspect(upload_id)).durable == ()

    asyncio.run(scenario())


def test_a_chunk_in_order_passes_over_durable_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 20_000, 30_000)
            assert (await here.send_in_order(upload_id, 0, Pieces(CONTENT[:25_000]))).offset == 30_000
            assert (await here.send_in_order(upload_id, 30_000, Pieces(CONTENT[30_000:]))).state is State.SEALED
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_a_truncated_file_is_a_storage_fault(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            del here.storage.content(upload_id)[1000:]
            assert await refusal(here.send(upload_id, 0, 50_000)) is Reason.SCRATCH_FAILED

    asyncio.run(scenario())
