"""Idempotency-Key: a creation whose answer was lost, asked for again, is the same upload."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason
from resumable_glance.model.commands import Cancel, Chunk, Create, Created
from resumable_glance.model.states import State
from resumable_glance.model.upload import ImageRequest, Owner, Upload
from resumable_glance.uploads.idempotency import key_of
from tests.support.rig import CONTENT, DAY, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

STRANGER = Identity(Owner("other", "user"))
COLLEAGUE = Identity(Owner(ME.owner.project_id, "colleague"))
ASKED = Create(SIZE, IMAGE, key="key")


async def created(here: Rig, create: Create = ASKED, who: Identity = ME, content: bytes = b"") -> Upload:
    outcome = await here.uploads.perform(create, who, Pieces(content))
    assert isinstance(outcome, Created)
    return outcome.upload


def test_the_same_creation_is_one_upload_over_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            first = await created(here)
            await here.send(first.id, 0, 1000)
            again = await created(here)
            assert (again.id, again.offset) == (first.id, 1000)
        async with rig(tmp_path, here.storage) as here:
            assert (await created(here)).id == first.id
            assert len(list(here.images.iterdir())) == 1
            assert (await created(here, dataclasses.replace(ASKED, key="other"))).id != first.id
            assert (await created(here, dataclasses.replace(ASKED, key=None))).id != first.id

    asyncio.run(scenario())


def test_a_key_belongs_to_its_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            assert len({(await created(here, who=each)).id for each in (ME, COLLEAGUE, STRANGER, ME)}) == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "other", [Create(SIZE + 1, IMAGE), Create(SIZE, None), Create(SIZE, IMAGE, metadata="name YQ==")]
)
def test_a_key_for_another_upload_is_refused_and_changes_nothing(tmp_path: Path, other: Create) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            first = await created(here)
            assert await refusal(created(here, dataclasses.replace(other, key="key"))) is Reason.KEY_REUSED
            assert (await created(here)).id == first.id

    asyncio.run(scenario())


def test_the_same_creation_many_times_at_once_is_one_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            made = await asyncio.gather(*(created(here) for _ in range(8)))
            assert len({each.id for each in made}) == 1
            assert len(list(here.images.iterdir())) == 1

    asyncio.run(scenario())


def test_a_creation_that_was_refused_takes_no_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"limits.uploads_per_project": 1}) as here:
            other = await created(here, Create(SIZE, IMAGE))
            assert await refusal(created(here)) is Reason.OVER_LIMIT
            await here.uploads.perform(Cancel(other.id), ME, Pieces())
            assert (await created(here)).id != other.id

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_a_key_of_an_upload_that_has_ended_is_free(tmp_path: Path, how: str) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            first = await created(here)
            if how == "cancelled":
                await here.uploads.perform(Cancel(first.id), ME, Pieces())
            else:
                here.now += 8 * DAY
            second = await created(here)
            assert second.id != first.id
            assert (await created(here)).id == second.id
            here.now += 90 * DAY
            await here.cleaner.tidy()  # what has ended goes, and its key with it
            assert (await created(here)).id not in {first.id, second.id}

    asyncio.run(scenario())


def test_an_active_upload_is_answered_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            first = await created(here)
            await here.send(first.id, 0, SIZE)
            await here.reaches(first.id, State.ACTIVE)
            assert (await created(here)).state is State.ACTIVE

    asyncio.run(scenario())


def test_a_failed_first_chunk_keeps_an_upload_with_a_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            with_chunk = dataclasses.replace(ASKED, first=Chunk(0, SIZE, in_order=True))
            assert await refusal(created(here, with_chunk, content=CONTENT[:1000])) is Reason.BODY_TOO_SHORT
            again = await created(here, with_chunk, content=CONTENT)
            assert (again.state, again.offset) == (State.RECEIVING, 1000)

    asyncio.run(scenario())


def test_the_order_of_properties_does_not_matter() -> None:
    def claimed(**properties: str) -> object:
        return key_of(Create(1, ImageRequest(properties, None, None), key="k"), ME.owner)

    assert claimed(a="1", b="2") == claimed(b="2", a="1") != claimed(a="2", b="1")
    assert key_of(Create(1, None), ME.owner) is None
