"""Trusts: there for what takes longer than a token lives, over when the upload is, and never in the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import Actor, DeliveryFailed
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Append, Cancel, Chunk, Create, Created
from resumable_glance.model.states import State
from resumable_glance.model.upload import Image
from tests.support.rig import CONTENT, DAY, IMAGE, ME, SIZE, Pieces, Rig, refusal, rig

OWNER = Identity(ME.owner, token="own", roles=("member",))


class Keystone:
    """What Keystone has of our trusts."""

    def __init__(self) -> None:
        self.trusts: set[str] = set()
        self.made = 0
        self.away = False
        self.willing = True

    async def create(self, identity: Identity) -> str | None:
        self._answer()
        assert identity.token
        if not self.willing:
            return None
        self.made += 1
        self.trusts.add(f"trust-{self.made}")
        return f"trust-{self.made}"

    async def token(self, trust_id: str) -> str | None:
        self._answer()
        return f"by {trust_id}" if trust_id in self.trusts else None

    async def end(self, trust_id: str) -> None:
        self._answer()
        self.trusts.discard(trust_id)

    def _answer(self) -> None:
        if self.away:
            raise Refused(Reason.IDENTITY_UNAVAILABLE, "Not now.")


async def created(here: Rig) -> str:
    outcome = await here.uploads.perform(Create(SIZE, IMAGE), OWNER, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload.id


async def token(here: Rig, upload_id: str) -> str | None:
    upload = await here.catalog.uploads.get(upload_id)
    assert upload is not None
    return await here.delegation.token(upload)


def test_a_trust_hands_its_upload_over_and_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        keystone = Keystone()
        async with rig(tmp_path, trusts=keystone) as here:
            upload_id = await created(here)
            assert (keystone.trusts, await token(here, upload_id)) == ({"trust-1"}, "by trust-1")
            await here.uploads.perform(Append(upload_id, Chunk(0, SIZE), SIZE), OWNER, Pieces(CONTENT))
            await here.reaches(upload_id, State.ACTIVE)
            async with asyncio.timeout(10):
                while keystone.trusts:
                    await here.delegation.tidy()

    asyncio.run(scenario())


def test_a_trust_ends_with_its_upload(tmp_path: Path) -> None:
    async def scenario() -> None:
        keystone = Keystone()
        async with rig(tmp_path, trusts=keystone) as here:
            await here.uploads.perform(Cancel(await created(here)), OWNER, Pieces())
            assert keystone.trusts == set()
            await created(here)
            here.now += 8 * DAY
            await here.cleaner.tidy()
            assert keystone.trusts == set()
            going_on = await created(here)
            await here.cleaner.tidy()
            assert keystone.trusts == {"trust-3"}
            assert await token(here, going_on) == "by trust-3"

    asyncio.run(scenario())


def test_a_trust_that_can_not_be_ended_now_is_ended_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        keystone = Keystone()
        async with rig(tmp_path, trusts=keystone) as here:
            upload_id = await created(here)
            keystone.away = True
            assert await token(here, upload_id) == "own"
            await here.uploads.perform(Cancel(upload_id), OWNER, Pieces())
            assert keystone.trusts == {"trust-1"}
        async with rig(tmp_path, trusts=keystone) as here:  # as after a crash
            keystone.away = False
            await here.cleaner.tidy()
            assert keystone.trusts == set()

    asyncio.run(scenario())


class Away(DirectoryImageService):
    away = True
    tokens: tuple[str | None, ...] = ()

    async def delete(self, image: Image, actor: Actor) -> None:
        type(self).tokens += (actor.token,)
        if self.away:
            from resumable_glance.model.upload import FailureReason

            raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Not now.")
        await super().delete(image, actor)


def test_a_trust_stays_until_its_orphaned_image_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Away, "tokens", ())

    async def scenario() -> None:
        keystone = Keystone()
        async with rig(tmp_path, image_service=Away, trusts=keystone) as here:
            await created(here)
            here.now += 8 * DAY
            await here.cleaner.tidy()
            assert keystone.trusts == {"trust-1"}
            monkeypatch.setattr(Away, "away", False)
            here.now += 3600
            await here.cleaner.tidy()
            assert keystone.trusts == set()
            assert set(Away.tokens) == {"by trust-1"}

    asyncio.run(scenario())


@pytest.mark.parametrize("away", [False, True], ids=["it may make none", "Keystone is away"])
def test_without_a_trust_the_owners_token_is_used(tmp_path: Path, away: bool) -> None:
    async def scenario() -> None:
        keystone = Keystone()
        keystone.willing, keystone.away = False, away
        async with rig(tmp_path, trusts=keystone) as here:
            upload_id = await created(here)
            assert await token(here, upload_id) == "own"
            await here.uploads.perform(Append(upload_id, Chunk(0, SIZE), SIZE), OWNER, Pieces(CONTENT))
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_an_invalid_trust_leaves_the_owners_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        keystone = Keystone()
        async with rig(tmp_path, trusts=keystone) as here:
            upload_id = await created(here)
            keystone.trusts.clear()  # its owner has ended it
            assert await token(here, upload_id) == "own"

    asyncio.run(scenario())


def test_no_trust_without_an_image_a_token_or_permission(tmp_path: Path) -> None:
    async def scenario() -> None:
        keystone = Keystone()
        async with rig(tmp_path, trusts=keystone, options={"max_upload_size": SIZE}) as here:
            await here.uploads.perform(Create(SIZE, None), OWNER, Pieces())
            await here.uploads.perform(Create(SIZE, IMAGE), ME, Pieces())
            await refusal(here.uploads.perform(Create(SIZE + 1, IMAGE), OWNER, Pieces()))
            assert keystone.made == 0

    asyncio.run(scenario())
