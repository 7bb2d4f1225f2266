"""Parts that are joined into an upload."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.reader import StorageDiffers
from resumable_glance.model.commands import Append, Cancel, Chunk, Create, Join, Read
from resumable_glance.model.states import State
from resumable_glance.model.upload import Owner, Upload, require
from tests.support.rig import CONTENT, DAY, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

CUTS = [0, 30_000, 30_000, 70_000, SIZE]  # one of the parts has no bytes


async def parts(here: Rig) -> tuple[str, ...]:
    """The content in parts, each with all of its bytes."""
    ids = []
    for start, stop in itertools.pairwise(CUTS):
        part = await here.created(Create(stop - start, None))
        if stop > start:
            await here.uploads.perform(
                Append(part.id, Chunk(0, stop - start, in_order=True)), ME, Pieces(CONTENT[start:stop])
            )
        ids.append(part.id)
    return tuple(ids)


def images(here: Rig) -> set[str]:
    return {each.name.removesuffix(".json") for each in here.images.iterdir()}


async def assert_is_content(here: Rig, upload_id: str) -> None:
    """Sealed now, active in the end, and then the image is the content."""
    assert (await here.inspect(upload_id)).upload.state is State.SEALED
    assert await here.read(upload_id) == CONTENT
    await here.reaches(upload_id, State.ACTIVE)
    upload = (await here.inspect(upload_id)).upload
    assert (here.images / require(upload.image).id).read_bytes() == CONTENT
    assert upload.delivery.proof is not None
    assert upload.delivery.proof.sha512 == hashlib.sha512(CONTENT).hexdigest()
    assert await here.read(upload_id) == CONTENT
    assert await here.files() == set()


def test_parts_are_joined_where_they_lie_and_become_one_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            assert images(here) == set()
            assert await here.files() == set(ids)
            whole = await here.joined(ids)
            assert (whole.size, whole.offset, whole.state) == (SIZE, SIZE, State.SEALED)
            assert await here.files() == set(ids)  # nothing was copied
            await assert_is_content(here, whole.id)
            part = (await here.inspect(ids[0])).upload
            assert (part.state, part.offset, part.joined_into) == (State.JOINED, 30_000, whole.id)

    asyncio.run(scenario())


def test_a_repeated_join_gives_the_same_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            first = await here.joined(ids)
            assert (await here.joined(ids)).id == first.id
            assert len(images(here)) == 1
            for others in (ids[::-1], ids[:1]):
                assert await refusal(here.joined(others)) is Reason.JOINED
            await here.uploads.perform(Cancel(first.id), ME, Pieces())
            assert await refusal(here.joined(ids)) is Reason.CANCELLED
            assert images(here) == set()

    asyncio.run(scenario())


def test_two_equal_joins_at_once_are_one_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            one, two = await asyncio.gather(here.joined(ids), here.joined(ids))
            assert one.id == two.id
            assert len(images(here)) == 1
            await assert_is_content(here, one.id)

    asyncio.run(scenario())


def test_a_join_overtaken_by_an_equal_one_is_the_same_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            get = here.catalog.uploads.get
            wholes = []

            async def late(upload_id: str) -> Upload | None:
                part = await get(upload_id)
                monkeypatch.undo()
                wholes.append(await here.joined(ids))
                return part

            monkeypatch.setattr(here.catalog.uploads, "get", late)
            assert (await here.joined(ids)).id == wholes[0].id
            assert len(images(here)) == 1

    asyncio.run(scenario())


def test_a_part_that_is_joined_while_it_is_being_cancelled_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            end = here.catalog.uploads.end
            wholes = []

            async def late(*told: Any, **more: Any) -> bool:
                monkeypatch.undo()
                wholes.append(await here.joined(ids))
                return await end(*told, **more)

            monkeypatch.setattr(here.catalog.uploads, "end", late)
            assert await refusal(here.uploads.perform(Cancel(ids[0]), ME, Pieces())) is Reason.JOINED
            assert await here.files() == set(ids)
            await assert_is_content(here, wholes[0].id)

    asyncio.run(scenario())


def test_a_refused_join_leaves_no_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await here.created(Create(0, IMAGE))
            unfinished = await here.created(Create(10, None))
            before = images(here)
            assert await refusal(here.joined((*ids, unfinished.id))) is Reason.UNFINISHED
            assert await refusal(here.joined((*ids, whole.id))) is Reason.JOINED
            assert await refusal(here.joined((*ids, ids[0]))) is Reason.MALFORMED
            assert await refusal(here.joined((*ids, "a-" + "0" * 32))) is Reason.UNKNOWN_UPLOAD
            stranger = Identity(Owner("other", "user"))
            assert await refusal(here.uploads.perform(Join(ids, IMAGE), stranger, Pieces())) is Reason.UNKNOWN_UPLOAD
            here.now += 8 * DAY
            assert await refusal(here.joined(ids)) is Reason.EXPIRED
            assert images(here) == before

    asyncio.run(scenario())


def test_a_joined_upload_and_its_parts_take_no_chunks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await here.joined(ids)
            for upload_id in (whole.id, ids[0]):
                assert await refusal(here.appended(upload_id, Chunk(0, 10, in_order=True))) is Reason.JOINED
            assert await refusal(here.uploads.perform(Cancel(ids[0]), ME, Pieces())) is Reason.JOINED
            await assert_is_content(here, whole.id)

    asyncio.run(scenario())


def test_cancelling_an_upload_out_of_parts_frees_them_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await here.joined(ids)
            await here.uploads.perform(Cancel(whole.id), ME, Pieces())
            assert await here.files() == images(here) == set()
            for each in (whole.id, *ids):
                assert await refusal(here.inspect(each)) is Reason.CANCELLED

    asyncio.run(scenario())


def test_a_complete_part_that_is_not_joined_expires(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            here.now += 8 * DAY
            await here.cleaner.tidy()
            assert await here.files() == set()
            assert await refusal(here.inspect(ids[0])) is Reason.EXPIRED

    asyncio.run(scenario())


def test_a_start_keeps_the_bytes_of_joined_parts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await here.joined(ids)
            await here.cleaner.open()
            assert await here.files() == set(ids)
            await here.reaches(whole.id, State.ACTIVE)
            for each in ids:  # as if the service had been killed before it removed them
                await here.storage.remove(each)
                await here.storage.create(each, 10)
            await here.cleaner.open()
            assert await here.files() == set()

    asyncio.run(scenario())


def test_parts_are_forgotten_with_their_joined_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await here.joined(ids)
            here.now += 31 * DAY
            await here.cleaner.tidy()
            await assert_is_content(here, whole.id)  # however long it waited for Glance
            here.now += 31 * DAY
            await here.cleaner.tidy()
            for each in (whole.id, *ids):
                assert await refusal(here.inspect(each)) is Reason.UNKNOWN_UPLOAD

    asyncio.run(scenario())


def test_a_byte_changed_in_a_part_is_never_delivered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            ids = await parts(here)
            whole = await here.joined(ids)
            async with here.storage.open(ids[2]) as file:
                await file.write(5, b"else")
                await file.sync()
            await here.reaches(whole.id, State.FAILED)
            with pytest.raises(StorageDiffers):  # after what is before it, which was sent already
                await here.read(whole.id)
            await here.storage.remove(ids[2])
            assert await refusal(here.read(whole.id)) is Reason.SCRATCH_FAILED

    asyncio.run(scenario())


def test_a_part_that_is_told_its_end_waits_to_be_joined(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            part = await here.created(Create(None, None, first=Chunk(0, SIZE, last=True)), CONTENT)
            assert (part.size, part.state) == (SIZE, State.RECEIVING)
            await assert_is_content(here, (await here.joined((part.id,))).id)

    asyncio.run(scenario())


def test_a_stranger_reads_and_joins_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            with pytest.raises(Refused) as refused:
                await here.uploads.perform(Read(upload_id), Identity(Owner("project", "else")), Pieces())
            assert refused.value.reason is Reason.UNKNOWN_UPLOAD

    asyncio.run(scenario())
