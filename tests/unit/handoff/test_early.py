"""Deliveries that begin while their upload still comes: never complete before it is, and never another one than it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from resumable_glance.auth.base import Identity, Right
from resumable_glance.handoff import early
from resumable_glance.images.base import Actor, DeliveryFailed, Source
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Append, Cancel, Chunk, Create, Created
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Image, Owner, Upload
from tests.support.rig import CONTENT, IMAGE, ME, SIZE, Pieces, Rig, rig

MD5 = Digest("md5", hashlib.md5(CONTENT).digest())
SHA256 = Digest("sha256", hashlib.sha256(CONTENT).digest())
WRONG = Digest("md5", bytes(16))
ALL = {"handoff.early_minimum_size": 0, "image_format.enabled": False}  # a verdict needs a megabyte


class Watched(DirectoryImageService):
    """Counts deliveries, and the bytes of each."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.taken: list[int] = []
        self.changed = asyncio.Event()
        self.fails = False

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        number, loop = len(self.taken), asyncio.get_running_loop()
        self.taken.append(0)
        self.changed.set()

        class Counted:
            def read(_, size: int = 10_000, /) -> bytes:
                piece = source.read(size)
                self.taken[number] += len(piece)
                loop.call_soon_threadsafe(self.changed.set)
                return piece

        if self.fails:
            self.fails = False
            raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "not now")
        await super().deliver(image, size, Counted(), actor)


@asynccontextmanager
async def delivering_early(directory: Path, monkeypatch: pytest.MonkeyPatch, **patience: float) -> AsyncIterator[Rig]:
    """Every upload is followed as soon as it has a byte."""
    quick = {"LEAD": 20_000, "TRICKLE": 100, "TRICKLE_INTERVAL": 0.02, "STARVING_TIMEOUT": 5.0, "GROWTH_TIMEOUT": 20.0}
    for name, value in {**quick, **patience}.items():
        monkeypatch.setattr(early, name, value)
    async with rig(directory, image_service=Watched, options=ALL) as here:
        job = asyncio.create_task(here.handoff.run())
        try:
            yield here
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)


def watched(here: Rig) -> Watched:
    assert isinstance(here.image_service, Watched)
    return here.image_service


async def until(here: Rig, condition: Callable[[list[int]], object]) -> None:
    """Wait until the condition holds for the bytes that each delivery took."""
    async with asyncio.timeout(10):
        while not condition(watched(here).taken):
            watched(here).changed.clear()
            await watched(here).changed.wait()


async def ends(here: Rig, upload_id: str, state: State) -> Upload:
    async with asyncio.timeout(20):
        while (upload := (await here.inspect(upload_id)).upload).state is not state:
            here.now += 0.01  # what waits a second waits that long
            await asyncio.sleep(0.005)
    return upload


async def is_active(here: Rig, upload_id: str) -> None:
    upload = await ends(here, upload_id, State.ACTIVE)
    assert upload.image is not None
    assert (here.images / upload.image.id).read_bytes() == CONTENT
    async with here.handoff.paused(upload_id):  # its attempt has ended
        assert await here.files() == set()


def test_most_bytes_are_delivered_before_the_last_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch) as here:
            upload_id = await here.create()
            for start in range(0, 90_000, 10_000):
                await here.send(upload_id, start, start + 10_000)
            await until(here, lambda taken: taken and taken[0] >= 70_000)
            shown = await here.inspect(upload_id)
            assert (shown.upload.state, shown.delivered >= 70_000) == (State.RECEIVING, True)
            await here.send(upload_id, 90_000, SIZE)
            await is_active(here, upload_id)
            assert watched(here).taken == [SIZE]

    asyncio.run(scenario())


def test_a_trickle_bridges_gaps_without_the_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch, LEAD=10**6) as here:
            first = Create(SIZE, IMAGE, first=Chunk(0, 600, last=False))
            created = await here.uploads.perform(first, ME, Pieces(CONTENT[:600]))
            assert isinstance(created, Created)
            upload_id = created.upload.id
            await until(here, lambda taken: taken and taken[0] >= 300)
            begun = time.monotonic()
            await here.send(upload_id, 600, SIZE - 1)
            await until(here, lambda taken: taken[0] >= 1500)
            assert time.monotonic() - begun > 0.1, "that is no sip a pause"
            await here.send(upload_id, SIZE - 1, SIZE)
            await is_active(here, upload_id)
            assert watched(here).taken == [SIZE]

    asyncio.run(scenario())


def test_a_stalled_upload_is_delivered_after_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch, GROWTH_TIMEOUT=0.05) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            await until(here, lambda taken: taken and taken[0] > 0)
            async with asyncio.timeout(10):
                while here.core.progress:
                    await asyncio.sleep(0.005)
            assert (await here.inspect(upload_id)).upload.delivery.last_error is None
            await here.send(upload_id, 50_000, SIZE)
            await is_active(here, upload_id)
            assert watched(here).taken[1:] == [SIZE]
            assert watched(here).taken[0] < SIZE

    asyncio.run(scenario())


def test_a_failed_early_delivery_is_repeated_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch) as here:
            watched(here).fails = True
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            await until(here, lambda taken: not watched(here).fails)
            await here.send(upload_id, 50_000, SIZE)
            await is_active(here, upload_id)
            assert watched(here).taken == [0, SIZE], "it is followed once, and not again with each chunk"

    asyncio.run(scenario())


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_wrong_image_digest_withholds_the_last_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch) as here:
            created = await here.uploads.perform(Create(SIZE, IMAGE, () if at_the_end else (WRONG,)), ME, Pieces())
            assert isinstance(created, Created)
            upload_id = created.upload.id
            await here.send(upload_id, 0, 80_000)
            await until(here, lambda taken: taken and taken[0] >= 50_000)
            declared = (WRONG,) if at_the_end else ()
            last = Append(upload_id, Chunk(80_000, SIZE - 80_000), SIZE, declared)
            await here.uploads.perform(last, ME, Pieces(CONTENT[80_000:]))
            upload = await ends(here, upload_id, State.FAILED)
            assert upload.delivery.last_error is not None
            assert upload.delivery.last_error.reason is FailureReason.DIGEST_MISMATCH
            assert len(watched(here).taken) == 1
            assert watched(here).taken[0] < SIZE

    asyncio.run(scenario())


@pytest.mark.parametrize(("digest", "deliveries"), [(MD5, 1), (SHA256, 2)])
def test_a_late_image_digest_is_verified_before_the_last_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: Digest, deliveries: int
) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 80_000)
            await until(here, lambda taken: taken and taken[0] >= 50_000)
            last = Append(upload_id, Chunk(80_000, SIZE - 80_000), SIZE, (digest,))
            await here.uploads.perform(last, ME, Pieces(CONTENT[80_000:]))
            await is_active(here, upload_id)
            assert len(watched(here).taken) == deliveries  # nobody has computed the sha256 from the beginning

    asyncio.run(scenario())


def test_a_byte_changed_in_storage_never_completes_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch, LEAD=10**6) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            await until(here, lambda taken: taken)
            here.storage.content(upload_id)[40_000] ^= 1
            await here.send(upload_id, 50_000, SIZE)
            upload = await ends(here, upload_id, State.FAILED)
            assert upload.delivery.last_error is not None
            assert upload.delivery.last_error.reason is FailureReason.SCRATCH_DIFFERS
            assert max(watched(here).taken) < SIZE

    asyncio.run(scenario())


def test_a_cancelled_upload_is_delivered_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            await until(here, lambda taken: taken)
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            assert list(here.images.iterdir()) == []
            assert await here.files() == set()
            assert not here.core.progress

    asyncio.run(scenario())


def test_a_finished_early_delivery_leaves_no_progress_when_cancelled(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, image_service=Watched, options=ALL) as here:  # no handoff runs that takes it over
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            await until(here, lambda taken: taken)
            await here.send(upload_id, 50_000, SIZE)
            await until(here, lambda taken: taken == [SIZE])
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())
            assert not here.core.progress

    asyncio.run(scenario())


def test_a_waiting_early_delivery_ends_at_once_when_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch, LEAD=10**6, TRICKLE_INTERVAL=60.0) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            await until(here, lambda taken: taken)
            async with asyncio.timeout(20):
                await here.uploads.perform(Cancel(upload_id), ME, Pieces())

    asyncio.run(scenario())


def test_an_early_delivery_is_finished_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            await until(here, lambda taken: taken)
            storage = here.storage
        async with rig(tmp_path, storage, image_service=Watched) as here:
            await here.send(upload_id, 50_000, SIZE)
            await here.reaches(upload_id, State.ACTIVE)
            assert watched(here).taken == [SIZE]

    asyncio.run(scenario())


def test_early_deliveries_are_limited_to_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with delivering_early(tmp_path, monkeypatch) as here:
            people = [ME, ME, Identity(Owner("other", "user"), allowed=frozenset(Right))]
            ids = [(await here.created(Create(SIZE, IMAGE), who=who)).id for who in people]
            for who, each in zip(people, ids, strict=True):
                append = Append(each, Chunk(0, 50_000), SIZE)
                await here.uploads.perform(append, who, Pieces(CONTENT[:50_000]))
            await until(here, lambda taken: len(taken) >= 2)
            assert set(here.core.progress) <= {ids[0], ids[2]}, "one project has all workers"
            assert here.settings.handoff.early_workers == 2
            for who, each in zip(people, ids, strict=True):
                append = Append(each, Chunk(50_000, SIZE - 50_000), SIZE)
                await here.uploads.perform(append, who, Pieces(CONTENT[50_000:]))
            for each in ids:
                await here.until(each, lambda upload: upload.state is State.ACTIVE)

    asyncio.run(scenario())
