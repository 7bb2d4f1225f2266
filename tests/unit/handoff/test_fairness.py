"""Handoffs of several projects: none waits for another one's images."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from resumable_glance.auth.base import Identity
from resumable_glance.images.base import Actor, Source
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Append, Chunk, Create
from resumable_glance.model.states import State
from resumable_glance.model.upload import Image, Owner
from tests.support.rig import CONTENT, IMAGE, ME, SIZE, Pieces, Rig, rig

OTHER = Identity(Owner("other", "user"))


class Slow(DirectoryImageService):
    """Notes whose images come, and lets those of `held` projects wait for `goes_on`."""

    held: tuple[str, ...] = ()

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.begun: list[str] = []
        self.goes_on = asyncio.Event()

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        self.begun.append(actor.owner.project_id)
        if actor.owner.project_id in self.held:
            await self.goes_on.wait()
        await super().deliver(image, size, source, actor)


def slow(here: Rig) -> Slow:
    assert isinstance(here.image_service, Slow)
    return here.image_service


async def sealed(here: Rig, who: Identity, size: int = SIZE) -> str:
    upload_id = (await here.created(Create(size, IMAGE), who=who)).id
    await here.uploads.perform(Append(upload_id, Chunk(0, size), size), who, Pieces(CONTENT[:size]))
    return upload_id


@pytest.mark.parametrize("workers", [2, 3])
def test_a_newcomer_does_not_wait_for_a_project_with_many_images(tmp_path: Path, workers: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=Slow, options={"handoff.workers": workers}) as here:
            slow(here).held = ("project",)
            many = [await sealed(here, ME) for _ in range(5)]
            async with here.handing_over():
                await here.until(many[0], lambda _: slow(here).begun)
                late = await sealed(here, OTHER)
                await here.until(late, lambda upload: upload.state is State.ACTIVE)
                assert slow(here).begun.count("project") == workers - 1
                slow(here).goes_on.set()
                for each in many:
                    await here.until(each, lambda upload: upload.state is State.ACTIVE)

    asyncio.run(scenario())


def test_bytes_take_turns_and_not_images(tmp_path: Path) -> None:
    """After its large image a project waits for the small ones of another."""

    async def scenario() -> None:
        async with rig(tmp_path, image_service=Slow, options={"handoff.workers": 1}) as here:
            await here.reaches(await sealed(here, ME), State.ACTIVE)
            slow(here).begun.clear()
            large = await sealed(here, ME)
            small = [await sealed(here, OTHER, SIZE // 10) for _ in range(3)]
            async with here.handing_over():
                for each in [large, *small]:
                    await here.until(each, lambda upload: upload.state is State.ACTIVE)
            assert slow(here).begun == ["other"] * 3 + ["project"]

    asyncio.run(scenario())
