"""Limits of a project, of an upload and of storage."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Cancel, Chunk, Create, Created, Join
from resumable_glance.model.states import State
from resumable_glance.model.upload import ImageRequest, Owner
from tests.fakes.memory_storage import MemoryStorage
from tests.support.rig import CONTENT, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

COLLEAGUE = Identity(Owner("project", "else"))
STRANGER = Identity(Owner("other", "user"))
ALL = {"limits.share_per_project": 100}


async def created(here: Rig, size: int | None = 10, who: Identity = ME) -> str:
    outcome = await here.uploads.perform(Create(size, IMAGE), who, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload.id


def test_unfinished_uploads_of_a_project_are_limited(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"limits.uploads_per_project": 3}) as here:
            first = await created(here)
            await created(here, who=COLLEAGUE)
            await here.uploads.perform(Create(5, None), ME, Pieces())  # a part counts
            with pytest.raises(Refused) as refused:
                await created(here)
            assert refused.value.reason is Reason.OVER_LIMIT
            assert refused.value.facts == {"retry_after": 60}
            assert len(list(here.images.iterdir())) == 2
            await created(here, who=STRANGER)
            await here.uploads.perform(Cancel(first), ME, Pieces())
            await created(here)

    asyncio.run(scenario())


def test_an_upload_counts_until_its_image_is_active(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"limits.uploads_per_project": 1}) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            assert await refusal(created(here)) is Reason.OVER_LIMIT
            await here.reaches(upload_id, State.ACTIVE)
            await created(here)

    asyncio.run(scenario())


def test_two_creations_at_once_are_not_both_the_last_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"limits.uploads_per_project": 1}) as here:
            outcomes = await asyncio.gather(*(created(here) for _ in range(5)), return_exceptions=True)
            assert sum(isinstance(each, str) for each in outcomes) == 1
            assert len(list(here.images.iterdir())) == 1

    asyncio.run(scenario())


def test_creations_of_a_project_are_rate_limited(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"limits.creations_per_minute": 2}) as here:
            for _ in range(2):
                await here.uploads.perform(Cancel(await created(here)), ME, Pieces())
            assert await refusal(created(here)) is Reason.OVER_LIMIT
            await created(here, who=STRANGER)
            here.now += 61
            await created(here)

    asyncio.run(scenario())


def test_refused_creations_count_as_attempts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"limits.creations_per_minute": 3}) as here:
            nothing = ImageRequest(image_id="11111111-2222-3333-4444-555555555555")
            for _ in range(2):
                create = Create(10, nothing)
                assert await refusal(here.uploads.perform(create, ME, Pieces())) is Reason.IMAGE_UNKNOWN
            join = Join(("a-" + "0" * 32,), IMAGE)
            assert await refusal(here.uploads.perform(join, ME, Pieces())) is Reason.UNKNOWN_UPLOAD
            assert await refusal(created(here)) is Reason.OVER_LIMIT
            assert await refusal(here.uploads.perform(join, ME, Pieces())) is Reason.OVER_LIMIT
            await created(here, who=STRANGER)

    asyncio.run(scenario())


def test_a_project_has_a_share_of_what_others_leave(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, MemoryStorage(capacity=200)) as here:
            with pytest.raises(Refused) as refused:
                await created(here, 101)
            assert (refused.value.reason, refused.value.facts) == (Reason.UPLOAD_TOO_LARGE, {"limit": 100})
            await created(here, 60)
            with pytest.raises(Refused) as refused:
                await created(here, 41)
            assert (refused.value.reason, refused.value.facts) == (
                Reason.OVER_LIMIT,
                {"limit": 100, "retry_after": 60},
            )
            assert await refusal(created(here, 101)) is Reason.UPLOAD_TOO_LARGE, "waiting does not help"
            assert await refusal(created(here, 41, COLLEAGUE)) is Reason.OVER_LIMIT
            later = await created(here, None)  # its size is told later
            append = Append(later, Chunk(0, 41, in_order=True))
            assert await refusal(here.uploads.perform(append, ME, Pieces(CONTENT[:41]))) is Reason.OVER_LIMIT
            append = Append(later, Chunk(0, 40, in_order=True), total=40)
            await here.uploads.perform(append, ME, Pieces(CONTENT[:40]))
            assert await refusal(created(here, 1)) is Reason.OVER_LIMIT
            await created(here, 0)
            assert await refusal(created(here, 51, STRANGER)) is Reason.OVER_LIMIT, "half of what is left"
            await created(here, 50, STRANGER)
            assert await refusal(created(here, 51, STRANGER)) is Reason.NO_SPACE
            await here.reaches(later, State.ACTIVE)
            await created(here, 15)  # of the 60 that it has, and the 90 that are free

    asyncio.run(scenario())


def test_declared_zeros_count_for_the_share(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, MemoryStorage(capacity=200)) as here:
            append = Append(await created(here, 60), Chunk(0, 60, zeros=True), 60)
            await here.uploads.perform(append, ME, Pieces())
            assert await refusal(created(here, 71)) is Reason.OVER_LIMIT
            await created(here, 70)

    asyncio.run(scenario())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 1000)), max_size=8), st.integers(10, 80))
def test_another_project_can_always_create(wishes: list[tuple[str, int]], share: int) -> None:
    async def scenario(directory: Path) -> None:
        options = {"limits.share_per_project": share}
        async with rig(directory, MemoryStorage(capacity=1_000_000), options=options) as here:
            for project, permille in wishes:  # each takes so much of all that it can get
                free = 1_000_000 - await here.catalog.uploads.promised()
                has = (await here.catalog.uploads.usage(project)).size
                size = ((has + free) * share // 100 - has) * permille // 1000
                await here.created(Create(max(0, size), None), who=Identity(Owner(project, "user")))
            await here.created(Create(1, None), who=Identity(Owner("newcomer", "user")))

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(scenario(Path(directory)))


def test_parts_that_are_joined_are_not_counted_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, MemoryStorage(capacity=200)) as here:
            part = await here.uploads.perform(Create(60, None, first=Chunk(0, 60)), ME, Pieces(CONTENT[:60]))
            assert isinstance(part, Created)
            await here.uploads.perform(Join((part.upload.id,), IMAGE), ME, Pieces())
            assert await refusal(created(here, 41)) is Reason.OVER_LIMIT
            await created(here, 40)

    asyncio.run(scenario())


def test_zero_means_no_limit(tmp_path: Path) -> None:
    none = {"limits.uploads_per_project": 0, "limits.creations_per_minute": 0}

    async def scenario() -> None:
        async with rig(tmp_path, options=none) as here:
            for _ in range(20):
                await created(here)

    asyncio.run(scenario())


def test_parallel_creations_do_not_share_reserved_space(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, MemoryStorage(capacity=2 * SIZE), options=ALL) as here:
            made = await asyncio.gather(*(here.create() for _ in range(8)), return_exceptions=True)
            refused = [each.reason for each in made if isinstance(each, Refused)]
            assert refused == [Reason.NO_SPACE] * 6
            assert len(await here.files()) == 2
            assert len(list(here.images.iterdir())) == 2, "an image was left behind"

    asyncio.run(scenario())


def test_an_upload_of_unknown_size_takes_only_free_space(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, MemoryStorage(capacity=100_000), options=ALL) as here:
            upload = await here.created(Create(None, IMAGE))
            await here.created(Create(60_000, IMAGE))
            assert await refusal(here.appended(upload.id, Chunk(0, 40_001, in_order=True))) is Reason.NO_SPACE
            assert await refusal(here.appended(upload.id, Chunk(0, 10, in_order=True), 40_001)) is Reason.NO_SPACE
            # Its own length unknown too: as if it were the longest that there can be.
            assert await refusal(here.appended(upload.id, Chunk(0, None, in_order=True))) is Reason.NO_SPACE
            assert (await here.appended(upload.id, Chunk(0, 40_000, in_order=True))).offset == 40_000
            assert await refusal(here.created(Create(1, IMAGE))) is Reason.NO_SPACE

    asyncio.run(scenario())


def test_an_upload_of_unknown_size_has_the_largest_size_of_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"max_upload_size": 50_000}) as here:
            upload = await here.created(Create(None, IMAGE))
            assert await refusal(here.appended(upload.id, Chunk(0, 50_001, in_order=True))) is Reason.UPLOAD_TOO_LARGE
            assert await refusal(here.appended(upload.id, Chunk(0, 5), 50_001)) is Reason.UPLOAD_TOO_LARGE
            ids = await parts_of(here, 30_000, 30_000)
            assert await refusal(here.joined(ids)) is Reason.UPLOAD_TOO_LARGE

    async def parts_of(here: Rig, *sizes: int) -> tuple[str, ...]:
        made = [await here.created(Create(each, None, first=Chunk(0, each)), CONTENT[:each]) for each in sizes]
        return tuple(each.id for each in made)

    asyncio.run(scenario())
