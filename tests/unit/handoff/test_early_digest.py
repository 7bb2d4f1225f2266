"""An upload that is large enough for an early delivery, with a digest of the whole that holds or does not."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from resumable_glance.images.base import Actor, Presence, Source
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Append, Chunk, Create, Created
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Image, Upload
from resumable_glance.runtime import config
from tests.support.rig import IMAGE, ME, Pieces, Rig, rig

SIZE = config.load([], {"public_endpoint": "https://uploads.example"})[0].handoff.early_minimum_size
ENOUGH = SIZE // 2  # bytes: delivered early, before the last chunk is sent
RIGHT = Digest("md5", hashlib.md5(bytes(SIZE)).digest())
WRONG = Digest("md5", bytes(16))


class CountingImageService(DirectoryImageService):
    """Counts the bytes of each delivery, and the deliveries that ended with a complete image."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.taken: list[int] = []
        self.completed = 0
        self.has_enough = asyncio.Event()

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        number, loop = len(self.taken), asyncio.get_running_loop()
        self.taken.append(0)

        class Counted:
            def read(_, size: int = 10_000, /) -> bytes:
                piece = source.read(size)
                self.taken[number] += len(piece)
                if self.taken[number] >= ENOUGH:
                    loop.call_soon_threadsafe(self.has_enough.set)
                return piece

        await super().deliver(image, size, Counted(), actor)
        self.completed += 1


async def ended(here: Rig, upload_id: str) -> Upload:
    """The upload once its handoff has ended."""
    with here.catalog.notifier.subscribe(upload_id) as changed:
        while True:
            await changed.wait()
            changed.clear()
            upload = (await here.inspect(upload_id)).upload
            if upload.state in {State.ACTIVE, State.FAILED}:
                return upload


async def send_zeros(here: Rig, upload_id: str, start: int, stop: int) -> None:
    await here.uploads.perform(Append(upload_id, Chunk(start, stop - start, zeros=True), SIZE), ME, Pieces())


@pytest.mark.parametrize("digest", [RIGHT, WRONG], ids=["right", "wrong"])
def test_image_is_complete_only_if_digest_holds(tmp_path: Path, digest: Digest) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=CountingImageService) as here, asyncio.timeout(60):
            images = here.image_service
            assert isinstance(images, CountingImageService)
            job = asyncio.create_task(here.handoff.run())
            created = await here.uploads.perform(Create(SIZE, IMAGE, (digest,)), ME, Pieces())
            assert isinstance(created, Created)
            upload_id = created.upload.id
            await send_zeros(here, upload_id, 0, ENOUGH)
            await send_zeros(here, upload_id, ENOUGH, SIZE - 1)
            await images.has_enough.wait()
            await send_zeros(here, upload_id, SIZE - 1, SIZE)
            upload = await ended(here, upload_id)
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            assert upload.image is not None
            status = await images.status(upload.image, Actor(ME.owner))
            if digest is RIGHT:
                assert (upload.state, status.presence) == (State.ACTIVE, Presence.ACTIVE)
                assert (images.taken, images.completed) == ([SIZE], 1)
            else:
                assert (upload.state, status.presence) == (State.FAILED, Presence.QUEUED)
                assert upload.delivery.last_error is not None
                assert upload.delivery.last_error.reason is FailureReason.DIGEST_MISMATCH
                assert (len(images.taken), images.completed) == (1, 0)
                assert ENOUGH <= images.taken[0] < SIZE

    asyncio.run(scenario())
