"""Uploads and their handoff with a clock of our own: what happens after days, and after our own crashes.

Scratch is memory.py and the sink directory.py, members of their families; nothing here is a mock.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from resumable_glance import config
from resumable_glance.auth import Identity
from resumable_glance.auth.vault import Vault
from resumable_glance.catalog import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff import Handoff
from resumable_glance.protocol.commands import (
    Append,
    Appended,
    Create,
    Created,
    Discard,
    Inspect,
    Inspected,
    Survey,
    Surveyed,
)
from resumable_glance.protocol.ranges import Range
from resumable_glance.protocol.upload import Hitch, ImageRequest, Owner, State
from resumable_glance.scratch.memory import MemoryScratch
from resumable_glance.sinks.directory import DirectorySink
from resumable_glance.uploads import Uploads

DAY = 24 * 3600.0
CONTENT = random.Random(7).randbytes(100_000)
SIZE = len(CONTENT)
ME = Identity(Owner("project", "user"))
IMAGE = ImageRequest({"name": "test", "disk_format": "raw", "container_format": "bare"})


class Pieces:
    """A body that comes in pieces of at most 10,000 bytes."""

    def __init__(self, content: bytes = b"") -> None:
        self._pieces = [content[start : start + 10_000] for start in range(0, len(content), 10_000)]

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


class Rig:
    """Uploads, their handoff and all parts below, under a clock that only the test moves."""

    def __init__(self, directory: Path, scratch: MemoryScratch) -> None:
        state = {
            "auth_strategy": "noauth",
            "sink": "directory",
            "scratch.headroom": 0,
            "upload_expiry": int(7 * DAY),
            "record_retention": int(30 * DAY),
        }
        self.settings, _ = config.load([], state)
        self.now = 1_000_000_000.0
        self.scratch = scratch
        self.images = directory / "images"
        self.catalog = Catalog(f"sqlite:///{directory / 'catalog.sqlite'}")
        self.sink = DirectorySink(self.images)
        self.vault = Vault(directory / "key")
        self.handoff = Handoff(self.catalog, scratch, self.sink, self.vault, workers=2, clock=self.clock)
        self.uploads = Uploads(self.settings, self.catalog, scratch, self.sink, self.vault, self.handoff, self.clock)

    def clock(self) -> float:
        return self.now

    async def create(self, size: int = SIZE) -> str:
        outcome = await self.uploads.perform(Create(size, IMAGE), ME, Pieces())
        assert isinstance(outcome, Created)
        return outcome.upload.id

    async def send(self, upload_id: str, start: int, stop: int) -> None:
        append = Append(upload_id, Range(start, stop), SIZE)
        assert isinstance(await self.uploads.perform(append, ME, Pieces(CONTENT[start:stop])), Appended)

    async def inspect(self, upload_id: str) -> Inspected:
        outcome = await self.uploads.perform(Inspect(upload_id), ME, Pieces())
        assert isinstance(outcome, Inspected)
        return outcome

    async def files(self) -> set[str]:
        return {each async for each in self.scratch.uploads()}

    async def reaches(self, upload_id: str, state: State) -> None:
        """Run the handoff until the upload is in this state."""
        job = asyncio.create_task(self.handoff.run())
        async with asyncio.timeout(30):
            while (await self.inspect(upload_id)).upload.state is not state:
                await asyncio.sleep(0.01)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)


@contextlib.asynccontextmanager
async def rig(directory: Path, scratch: MemoryScratch | None = None) -> AsyncIterator[Rig]:
    made = Rig(directory, scratch or MemoryScratch())
    try:
        yield made
    finally:
        made.catalog.close()


async def refusal(work: object) -> Reason:
    with pytest.raises(Refused) as refused:
        await work  # type: ignore[misc]
    return refused.value.reason


def test_an_upload_that_nobody_continues_expires_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 10)
            here.now += 7 * DAY - 1
            await here.uploads.tidy()
            assert (await here.inspect(upload_id)).upload.offset == 10
            here.now += 1
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED, "before anybody tidied up, too"
            await here.uploads.tidy()
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.EXPIRED
            assert await refusal(here.uploads.perform(Discard(upload_id), ME, Pieces())) is Reason.EXPIRED
            assert await here.files() == set()
            assert list(here.images.iterdir()) == [], "the queued image is left behind"

    asyncio.run(scenario())


def test_an_upload_that_somebody_is_sending_does_not_expire_under_their_hands(tmp_path: Path) -> None:
    class SlowBody:
        def __init__(self, here: Rig) -> None:
            self._here = here
            self._content = [CONTENT, b""]

        async def read(self) -> bytes:
            self._here.now += 8 * DAY
            await self._here.uploads.tidy()
            return self._content.pop(0)

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.uploads.perform(Append(upload_id, Range(0, SIZE), SIZE), ME, SlowBody(here))
            assert (await here.inspect(upload_id)).upload.state is State.SEALED

    asyncio.run(scenario())


def test_an_upload_whose_scratch_is_gone_says_so_and_asks_for_no_more_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 10)
            await here.scratch.remove(upload_id)
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.LOST
            upload = (await here.inspect(upload_id)).upload
            assert upload.state is State.FAILED
            assert upload.trouble is not None
            assert upload.trouble.hitch is Hitch.SCRATCH_LOST
            await here.uploads.perform(Discard(upload_id), ME, Pieces())

    asyncio.run(scenario())


def test_the_owners_credential_is_kept_no_longer_than_it_is_needed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            me = Identity(ME.owner, token="secret")
            outcome = await here.uploads.perform(Create(0, IMAGE), me, Pieces())
            assert isinstance(outcome, Created)
            kept = await here.catalog.credential(outcome.upload.id)
            assert kept is not None
            assert b"secret" not in kept
            assert here.vault.open(kept) == "secret"
            await here.reaches(outcome.upload.id, State.ACTIVE)
            assert await here.catalog.credential(outcome.upload.id) is None

    asyncio.run(scenario())


def test_only_its_owner_can_read_the_catalog(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            await here.create()
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("catalog.sqlite*")}
            assert len(modes) > 1
            assert set(modes.values()) == {0o600}

    asyncio.run(scenario())


def test_every_new_byte_postpones_the_expiry(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            for number in range(5):
                here.now += 6 * DAY
                await here.uploads.tidy()
                await here.send(upload_id, number * 10, number * 10 + 10)
            assert (await here.inspect(upload_id)).upload.offset == 50

    asyncio.run(scenario())


@pytest.mark.parametrize("years", [-1, 1])
def test_a_sealed_upload_never_expires_whatever_the_clock_does(tmp_path: Path, years: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            here.now += years * 365 * DAY
            await here.uploads.tidy()
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_records_of_what_has_ended_are_kept_for_a_while_and_then_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(0)
            await here.reaches(upload_id, State.ACTIVE)
            here.now += 29 * DAY
            await here.uploads.tidy()
            assert (await here.inspect(upload_id)).upload.state is State.ACTIVE
            here.now += 2 * DAY
            await here.uploads.tidy()
            assert await refusal(here.inspect(upload_id)) is Reason.UNKNOWN_UPLOAD

    asyncio.run(scenario())


def test_scratch_is_free_once_the_image_is_active(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            assert await here.files() == {upload_id}
            await here.reaches(upload_id, State.ACTIVE)
            upload = (await here.inspect(upload_id)).upload
            assert (here.images / upload.image.id).read_bytes() == CONTENT
            async with asyncio.timeout(10):
                while await here.files():
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_start_frees_what_a_crash_left_on_scratch_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        scratch = MemoryScratch()
        async with rig(tmp_path, scratch) as here:
            unfinished, done = await here.create(), await here.create(0)
            await here.reaches(done, State.ACTIVE)
            await scratch.remove(done)
            await scratch.create(done, 0)  # killed between "active" and the removal
            await scratch.create("a-" + "0" * 32, 10)  # killed between the file and the catalog
            await here.uploads.sweep()
            assert await here.files() == {unfinished}

    asyncio.run(scenario())


def test_another_owner_can_not_tell_an_upload_from_one_that_does_not_exist(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            for other in (Owner("project", "other"), Owner("other", "user")):
                for command in (Inspect(upload_id), Discard(upload_id), Append(upload_id, Range(0, 10), SIZE)):
                    work = here.uploads.perform(command, Identity(other), Pieces(b"x" * 10))
                    assert await refusal(work) is Reason.UNKNOWN_UPLOAD
                assert await here.uploads.perform(Survey(10), Identity(other), Pieces()) == Surveyed(())
            assert (await here.inspect(upload_id)).upload.received == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("operation", "number", "expected"),
    [
        ("write", errno.ENOSPC, Reason.NO_SPACE),
        ("write", errno.EDQUOT, Reason.NO_SPACE),
        ("write", errno.EIO, Reason.SCRATCH_FAILED),
        ("sync", errno.EIO, Reason.SCRATCH_FAILED),
        ("sync", errno.ENOSPC, Reason.NO_SPACE),
    ],
)
def test_when_scratch_fails_what_was_acknowledged_stays_and_the_upload_goes_on(
    tmp_path: Path, operation: str, number: int, expected: Reason
) -> None:
    async def scenario() -> None:
        scratch = MemoryScratch()
        async with rig(tmp_path, scratch) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            scratch.faults[operation] = number
            assert await refusal(here.send(upload_id, 1000, SIZE)) is expected
            scratch.crash()
            assert (await here.inspect(upload_id)).durable == (Range(0, 1000),)
            await here.send(upload_id, 1000, SIZE)
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_a_creation_that_scratch_fails_leaves_no_image_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        scratch = MemoryScratch()
        async with rig(tmp_path, scratch) as here:
            scratch.faults["create"] = errno.ENOSPC
            assert await refusal(here.create()) is Reason.NO_SPACE
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())


def test_after_the_stop_has_begun_nothing_new_is_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.uploads.close()
            assert await refusal(here.create()) is Reason.CLOSING
            assert await refusal(here.send(upload_id, 0, 10)) is Reason.CLOSING
            assert (await here.inspect(upload_id)).upload.offset == 0

    asyncio.run(scenario())
