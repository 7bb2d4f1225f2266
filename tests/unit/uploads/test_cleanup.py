"""Expiry, orphaned images and forgotten records: after crashes, and when a clock was set."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import xxhash

from resumable_glance.api.http11.body import RequestBody
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import Actor, DeliveryFailed
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Append, Cancel, Chunk, Create, Created, Join, List, Listed
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, FailureReason, Image, ImageRequest
from resumable_glance.runtime.clock import SteadyClock
from tests.fakes.memory_body import PATIENCE, MemoryReceiver
from tests.fakes.memory_storage import MemoryStorage
from tests.support.rig import CONTENT, DAY, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

YEAR = 365 * DAY


class Crash(BaseException):
    pass


class Away(DirectoryImageService):
    """An image service that can't be asked as long as `reason` is set, whether or not it has heard."""

    reason: FailureReason | None = None
    heard = False

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        if self.reason is None or self.heard:
            image = await super().prepare(request, size, actor)
            if self.reason is None:
                return image
        raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, "It does not answer.")

    async def delete(self, image: Image, actor: Actor) -> None:
        if self.reason is not None:
            raise DeliveryFailed(self.reason, "It does not answer.")
        await super().delete(image, actor)


def away(here: Rig) -> Away:
    assert isinstance(here.image_service, Away)
    return here.image_service


def images(here: Rig) -> list[str]:
    return sorted(each.name for each in here.images.iterdir())


@pytest.mark.parametrize("how", ["cancelled", "expired"])
@pytest.mark.parametrize("reason", [FailureReason.IMAGE_SERVICE_UNAVAILABLE, FailureReason.TOKEN_EXPIRED])
def test_an_orphaned_image_is_removed_later_if_not_now(tmp_path: Path, how: str, reason: FailureReason) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=Away) as here:
            upload_id = await here.create()
            away(here).reason = reason
            if how == "cancelled":
                await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            else:
                here.now += 8 * DAY
                await here.cleaner.tidy()
            assert len(images(here)) == 1
            away(here).reason = None
            await here.cleaner.tidy()
            assert len(images(here)) == 1  # not again at once
            here.now += 601
            await here.cleaner.tidy()
            assert images(here) == []
            assert await here.catalog.orphans.due(here.now + YEAR) == []

    asyncio.run(scenario())


def test_an_image_that_can_never_be_removed_is_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=Away) as here:
            upload_id = await here.create()
            away(here).reason = FailureReason.TOKEN_EXPIRED
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            here.now += 31 * DAY
            await here.cleaner.tidy()
            assert await here.catalog.orphans.due(here.now + YEAR) == []
            assert len(images(here)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("heard", [False, True])
def test_an_image_whose_creation_was_not_answered_is_removed(tmp_path: Path, heard: bool) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=Away) as here:
            away(here).reason, away(here).heard = FailureReason.IMAGE_SERVICE_UNAVAILABLE, heard
            assert await refusal(here.create()) is Reason.IMAGE_SERVICE_UNAVAILABLE
            assert len(images(here)) == heard
            away(here).reason = None
            await here.cleaner.tidy()
            assert len(images(here)) == heard  # for all that it knows the request may still be running
            here.now += 3601
            await here.cleaner.tidy()
            assert images(here) == []

    asyncio.run(scenario())


def test_an_image_that_was_made_right_before_a_crash_is_removed(tmp_path: Path) -> None:
    class Crashing(DirectoryImageService):
        async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
            await super().prepare(request, size, actor)
            raise Crash

        async def delete(self, image: Image, actor: Actor) -> None:
            raise Crash  # nothing runs after a crash

    async def crash() -> None:
        async with rig(tmp_path, image_service=Crashing) as here:
            with pytest.raises(Crash):
                await here.create()

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            assert len(images(here)) == 1
            here.now += 3601
            await here.cleaner.tidy()
            assert images(here) == []

    asyncio.run(crash())
    asyncio.run(scenario())


def test_an_image_that_the_client_made_is_never_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            made = await here.image_service.prepare(IMAGE, None, Actor(ME.owner))
            created = await here.uploads.perform(Create(10, ImageRequest(image_id=made.id)), ME, Pieces())
            assert isinstance(created, Created)
            await here.uploads.perform(Cancel(created.upload.id), ME, Pieces())
            here.now += YEAR
            await here.cleaner.tidy()
            assert images(here) == [f"{made.id}.json"]

    asyncio.run(scenario())


def test_a_cleaner_stopped_anywhere_continues(tmp_path: Path) -> None:
    """Whatever it does last is done again at the next start, or was done."""

    async def scenario(stop_after: int) -> bool:
        async with rig(tmp_path / str(stop_after)) as here:
            for _ in range(2):
                await here.send(await here.create(), 0, 10)
            kept = await here.create()
            here.now += 6 * DAY
            await here.send(kept, 0, 10)
            here.now += 2 * DAY
            steps = 0
            tidying = here.cleaner.tidy()
            done = False
            try:
                while steps < stop_after:  # as a task would be driven, but one step and not one more
                    waiting = tidying.send(None)
                    while not waiting.done():
                        await asyncio.sleep(0)
                    steps += 1
            except StopIteration:
                done = True
            tidying.close()
            await here.cleaner.open()
            await here.cleaner.tidy()
            assert await here.files() == {kept}
            assert (await here.inspect(kept)).upload.offset == 10
            assert len(images(here)) == 1
            return done

    number = 0
    while not asyncio.run(scenario(number)):
        number += 1
    assert number > 5


@pytest.mark.parametrize("seconds", [YEAR, -YEAR, 8 * DAY, 60.0, 0.5, -0.5])
def test_a_set_clock_expires_nothing_early_or_late(tmp_path: Path, seconds: float) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            wall, steady = [here.now], [50.0]
            clock = SteadyClock(lambda: wall[0], lambda: steady[0])
            cleaner = here.core_with(clock).cleaner
            upload_id = await here.create()

            async def pass_time(time: float) -> State:
                wall[0] += time
                steady[0] += time
                here.now = clock()
                await cleaner.tidy()
                here.now = clock()
                found = await here.catalog.uploads.get(upload_id)
                assert found is not None
                return found.state

            wall[0] += seconds
            assert await pass_time(1.0) is State.RECEIVING
            assert abs(clock.drift()) < 1
            assert await pass_time(7 * DAY - 10) is State.RECEIVING
            assert await pass_time(20) is State.EXPIRED

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [YEAR, -YEAR])
def test_a_crash_during_a_clock_shift_shifts_nothing_twice(tmp_path: Path, seconds: float) -> None:
    class Crashing(SteadyClock):
        def jump(self, seconds: float) -> None:
            raise Crash

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            wall = [here.now]
            await here.cleaner.open()
            upload_id = await here.create()
            clock = Crashing(lambda: wall[0], lambda: 0.0)
            wall[0] += seconds
            with pytest.raises(Crash):
                await here.core_with(clock).cleaner.tidy()
            await here.core_with(SteadyClock(lambda: wall[0], lambda: 0.0)).cleaner.open()
            found = await here.catalog.uploads.get(upload_id)
            assert found is not None
            assert found.expires_at - wall[0] == pytest.approx(7 * DAY, abs=1)

    asyncio.run(scenario())


def test_a_crash_at_the_start_does_not_count_the_downtime(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            await here.cleaner.open()
            upload_id = await here.create()
            here.now += YEAR
            opening = here.cleaner.open()
            waiting = opening.send(None)  # its first transaction, and not one step more
            while not waiting.done():
                await asyncio.sleep(0)
            opening.close()
            await here.cleaner.open()
            found = await here.catalog.uploads.get(upload_id)
            assert found is not None
            assert found.expires_at - here.now == pytest.approx(7 * DAY, abs=1)

    asyncio.run(scenario())


def test_a_set_clock_orphans_no_image_in_creation(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            wall = [here.now]
            cleaner = here.core_with(SteadyClock(lambda: wall[0], lambda: 0.0)).cleaner
            made = await here.image_service.prepare(IMAGE, None, Actor(ME.owner))
            await here.catalog.orphans.expect(OrphanedImage(made, ME.owner, None), here.now, here.now + 3600)
            wall[0] += YEAR
            await cleaner.tidy()
            assert images(here) == [f"{made.id}.json"]
            wall[0] += YEAR
            await cleaner.tidy()
            assert images(here) == [f"{made.id}.json"]

    asyncio.run(scenario())


class Asleep(DirectoryImageService):
    """The machine sleeps while this makes an image, and the cleaner is awake before it."""

    here: Rig | None = None

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        image = await super().prepare(request, size, actor)
        if self.here is not None:
            self.here.now += DAY
            await self.here.cleaner.tidy()
        return image


def test_no_upload_is_created_for_a_removed_orphan(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=Asleep) as here:
            part = (await here.uploads.perform(Create(0, None), ME, Pieces())).upload.id  # type: ignore[union-attr]
            assert isinstance(here.image_service, Asleep)
            here.image_service.here = here
            for command in (Create(10, IMAGE), Join((part,), IMAGE)):
                assert await refusal(here.uploads.perform(command, ME, Pieces())) is Reason.IMAGE_SERVICE_UNAVAILABLE
                assert images(here) == []
                assert await here.files() == {part}
                assert await here.catalog.orphans.due(here.now + YEAR) == []
            here.image_service.here = None
            await here.uploads.perform(Join((part,), IMAGE), ME, Pieces())
            assert len(images(here)) == 1

    asyncio.run(scenario())


class SlowStorage(MemoryStorage):
    """Makes a file when it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.goes_on = asyncio.Event(), asyncio.Event()

    async def create(self, upload_id: str, size: int) -> None:
        self.reached.set()
        await self.goes_on.wait()
        await super().create(upload_id, size)


@contextlib.asynccontextmanager
async def busy_catalog(here: Rig) -> AsyncIterator[None]:
    """Within the block transactions queue, and none begins."""
    begun, may_end = threading.Event(), threading.Event()

    def hold(_: sa.Connection) -> None:
        begun.set()
        may_end.wait()

    holding = asyncio.create_task(here.catalog.transactions.write(hold))
    await asyncio.to_thread(begun.wait)
    try:
        yield
    finally:
        may_end.set()
        await holding


def with_clock(here: Rig) -> list[float]:
    """Let uploads live by the service's own clock; what the one on the wall shows."""
    wall = [here.now]
    clock = SteadyClock(lambda: wall[0], lambda: 0.0)
    here.use(here.core_with(clock))
    return wall


@pytest.mark.parametrize("seconds", [YEAR, -YEAR])
def test_a_clock_shift_expires_no_recorded_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            wall = with_clock(here)
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, 20), sent=10)
            wall[0] += seconds
            committing, commit = asyncio.Event(), here.catalog.uploads.commit

            def noted(*given: Any, **named: Any) -> Any:
                committing.set()
                return commit(*given, **named)

            monkeypatch.setattr(here.catalog.uploads, "commit", noted)
            async with busy_catalog(here):
                tidying = asyncio.create_task(here.cleaner.tidy())
                await asyncio.sleep(0)
                closing = asyncio.create_task(here.uploads.close())
                await asyncio.wait_for(committing.wait(), 10)
            await asyncio.gather(tidying, closing, running, return_exceptions=True)
            found = await here.catalog.uploads.get(upload_id)
            assert found is not None
            assert (found.state, found.offset) == (State.RECEIVING, 10)
            assert found.expires_at - wall[0] == pytest.approx(7 * DAY, abs=1)

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [YEAR, -YEAR])
def test_a_clock_shift_expires_no_new_upload(tmp_path: Path, seconds: float) -> None:
    async def scenario() -> None:
        storage = SlowStorage()
        async with rig(tmp_path, storage) as here:
            wall = with_clock(here)
            creating = asyncio.create_task(here.create())
            await storage.reached.wait()
            wall[0] += seconds
            await here.cleaner.tidy()
            storage.goes_on.set()
            found = await here.catalog.uploads.get(await creating)
            assert found is not None
            assert [each - wall[0] for each in (found.created_at, found.updated_at)] == pytest.approx([0, 0], abs=1)
            assert found.expires_at - wall[0] == pytest.approx(7 * DAY, abs=1)

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [YEAR, -YEAR])
def test_a_clock_shift_shows_no_upload_as_expired(tmp_path: Path, seconds: float) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            wall = with_clock(here)
            upload_id = await here.create()
            wall[0] += seconds
            async with busy_catalog(here):
                asking = asyncio.create_task(here.inspect(upload_id))
                listing = asyncio.create_task(here.uploads.perform(List(10), ME, Pieces()))
                await asyncio.sleep(0)
                tidying = asyncio.create_task(here.cleaner.tidy())
                await asyncio.sleep(0)
            await tidying
            assert (await asking).upload.state is State.RECEIVING
            surveyed = await listing
            assert isinstance(surveyed, Listed)
            assert [each.state for each in surveyed.uploads] == [State.RECEIVING]

    asyncio.run(scenario())


def test_a_clock_shift_that_fails_is_repeated(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            wall = with_clock(here)
            upload_id = await here.create()
            wall[0] += YEAR
            await here.catalog.transactions.write(lambda db: db.exec_driver_sql("ALTER TABLE instances RENAME TO gone"))
            with pytest.raises(sa.exc.OperationalError):
                await here.cleaner.tidy()
            assert (await here.inspect(upload_id)).upload.state is State.RECEIVING
            await here.catalog.transactions.write(lambda db: db.exec_driver_sql("ALTER TABLE gone RENAME TO instances"))
            await here.cleaner.tidy()
            found = (await here.inspect(upload_id)).upload
            assert found.expires_at - wall[0] == pytest.approx(7 * DAY, abs=1)

    asyncio.run(scenario())


def test_downtime_does_not_count_for_the_expiry(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            await here.cleaner.open()
            upload_id = await here.create()
            here.now += 5 * DAY
            await here.cleaner.tidy()
            here.now += 30 * DAY  # down
            await here.cleaner.open()
            assert (await here.inspect(upload_id)).upload.state is State.RECEIVING
            here.now += 2 * DAY - 10
            await here.cleaner.tidy()
            assert (await here.inspect(upload_id)).upload.state is State.RECEIVING
            here.now += 20
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED

    asyncio.run(scenario())


def test_an_upload_that_waits_for_its_first_turn_never_expires(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            sealed = await here.create()
            await here.send(sealed, 0, len(CONTENT))
            here.now += YEAR
            await here.cleaner.tidy()
            assert (await here.inspect(sealed)).upload.state is State.SEALED
            assert await here.files() == {sealed}
            await here.reaches(sealed, State.ACTIVE)

    asyncio.run(scenario())


def test_an_abandoned_upload_expires_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 10)
            here.now += 7 * DAY - 1
            await here.cleaner.tidy()
            assert (await here.inspect(upload_id)).upload.offset == 10
            here.now += 1
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED, "before anybody tidied up, too"
            await here.cleaner.tidy()
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.EXPIRED
            assert await refusal(here.uploads.perform(Cancel(upload_id), ME, Pieces())) is Reason.EXPIRED
            assert await here.files() == set()
            assert list(here.images.iterdir()) == [], "the queued image is left behind"

    asyncio.run(scenario())


def test_an_upload_does_not_expire_while_bytes_arrive(tmp_path: Path) -> None:
    class SlowReceiver(MemoryReceiver):
        async def next(self) -> bytes:
            here.now += 8 * DAY
            await here.cleaner.tidy()
            return await super().next()

    here: Rig

    async def scenario() -> None:
        nonlocal here
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            body = RequestBody(SlowReceiver([CONTENT]), PATIENCE)
            await here.uploads.perform(Append(upload_id, Chunk(0, SIZE), SIZE), ME, body)
            assert (await here.inspect(upload_id)).upload.state is State.SEALED

    asyncio.run(scenario())


def test_an_upload_continued_during_cleanup_does_not_expire(tmp_path: Path) -> None:
    class SlowSink(DirectoryImageService):
        """Takes its time to remove an image, as Glance does."""

        async def delete(self, image: Image, actor: Actor) -> None:
            await super().delete(image, actor)
            removing.set()
            await go_on.wait()

    removing, go_on = asyncio.Event(), asyncio.Event()

    async def scenario() -> None:
        async with rig(tmp_path, image_service=SlowSink) as here:
            ids = [await here.create(), await here.create()]
            for upload_id in ids:
                await here.send(upload_id, 0, 10)
            here.now += 8 * DAY
            tidying = asyncio.create_task(here.cleaner.tidy())
            await removing.wait()
            stored = [await here.catalog.uploads.get(each) for each in ids]
            (other,) = [each.id for each in stored if each is not None and each.state is State.RECEIVING]
            # Its chunk began in time and is acknowledged now, after it was listed among those that nobody continued.
            extent = Extent(Range(10, 20), Digest("xxh3", xxhash.xxh3_64(CONTENT[10:20]).digest()))
            await here.catalog.uploads.commit(other, [extent], here.now, here.now + 7 * DAY)
            go_on.set()
            await tidying
            assert (await here.inspect(other)).upload.offset == 20
            assert await here.files() == {other}

    asyncio.run(scenario())


def test_every_new_byte_postpones_the_expiry(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            for number in range(5):
                here.now += 6 * DAY
                await here.cleaner.tidy()
                await here.send(upload_id, number * 10, number * 10 + 10)
            assert (await here.inspect(upload_id)).upload.offset == 50

    asyncio.run(scenario())


@pytest.mark.parametrize("years", [-1, 1])
def test_a_sealed_upload_never_expires(tmp_path: Path, years: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            here.now += years * 365 * DAY
            await here.cleaner.tidy()
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_records_of_ended_uploads_are_kept_for_a_while(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(0)
            await here.reaches(upload_id, State.ACTIVE)
            here.now += 29 * DAY
            await here.cleaner.tidy()
            assert (await here.inspect(upload_id)).upload.state is State.ACTIVE
            here.now += 2 * DAY
            await here.cleaner.tidy()
            assert await refusal(here.inspect(upload_id)) is Reason.UNKNOWN_UPLOAD

    asyncio.run(scenario())


def test_a_start_removes_only_orphaned_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        storage = MemoryStorage()
        async with rig(tmp_path, storage) as here:
            unfinished, done = await here.create(), await here.create(0)
            await here.reaches(done, State.ACTIVE)
            await storage.remove(done)
            await storage.create(done, 0)  # killed between "active" and the removal
            await storage.create("a-" + "0" * 32, 10)  # killed between the file and the catalog
            await here.cleaner.open()
            assert await here.files() == {unfinished}

    asyncio.run(scenario())
