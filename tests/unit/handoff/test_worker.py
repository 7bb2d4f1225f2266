"""Handoffs that fail, are replaced, retried or given up.

The image service is a directory that behaves as Glance does on bad days; Glance itself: openstack/test_glance_traps.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff import delivering
from resumable_glance.images.base import (
    CONNECTION_LOST,
    SERVER_ERROR,
    UNUSABLE,
    Actor,
    DeliveryFailed,
    ImageStatus,
    Presence,
    Source,
)
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Cancel, Create, Created, Retry, UploadFound
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import State
from resumable_glance.model.stores import DIRECT, Store, StoreList, choose
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, Upload, require
from resumable_glance.uploads import image_preparation
from tests.support.rig import CONTENT, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

REFUSED = DeliveryFailed(FailureReason.IMAGE_REFUSED, "Not these bytes.", final=True, suspicion=UNUSABLE)
OWN_ERROR = DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Something is wrong here.", suspicion=SERVER_ERROR)
AWAY = DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Nobody answers.")
FULL = DeliveryFailed(FailureReason.OVER_QUOTA, "No space is left.", final=True)


class Crash(BaseException):
    pass


class Moody(DirectoryImageService):
    """An image service with bad days.

    `refusals` come from the next deliveries, after so many bytes. What is in `stuck` takes bytes for ever; what is in
    `spoiled` refuses any. `counterfeit`: what it has is something else.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.refusals: list[tuple[DeliveryFailed, int]] = []
        self.stuck: set[str] = set()
        self.spoiled: set[str] = set()
        self.counterfeit = False
        self.refuses_to_make: Reason | None = None
        self.called: Callable[[], None] = lambda: None

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        self.called()
        if self.refuses_to_make is not None:
            raise Refused(self.refuses_to_make, "Not now.")
        made = await super().prepare(request, size, actor)
        self.called()
        return made

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        self.called()
        if self.refusals or image.id in self.spoiled:
            failure, read = self.refusals.pop(0) if self.refusals else (OWN_ERROR, size)
            await asyncio.to_thread(self._read, source, read)
            if failure.suspicion >= UNUSABLE:
                self.spoiled.add(image.id)
            raise failure
        await super().deliver(image, size, source, actor)
        self.called()

    def _read(self, source: Source, read: int) -> None:
        while read > 0 and (piece := source.read(min(read, 10_000))):
            read -= len(piece)

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        self.called()
        found = await super().status(image, actor)
        if found.presence is Presence.QUEUED and image.id in self.stuck:
            return ImageStatus(Presence.SAVING)
        return ImageStatus(found.presence, found.size, "0" * 32, found.sha512) if self.counterfeit else found

    async def delete(self, image: Image, actor: Actor) -> None:
        self.called()
        await super().delete(image, actor)
        self.called()

    def shown(self, image_id: str) -> Any:
        return json.loads((self._directory / f"{image_id}.json").read_text())

    def ids(self) -> set[str]:
        return {each.name.partition(".")[0] for each in self._directory.iterdir()}


def moody(here: Rig) -> Moody:
    assert isinstance(here.image_service, Moody)
    return here.image_service


@asynccontextmanager
async def working(
    directory: Path, options: Mapping[str, object] | None = None, image_service: type[Moody] = Moody
) -> AsyncIterator[Rig]:
    """A rig whose handoff runs, with time that flies: what waits for a minute waits for a moment."""
    async with rig(directory, image_service=image_service, options=options or {}) as here:

        async def fly() -> None:
            while True:
                await asyncio.sleep(0.005)
                here.now += 60
                here.handoff.wake()

        jobs = [asyncio.create_task(each) for each in (here.handoff.run(), fly())]
        with mock.patch.object(image_preparation, "CREATION_TIMEOUT", 1e9):  # which flies as well
            yield here
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


async def becomes(here: Rig, upload_id: str, state: State) -> Upload:
    return await here.until(upload_id, lambda upload: upload.state is state)


def has_failed(upload: Upload, attempts: int = 1) -> bool:
    """Whether the last of so many attempts has failed."""
    return upload.delivery.attempts >= attempts and upload.delivery.last_error is not None


async def retry(here: Rig, upload_id: str) -> UploadFound:
    outcome = await here.uploads.perform(Retry(upload_id), ME, Pieces())
    assert isinstance(outcome, UploadFound)
    return outcome


async def adopting(here: Rig, image_id: str) -> str:
    outcome = await here.uploads.perform(Create(SIZE, ImageRequest(image_id=image_id)), ME, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload.id


async def image_of(here: Rig, upload_id: str) -> Image:
    return require((await here.inspect(upload_id)).upload.image)


async def left_clean(here: Rig, upload_id: str) -> None:
    """One image, the upload's, with the bytes; nothing on scratch, and nothing to be removed."""
    image = await image_of(here, upload_id)
    await here.cleaner.tidy()
    assert moody(here).ids() == {image.id}
    assert (here.images / image.id).read_bytes() == CONTENT
    assert await here.files() == set()
    assert await here.catalog.orphans.due(here.now + 1e6) == []


def test_a_stuck_image_is_replaced_by_one_like_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await here.create()
            old = await image_of(here, upload_id)
            moody(here).stuck.add(old.id)
            await here.send(upload_id, 0, SIZE)
            upload = await becomes(here, upload_id, State.ACTIVE)
            image = require(upload.image)
            assert image.replaced == (old.id,) != (image.id,)
            assert moody(here).shown(image.id).items() >= IMAGE.properties.items()
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_an_image_is_stuck_only_after_glance_timeout(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=Moody, options={"handoff.glance_timeout": 500}) as here:
            upload_id = await here.create()
            old = await image_of(here, upload_id)
            moody(here).stuck.add(old.id)
            await here.send(upload_id, 0, SIZE)
            async with here.handing_over():
                for attempt in range(1, 10):  # at 0, 61, ... 488 seconds
                    upload = await here.until(upload_id, functools.partial(has_failed, attempts=attempt))
                    assert require(upload.image).id == old.id
                    here.now += 61
                    here.handoff.wake()
                upload = await becomes(here, upload_id, State.ACTIVE)
            assert require(upload.image).replaced == (old.id,)

    asyncio.run(scenario())


def test_a_broken_delivery_counts_as_stuck_sooner(tmp_path: Path) -> None:
    async def waited_for(read: int) -> float:
        async with rig(tmp_path / str(read), image_service=Moody) as here:
            upload_id = await here.create()
            moody(here).refusals = [(AWAY, read)]
            await here.send(upload_id, 0, SIZE)
            async with here.handing_over():
                upload = await here.until(upload_id, has_failed)
            return upload.delivery.stuck_at - here.now

    assert asyncio.run(waited_for(SIZE // 2)) == 60
    assert asyncio.run(waited_for(SIZE)) == 900


class Importing(Moody):
    """An image service with two stores: `fails` imports fail; the next one never ends if it `hangs`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.fails = 0
        self.hangs = False
        self.foiled: set[str] = set()

    async def stores(self, actor: Actor) -> StoreList:
        return StoreList((Store("fast"), Store("archive")), (DIRECT,))

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        stores = choose(request, await self.stores(actor))
        plainly = dataclasses.replace(request, stores=None, all_stores=False)
        return dataclasses.replace(await super().prepare(plainly, size, actor), stores=stores)

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        if not self.fails and not self.hangs:
            return await super().deliver(image, size, source, actor)
        await asyncio.to_thread(self._read, source, size + 1)
        (self.stuck if self.hangs else self.foiled).add(image.id)
        self.fails, self.hangs = max(0, self.fails - 1), False
        return None

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        foiled = ImageStatus(Presence.IMPORT_FAILED, detail="Glance could not import the image into archive.")
        return foiled if image.id in self.foiled else await super().status(image, actor)


async def importing(here: Rig) -> str:
    """An upload that is to go into both stores."""
    request = dataclasses.replace(IMAGE, stores=("fast", "archive"))
    outcome = await here.uploads.perform(Create(SIZE, request), ME, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload.id


@pytest.mark.parametrize("fails", [1, 3])
def test_a_failed_import_is_repeated_with_a_new_image(tmp_path: Path, fails: int) -> None:
    async def scenario() -> None:
        async with working(tmp_path, image_service=Importing) as here:
            moody(here).fails = fails  # type: ignore[attr-defined]
            upload_id = await importing(here)
            await here.send(upload_id, 0, SIZE)
            upload = await becomes(here, upload_id, State.ACTIVE)
            image = require(upload.image)
            assert (len(image.replaced), image.stores) == (fails, ("fast", "archive"))
            assert upload.delivery.attempts == fails + 1
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_failed_imports_fail_the_upload_in_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, {"handoff.attempts": 2}, image_service=Importing) as here:
            moody(here).fails = 99  # type: ignore[attr-defined]
            upload_id = await importing(here)
            await here.send(upload_id, 0, SIZE)
            upload = await becomes(here, upload_id, State.FAILED)
            trouble = require(upload.delivery.last_error)
            assert trouble.reason is FailureReason.IMAGE_SERVICE_UNAVAILABLE
            assert "into archive" in trouble.detail
            moody(here).fails = 0  # type: ignore[attr-defined]
            await retry(here, upload_id)
            await becomes(here, upload_id, State.ACTIVE)
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_an_import_that_never_ends_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "IMPORT_POLL_INTERVAL", 0.01)

    async def scenario() -> None:
        async with working(tmp_path, image_service=Importing) as here:
            upload_id = await importing(here)
            old = await image_of(here, upload_id)
            moody(here).hangs = True  # type: ignore[attr-defined]
            await here.send(upload_id, 0, SIZE)
            upload = await becomes(here, upload_id, State.ACTIVE)
            assert (require(upload.image).replaced, upload.delivery.attempts) == ((old.id,), 1)
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_a_running_import_is_no_error_and_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "IMPORT_POLL_INTERVAL", 0.01)

    async def scenario() -> None:
        async with rig(tmp_path, image_service=Importing) as here:
            upload_id = await importing(here)
            moody(here).hangs = True  # type: ignore[attr-defined]
            await here.send(upload_id, 0, SIZE)
            job = asyncio.create_task(here.handoff.run())
            await becomes(here, upload_id, State.VERIFYING)
            polled = asyncio.Semaphore(0)
            moody(here).called = polled.release
            for _ in range(3):
                await polled.acquire()
            upload = (await here.inspect(upload_id)).upload
            assert (upload.delivery.last_error, upload.delivery.attempts) == (None, 1)
            assert upload.delivery.stuck_at == here.now + 2 * 900  # of one store after the other
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            assert moody(here).ids() == set()
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)

    asyncio.run(scenario())


def test_a_retry_replaces_an_unusable_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await here.create()
            old = await image_of(here, upload_id)
            moody(here).refusals = [(REFUSED, SIZE)]
            await here.send(upload_id, 0, SIZE)
            failed = await becomes(here, upload_id, State.FAILED)
            assert require(failed.delivery.last_error).reason is FailureReason.IMAGE_REFUSED
            assert await here.files() == {upload_id}, "the bytes are not kept"
            assert (await retry(here, upload_id)).upload.state in {State.SEALED, State.DELIVERING}
            upload = await becomes(here, upload_id, State.ACTIVE)
            assert require(upload.image).replaced == (old.id,)
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_a_second_server_error_costs_the_image(tmp_path: Path) -> None:
    async def after(failure: DeliveryFailed, times: int) -> int:
        async with working(tmp_path / f"{failure} {times}") as here:
            upload_id = await here.create()
            moody(here).refusals = [(failure, SIZE)] * times
            await here.send(upload_id, 0, SIZE)
            upload = await becomes(here, upload_id, State.ACTIVE)
            await left_clean(here, upload_id)
            return len(require(upload.image).replaced)

    broken = DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Silence.", suspicion=CONNECTION_LOST)
    assert [asyncio.run(after(OWN_ERROR, times)) for times in (1, 2)] == [0, 1]
    assert [asyncio.run(after(broken, times)) for times in (5, 6)] == [0, 1]


@pytest.mark.parametrize("failure", [AWAY, FULL])
def test_other_errors_leave_the_image_in_place(tmp_path: Path, failure: DeliveryFailed) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await here.create()
            moody(here).refusals = [(failure, 100)] * 5
            await here.send(upload_id, 0, SIZE)
            for _ in range(5 if failure.final else 0):
                await becomes(here, upload_id, State.FAILED)
                await retry(here, upload_id)
            upload = await becomes(here, upload_id, State.ACTIVE)
            assert require(upload.image).replaced == ()
            await left_clean(here, upload_id)

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["stuck", "spoiled"])
def test_an_adopted_image_is_never_replaced_nor_deleted(tmp_path: Path, how: str) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            theirs = await moody(here).prepare(IMAGE, SIZE, Actor(ME.owner))
            upload_id = await adopting(here, theirs.id)
            if how == "stuck":
                moody(here).stuck.add(theirs.id)
            else:
                moody(here).refusals = [(REFUSED, SIZE)]
            await here.send(upload_id, 0, SIZE)
            await becomes(here, upload_id, State.FAILED)
            await retry(here, upload_id)
            upload = await becomes(here, upload_id, State.FAILED)
            assert "Delete it, and create a new upload." in require(upload.delivery.last_error).detail
            assert require(upload.image).id == theirs.id
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            assert moody(here).ids() == {theirs.id}

    asyncio.run(scenario())


def test_server_errors_never_condemn_an_adopted_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            theirs = await moody(here).prepare(IMAGE, SIZE, Actor(ME.owner))
            upload_id = await adopting(here, theirs.id)
            moody(here).refusals = [(OWN_ERROR, SIZE)] * 7
            await here.send(upload_id, 0, SIZE)
            assert require((await becomes(here, upload_id, State.ACTIVE)).image).id == theirs.id

    asyncio.run(scenario())


def test_a_retry_replaces_a_deleted_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await here.create()
            old = await image_of(here, upload_id)
            await here.image_service.delete(old, Actor(ME.owner))
            await here.send(upload_id, 0, SIZE)
            failed = await becomes(here, upload_id, State.FAILED)
            assert require(failed.delivery.last_error).reason is FailureReason.IMAGE_GONE
            await retry(here, upload_id)
            image = require((await becomes(here, upload_id, State.ACTIVE)).image)
            assert image.replaced == (old.id,)
            assert moody(here).shown(image.id).items() >= IMAGE.properties.items()
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_an_image_that_is_not_the_file_is_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await here.create()
            old = await image_of(here, upload_id)
            moody(here).counterfeit = True
            await here.send(upload_id, 0, SIZE)
            failed = await becomes(here, upload_id, State.FAILED)
            assert require(failed.delivery.last_error).reason is FailureReason.IMAGE_DIFFERS
            async with here.handoff.paused(upload_id):  # the attempt has ended
                assert moody(here).ids() == set()
            moody(here).counterfeit = False
            await retry(here, upload_id)
            assert require((await becomes(here, upload_id, State.ACTIVE)).image).replaced == (old.id,)
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_an_upload_fails_with_its_bytes_and_can_be_retried(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, {"handoff.attempts": 4}) as here:
            upload_id = await here.create()
            moody(here).refusals = [(AWAY, 100)] * 6
            await here.send(upload_id, 0, SIZE)
            failed = await becomes(here, upload_id, State.FAILED)
            assert (failed.delivery.attempts, require(failed.delivery.last_error).reason) == (
                4,
                FailureReason.IMAGE_SERVICE_UNAVAILABLE,
            )
            assert "Nobody answers." in require(failed.delivery.last_error).detail
            await retry(here, upload_id)
            assert (await becomes(here, upload_id, State.ACTIVE)).delivery.attempts == 3
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_an_upload_that_waits_for_a_token_never_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path, {"handoff.attempts": 2}) as here:
            upload_id = await here.create()
            moody(here).refusals = [(DeliveryFailed(FailureReason.TOKEN_EXPIRED, "Who are you?"), 0)] * 9
            await here.send(upload_id, 0, SIZE)
            assert (await becomes(here, upload_id, State.ACTIVE)).delivery.attempts == 10

    asyncio.run(scenario())


def test_a_useless_retry_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            promised = Create(SIZE, IMAGE, (Digest("sha256", bytes(32)),))
            outcome = await here.uploads.perform(promised, ME, Pieces())
            assert isinstance(outcome, Created)
            upload_id = outcome.upload.id
            assert await refusal(retry(here, upload_id)) is Reason.UNFINISHED
            await here.send(upload_id, 0, SIZE)
            await becomes(here, upload_id, State.FAILED)
            assert await refusal(retry(here, upload_id)) is Reason.USELESS
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            assert await refusal(retry(here, upload_id)) is Reason.CANCELLED
            other = await here.create()
            await here.send(other, 0, SIZE)
            await becomes(here, other, State.ACTIVE)
            assert (await retry(here, other)).upload.state is State.ACTIVE

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("reason", "state", "failure"),
    [
        (Reason.IMAGE_SERVICE_UNAVAILABLE, State.SEALED, FailureReason.IMAGE_SERVICE_UNAVAILABLE),
        (Reason.UNAUTHENTICATED, State.SEALED, FailureReason.TOKEN_EXPIRED),
        (Reason.OVER_QUOTA, State.FAILED, FailureReason.OVER_QUOTA),
        (Reason.FORBIDDEN, State.FAILED, FailureReason.IMAGE_REFUSED),
    ],
)
def test_the_old_image_stays_until_a_new_one_can_be_made(
    tmp_path: Path, reason: Reason, state: State, failure: FailureReason
) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await here.create()
            old = await image_of(here, upload_id)
            moody(here).stuck.add(old.id)
            moody(here).refuses_to_make = reason
            await here.send(upload_id, 0, SIZE)
            await here.until(
                upload_id,
                lambda upload: (
                    (upload.state, upload.delivery.last_error and upload.delivery.last_error.reason) == (state, failure)
                ),
            )
            assert moody(here).ids() == {old.id}
            moody(here).refuses_to_make = None
            await retry(here, upload_id)
            assert require((await becomes(here, upload_id, State.ACTIVE)).image).replaced == (old.id,)
            await left_clean(here, upload_id)

    asyncio.run(scenario())


def test_a_replacement_cancelled_midway_leaves_no_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as here:
            upload_id = await here.create()
            old = await image_of(here, upload_id)
            moody(here).stuck.add(old.id)
            made, prepare = asyncio.Event(), moody(here).prepare

            async def made_and_broken_off(request: ImageRequest, size: int | None, actor: Actor) -> Image:
                await prepare(request, size, actor)
                made.set()
                raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, "The answer is lost.")

            moody(here).prepare = made_and_broken_off  # type: ignore[method-assign]
            await here.send(upload_id, 0, SIZE)
            await asyncio.wait_for(made.wait(), 30)
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            await here.cleaner.tidy()
            assert moody(here).ids() == set()

    asyncio.run(scenario())


class Fuse:
    """Crashes the handoff once, before or after its `left`th transaction or word to the image service."""

    def __init__(self, here: Rig, left: int) -> None:
        self.left = left
        self._handoff = here.handoff
        transactions = here.catalog.transactions
        for name in ("read", "write"):
            setattr(transactions, name, functools.partial(self._transaction, getattr(transactions, name)))
        moody(here).called = self._burn

    def _burn(self) -> None:
        if asyncio.current_task() in [each.task for each in self._handoff._running.values()]:
            self.left -= 1
            if self.left == 0:
                raise Crash

    async def _transaction(self, run: Callable[[Any], Awaitable[Any]], work: Callable[[Any], Any]) -> Any:
        self._burn()
        result = await run(work)
        self._burn()
        return result


async def _befall(here: Rig, how: str, image: Image) -> None:
    if how == "gone":
        await here.image_service.delete(image, Actor(ME.owner))
    elif how == "stuck":
        moody(here).stuck.add(image.id)
    elif how == "spoiled":
        moody(here).refusals = [(OWN_ERROR, SIZE), (OWN_ERROR, SIZE)]
    else:
        moody(here).counterfeit = True


@pytest.mark.parametrize(("how", "first"), [("stuck", 1), ("spoiled", 2), ("gone", 3), ("counterfeit", 1)])
def test_a_replacement_killed_anywhere_leaves_one_image(tmp_path: Path, how: str, first: int) -> None:
    """A crash before or after transactions and words to the image service: each third of them, others in each case."""

    async def scenario(directory: Path, calls: int) -> bool:
        """Whether it came to the crash at all."""
        async with working(directory) as here:
            upload_id = await here.create()
            await _befall(here, how, await image_of(here, upload_id))
            fuse = Fuse(here, calls)
            await here.send(upload_id, 0, SIZE)
            if how in {"gone", "counterfeit"}:
                await becomes(here, upload_id, State.FAILED)
                moody(here).counterfeit = False
                await retry(here, upload_id)
            await becomes(here, upload_id, State.ACTIVE)
            async with here.handoff.paused(upload_id):  # the attempt has ended
                await here.cleaner.open()  # what a start does for storage
            await left_clean(here, upload_id)
            return fuse.left <= 0

    calls = first
    while asyncio.run(scenario(tmp_path / str(calls), calls)):
        calls += 3
    assert calls > 20
