"""Creations, with a first chunk and without."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from resumable_glance.errors import Reason
from resumable_glance.model.commands import Chunk, Create, Created
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload, require
from tests.fakes.memory_storage import MemoryStorage
from tests.support.rig import CONTENT, IMAGE, ME, NOBODYS, SIZE, Pieces, Rig, refusal, rig


def test_a_creation_that_storage_fails_leaves_no_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        storage = MemoryStorage()
        async with rig(tmp_path, storage) as here:
            storage.faults["create"] = errno.ENOSPC
            assert await refusal(here.create()) is Reason.NO_SPACE
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())


# Bytes that come with the creation


async def created(here: Rig, first: Chunk | None, content: bytes, size: int = SIZE) -> Upload:
    create = Create(size, IMAGE, metadata="name YQ==", first=first)
    outcome = await here.uploads.perform(create, ME, Pieces(content))
    assert isinstance(outcome, Created)
    return outcome.upload


@pytest.mark.parametrize("length", [0, 10, SIZE])
@pytest.mark.parametrize("announced", [False, True])
def test_bytes_of_a_creation_are_durable_when_it_is_answered(tmp_path: Path, length: int, announced: bool) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Chunk(0, length if announced else None, in_order=True), CONTENT[:length])
            assert upload.offset == length
            assert upload.metadata == "name YQ=="
            assert (await here.inspect(upload.id)).upload == upload
            if length < SIZE:
                await here.send_in_order(upload.id, length, Pieces(CONTENT[length:]))
            await here.reaches(upload.id, State.ACTIVE)
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT

    asyncio.run(scenario())


@pytest.mark.parametrize("length", [0, None])
def test_an_upload_of_no_bytes_can_have_a_first_chunk_of_none(tmp_path: Path, length: int | None) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Chunk(0, length, in_order=True), b"", size=0)
            await here.reaches(upload.id, State.ACTIVE)

    asyncio.run(scenario())


def test_the_body_of_a_creation_without_a_chunk_is_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            assert (await created(here, None, CONTENT)).offset == 0

    asyncio.run(scenario())


def test_metadata_is_shown_again_as_it_was_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, None, b"")
            assert (await here.inspect(upload.id)).upload.metadata == "name YQ=="
            assert (await here.inspect(await here.create())).upload.metadata is None

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (Chunk(0, None, (NOBODYS,), in_order=True), Reason.CHUNK_DIGEST_MISMATCH),
        (Chunk(0, 100, in_order=True), Reason.BODY_TOO_SHORT),
        (Chunk(0, SIZE + 1, in_order=True), Reason.BODY_TOO_LONG),
        (Chunk(0, 9, in_order=True), Reason.BODY_TOO_LONG),
    ],
)
def test_a_refused_first_chunk_leaves_no_upload(tmp_path: Path, first: Chunk, reason: Reason) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            assert await refusal(created(here, first, CONTENT[:10])) is reason
            assert await here.files() == set()
            assert list(here.images.iterdir()) == [], "nobody has been told its address"

    asyncio.run(scenario())


def test_a_storage_fault_in_a_first_chunk_leaves_no_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        storage = MemoryStorage()
        async with rig(tmp_path, storage) as here:
            storage.faults["write"] = errno.ENOSPC
            assert await refusal(created(here, Chunk(0, None, in_order=True), CONTENT)) is Reason.NO_SPACE
            assert await here.files() == set()
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())


def test_a_first_chunk_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            work = created(here, Chunk(0, None, in_order=True), CONTENT + b"!")
            assert await refusal(work) is Reason.BODY_TOO_LONG
            assert await here.files() == set()
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())
