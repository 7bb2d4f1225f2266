"""Uploads that wait for their owners: kept for a while, then expired; and their tokens, erased when they can't help."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason
from resumable_glance.images.base import Actor, DeliveryFailed, Source
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Create, Created, IssueTicket, Retry
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Image, Upload
from tests.support.rig import CONTENT, DAY, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

MINUTE, HOUR, WEEK = 60.0, 3600.0, 7 * DAY
TOKEN = DeliveryFailed(FailureReason.TOKEN_EXPIRED, "Who are you?")
AWAY = DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Nobody answers.")
REFUSED = DeliveryFailed(FailureReason.IMAGE_REFUSED, "Not these bytes.", final=True)


class Moody(DirectoryImageService):
    """Fails deliveries and deletions with `failure`; a delivery waits for `goes_on` first, if there is one."""

    failure: DeliveryFailed | None = None
    goes_on: asyncio.Event | None = None
    delivering = False

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        if self.goes_on is not None:
            self.delivering = True
            await self.goes_on.wait()
        if self.failure is not None:
            raise self.failure
        await super().deliver(image, size, source, actor)

    async def delete(self, image: Image, actor: Actor) -> None:
        if self.failure is not None and not self.failure.final:
            raise self.failure
        await super().delete(image, actor)


def moody(here: Rig) -> Moody:
    assert isinstance(here.image_service, Moody)
    return here.image_service


@asynccontextmanager
async def working(directory: Path, **options: object) -> AsyncIterator[Rig]:
    async with rig(directory, image_service=Moody, options=options) as here, here.handing_over():
        yield here


async def sealed(here: Rig, failure: DeliveryFailed, who: Identity = ME) -> str:
    """An upload whose first attempt has failed."""
    moody(here).failure = failure
    upload = await here.created(Create(SIZE, IMAGE), who=who)
    await here.send(upload.id, 0, SIZE)
    await here.until(upload.id, lambda upload: upload.delivery.last_error is not None)
    return upload.id


async def passes(here: Rig, seconds: float) -> None:
    here.now += seconds
    await here.cleaner.tidy()


@pytest.mark.parametrize("failure", [TOKEN, REFUSED])
def test_what_waits_for_its_owner_expires_and_leaves_nothing(tmp_path: Path, failure: DeliveryFailed) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await sealed(here, failure)
            await passes(here, WEEK - HOUR)
            found = await here.until(upload_id, lambda upload: upload.delivery.last_error is not None)
            assert found.state is (State.FAILED if failure.final else State.SEALED)
            assert await here.files() == {upload_id}
            await passes(here, 2 * HOUR)
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED
            assert await here.files() == set()
            moody(here).failure = None
            await passes(here, 2 * HOUR)
            assert list(here.images.iterdir()) == []
            assert (await here.catalog.uploads.usage(ME.owner.project_id)).size == 0

    asyncio.run(scenario())


async def retried(here: Rig, upload_id: str) -> None:
    await here.uploads.perform(Retry(upload_id), ME, Pieces())


async def ticketed(here: Rig, upload_id: str) -> None:
    await here.uploads.perform(IssueTicket(upload_id), ME, Pieces())


@pytest.mark.parametrize("renew", [retried, ticketed])
@pytest.mark.parametrize("failure", [AWAY, REFUSED])
def test_a_sign_of_its_owner_begins_the_wait_anew(
    tmp_path: Path, failure: DeliveryFailed, renew: Callable[[Rig, str], object]
) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await sealed(here, failure)
            await passes(here, WEEK - HOUR)
            await renew(here, upload_id)  # type: ignore[misc]
            await here.until(upload_id, lambda upload: upload.expiry is not None)
            await passes(here, WEEK - HOUR)
            await here.until(upload_id, lambda upload: upload.expiry is not None)
            await passes(here, 2 * HOUR)
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED

    asyncio.run(scenario())


def test_an_outage_that_is_shorter_expires_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, **{"handoff.attempts": 0}) as here:
            upload_id = await sealed(here, AWAY)
            for attempts in range(2, 14):
                await passes(here, DAY / 2)
                here.handoff.wake()
                await here.until(upload_id, functools.partial(has_tried, attempts=attempts))
            moody(here).failure = None
            await passes(here, DAY / 2)
            here.handoff.wake()
            await here.until(upload_id, lambda upload: upload.state is State.ACTIVE)

    asyncio.run(scenario())


def has_tried(upload: Upload, attempts: int) -> bool:
    return upload.delivery.attempts >= attempts and upload.delivery.last_error is not None


def test_what_is_being_delivered_does_not_expire(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await sealed(here, AWAY)
            goes_on = moody(here).goes_on = asyncio.Event()
            moody(here).failure = None
            await passes(here, WEEK - MINUTE)
            here.handoff.wake()
            await here.until(upload_id, lambda _: moody(here).delivering)
            await passes(here, DAY)
            assert (await here.inspect(upload_id)).upload.state is State.DELIVERING
            goes_on.set()
            await here.until(upload_id, lambda upload: upload.state is State.ACTIVE)

    asyncio.run(scenario())


def test_the_parts_of_an_expired_upload_expire_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            moody(here).failure = REFUSED
            part = await here.created(Create(SIZE, None))
            await here.send(part.id, 0, SIZE)
            whole = await here.joined((part.id,))
            await here.until(whole.id, lambda upload: upload.state is State.FAILED)
            await passes(here, WEEK)
            for each in (part.id, whole.id):
                assert await refusal(here.inspect(each)) is Reason.EXPIRED
            assert await here.files() == set()

    asyncio.run(scenario())


def test_an_upload_without_a_byte_expires_soon(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"first_byte_expiry": 3600}) as here:
            empty, begun = await here.create(), await here.create()
            part = (await here.created(Create(0, None))).id  # which has all of its bytes
            assert (await here.inspect(empty)).upload.expiry == here.now + HOUR
            await here.send(begun, 0, 10)
            assert (await here.inspect(begun)).upload.expiry == here.now + WEEK
            await passes(here, HOUR)
            assert await refusal(here.inspect(empty)) is Reason.EXPIRED
            assert await here.files() == {begun, part}
            assert (await here.catalog.uploads.usage(ME.owner.project_id)).size == SIZE

    asyncio.run(scenario())


def member(token: str, expires_at: float) -> Identity:
    return dataclasses.replace(ME, token=token, expires_at=expires_at)


@pytest.mark.parametrize("failure", [TOKEN, AWAY])
def test_a_token_that_is_refused_after_its_expiry_is_erased(tmp_path: Path, failure: DeliveryFailed) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await sealed(here, failure, member("secret", here.now + HOUR))
            await passes(here, MINUTE)
            assert await here.catalog.uploads.credential(upload_id) is not None, "it may be a mistake"
            here.now += HOUR
            here.handoff.wake()
            await here.until(upload_id, functools.partial(has_tried, attempts=2))
            assert (await here.catalog.uploads.credential(upload_id) is None) == (failure is TOKEN)

    asyncio.run(scenario())


def test_the_token_of_a_failed_upload_is_erased_when_keystone_forgets_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await sealed(here, REFUSED, member("secret", here.now + HOUR))
            await passes(here, 2 * DAY)
            assert await here.catalog.uploads.credential(upload_id) is not None, "a service user may vouch for it"
            await passes(here, 2 * HOUR)
            assert await here.catalog.uploads.credential(upload_id) is None
            assert (await here.inspect(upload_id)).upload.state is State.FAILED
            assert await here.read(upload_id) == CONTENT

    asyncio.run(scenario())


def test_an_orphans_token_that_is_refused_is_erased(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            created = await here.uploads.perform(Create(SIZE, IMAGE), member("secret", here.now + HOUR), Pieces())
            assert isinstance(created, Created)
            moody(here).failure = TOKEN
            await passes(here, 8 * DAY)
            (orphan,) = await here.catalog.orphans.due(here.now + HOUR)
            assert orphan.credential is None

    asyncio.run(scenario())
