"""Uploads, their handoff and all parts below under a clock that only the test moves.

Storage is memory_storage.py and the image service directory.py, members of their families; nothing here is a mock.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import random
import tempfile
import types
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from resumable_glance.api.endpoint import Endpoint
from resumable_glance.api.http11.body import RequestBody
from resumable_glance.api.sse import EventStreams
from resumable_glance.app import Core, Parts, build_core
from resumable_glance.auth.base import Authenticator, Identity
from resumable_glance.auth.delegation import Delegation
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.trusts import Trusts
from resumable_glance.catalog import Catalog
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import (
    Append,
    Appended,
    Chunk,
    Content,
    Create,
    Created,
    Get,
    Join,
    Outcome,
    Read,
    UploadFound,
)
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import State
from resumable_glance.model.upload import ImageRequest, Owner, Upload, require
from resumable_glance.runtime import config
from resumable_glance.uploads.body import Body
from tests.fakes.memory_body import PATIENCE, MemoryReceiver
from tests.fakes.memory_storage import MemoryStorage

DAY = 24 * 3600.0
CONTENT = random.Random(7).randbytes(100_000)
SIZE = len(CONTENT)
ME = Identity(Owner("project", "user"))
NOBODYS = Digest("sha1", bytes(20))  # a digest that nothing has
IMAGE = ImageRequest({"name": "test", "disk_format": "raw", "container_format": "bare"})


@functools.cache
def _empty() -> bytes:
    """A catalog without uploads. To make one takes longer than most tests."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "catalog.sqlite"
        Catalog(Transactions(f"sqlite:///{file}")).close()
        return file.read_bytes()


def catalog_in(directory: Path) -> Catalog:
    """The catalog of a directory, a new one if there is none."""
    file = directory / "catalog.sqlite"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty())
    return Catalog(Transactions(f"sqlite:///{file}"))


class Pieces(RequestBody):
    """A body that comes in pieces of at most 10,000 bytes."""

    def __init__(self, content: bytes = b"") -> None:
        pieces = [content[start : start + 10_000] for start in range(0, len(content), 10_000)]
        super().__init__(MemoryReceiver(pieces), PATIENCE)


class Waiting(RequestBody):
    """A body whose first bytes come, and then nothing until it is interrupted."""

    def __init__(self, content: bytes) -> None:
        receiver = MemoryReceiver([content], silent=True)
        super().__init__(receiver, PATIENCE)
        self.waits = receiver.is_silent


class Rig:
    """Uploads, their handoff and all parts below, under a clock that only the test moves."""

    def __init__(
        self,
        directory: Path,
        storage: MemoryStorage,
        image_service: type[DirectoryImageService],
        options: Mapping[str, object],
        trusts: Trusts | None = None,
    ) -> None:
        state = {
            "auth_strategy": "noauth",
            "image_service": "directory",
            "scratch.reserved_space": 0,
            "upload_expiry": int(7 * DAY),
            "first_byte_expiry": int(7 * DAY),
            "record_retention": int(30 * DAY),
            **options,
        }
        self.settings, _ = config.load([], state)
        self.now = 1_000_000_000.0
        self.storage = storage
        self.images = directory / "images"
        self.catalog = catalog_in(directory)
        self.image_service = image_service(self.images)
        self.cipher = TokenCipher(directory / "key")
        self.delegation = Delegation(
            self.catalog, self.cipher, trusts, self.settings.credentials.expired_window, self.clock
        )
        self.parts = Parts(self.catalog, storage, self.image_service, self.cipher, trusts, self.clock)
        self.use(self.core_with(self.clock))

    def clock(self) -> float:
        return self.now

    def core_with(self, clock: Callable[[], float]) -> Core:
        """Uploads and a handoff over the same parts, by another clock."""
        return build_core(self.settings, dataclasses.replace(self.parts, clock=clock))

    def endpoint(self, authenticator: Authenticator) -> Endpoint:
        """HTTP above these parts."""
        streams = EventStreams(self.uploads, self.catalog.notifier, self.core.progress, 0)
        return Endpoint(self.settings, authenticator, self.uploads, streams, self.core.signer, self.clock)

    def use(self, core: Core) -> None:
        """Let the scenario go on with these."""
        self.core = core
        self.handoff, self.uploads, self.cleaner = core.handoff, core.uploads, core.cleaner

    async def created(self, create: Create, content: bytes = b"", who: Identity = ME) -> Upload:
        outcome = await self.uploads.perform(create, who, Pieces(content))
        assert isinstance(outcome, Created)
        return outcome.upload

    async def create(self, size: int = SIZE) -> str:
        return (await self.created(Create(size, IMAGE))).id

    async def joined(self, ids: tuple[str, ...]) -> Upload:
        """The upload into which these parts are joined."""
        outcome = await self.uploads.perform(Join(ids, IMAGE), ME, Pieces())
        assert isinstance(outcome, Created)
        return outcome.upload

    async def appended(self, upload_id: str, chunk: Chunk, total: int | None = None, **more: object) -> Upload:
        """An upload after a chunk of CONTENT."""
        append = Append(upload_id, chunk, total, **more)  # type: ignore[arg-type]
        stop = SIZE if chunk.length is None else chunk.start + chunk.length
        outcome = await self.uploads.perform(append, ME, Pieces(CONTENT[chunk.start : stop]))
        assert isinstance(outcome, Appended)
        return outcome.upload

    async def read(self, upload_id: str) -> bytes:
        outcome = await self.uploads.perform(Read(upload_id), ME, Pieces())
        assert isinstance(outcome, Content)
        return b"".join([piece async for piece in outcome.stream])

    async def send(self, upload_id: str, start: int, stop: int) -> None:
        append = Append(upload_id, Chunk(start, stop - start), SIZE)
        assert isinstance(await self.uploads.perform(append, ME, Pieces(CONTENT[start:stop])), Appended)

    async def send_in_order(
        self, upload_id: str, start: int, body: Body, length: int | None = None, declared: tuple[Digest, ...] = ()
    ) -> Upload:
        append = Append(upload_id, Chunk(start, length, declared, in_order=True))
        outcome = await self.uploads.perform(append, ME, body)
        assert isinstance(outcome, Appended)
        return outcome.upload

    async def begun(self, upload_id: str, chunk: Chunk, sent: int = 1000) -> asyncio.Task[Outcome]:
        """A request that has sent so many bytes of its chunk, and no more."""
        body = Waiting(CONTENT[chunk.start : chunk.start + sent])
        task = asyncio.create_task(self.uploads.perform(Append(upload_id, chunk), ME, body))
        await asyncio.wait_for(body.waits.wait(), 10)
        return task

    async def inspect(self, upload_id: str, *, taking_over: bool = False) -> UploadFound:
        outcome = await self.uploads.perform(Get(upload_id, taking_over), ME, Pieces())
        assert isinstance(outcome, UploadFound)
        return outcome

    async def files(self) -> set[str]:
        return {each async for each in self.storage.uploads()}

    async def until(self, upload_id: str, condition: Callable[[Upload], object]) -> Upload:
        """The upload once the condition holds; it is looked at after each change.

        A crash of the handoff right after a transaction loses its notification: hence the look each second.
        """
        async with asyncio.timeout(30):
            with self.catalog.notifier.subscribe(upload_id) as changed:
                while not condition(upload := require(await self.catalog.uploads.get(upload_id))):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), 1)
                    changed.clear()
        return upload

    @contextlib.asynccontextmanager
    async def handing_over(self) -> AsyncIterator[None]:
        """Run the handoff; at the end all of its attempts have ended."""
        job = asyncio.create_task(self.handoff.run())
        try:
            yield
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)

    async def reaches(self, upload_id: str, state: State) -> Upload:
        """The upload after the handoff has run until it is in this state."""
        async with self.handing_over():
            return await self.until(upload_id, lambda upload: upload.state is state)


@contextlib.asynccontextmanager
async def rig(
    directory: Path,
    storage: MemoryStorage | None = None,
    image_service: type[DirectoryImageService] = DirectoryImageService,
    options: Mapping[str, object] = types.MappingProxyType({}),
    trusts: Trusts | None = None,
) -> AsyncIterator[Rig]:
    made = Rig(directory, storage or MemoryStorage(), image_service, options, trusts)
    try:
        yield made
    finally:
        made.catalog.close()


async def refusal(work: object) -> Reason:
    with pytest.raises(Refused) as refused:
        await work  # type: ignore[misc]
    return refused.value.reason
