"""The real parts of the service on a strict disk, in one thread and in an order that a seed decides.

The catalog is real SQLite in memory. The disk's log also has the catalog after each transaction, each change of the
image service and each acknowledgement to a client. The power may be cut between any two entries.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import logging
import random
import sqlite3
import tempfile
import types
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import sqlalchemy as sa

from resumable_glance.api.http11 import body
from resumable_glance.app import Parts, build_core
from resumable_glance.auth.base import Identity
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.catalog import Catalog
from resumable_glance.catalog import engine as database
from resumable_glance.catalog.notifications import ChangeNotifier
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.handoff import reader as verifying
from resumable_glance.images.base import Actor, DeliveryFailed, ImageStatus, Presence, Source
from resumable_glance.model.states import HOLDING_STORAGE, State
from resumable_glance.model.stores import StoreList
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, Owner
from resumable_glance.runtime import config
from resumable_glance.storage.local import LocalStorage
from tests.reliability.strict_disk import ROOT, StrictDisk, mounted

T = TypeVar("T")
SCRATCH = ROOT / "scratch"
BATCH, COMMIT_SIZE, PIECE, LONGEST = 128, 512, 200, 2000  # bytes
ME = Identity(Owner("project", "user"), "token")
PATIENCE = 60  # seconds after which a life counts as hanging
BEGIN = 1_000_000_000.0  # seconds since the epoch


class Turns(ThreadPoolExecutor):
    """An executor whose calls take turns with the event loop. As in a thread, a submitted call can't be stopped."""

    def __init__(self, chance: random.Random, in_order: bool = False, after: Callable[[], None] = lambda: None) -> None:
        super().__init__(1)  # the thread is never started
        self._chance = chance
        self._in_order = in_order
        self._after = after
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._waiting.append((future, functools.partial(call, *args, **kwargs)))
        self._wait(self._chance.randrange(4 if self._in_order else 16))
        return future

    def _wait(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._wait, turns - 1)
            return
        if not self._in_order:
            self._waiting.rotate(self._chance.randrange(len(self._waiting)))
        future, call = self._waiting.popleft()
        try:
            result = call()
        except BaseException as problem:
            self._after()
            future.set_exception(problem)
        else:
            self._after()
            future.set_result(result)


@dataclass(frozen=True, slots=True)
class Record:
    """One upload in the catalog. `files` are its names on scratch; `holds`: they have to exist."""

    state: State
    label: str
    files: tuple[str, ...]
    holds: bool
    extents: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The catalog after a transaction: the whole database, and the records by upload."""

    database: bytes = field(repr=False)
    uploads: Mapping[str, Record]


@functools.cache
def engine() -> sa.Engine:
    return database.create("sqlite://")


@functools.cache
def _driver() -> sqlite3.Connection:
    connection = engine().raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


@functools.cache
def _empty() -> bytes:
    database.migrate(engine())
    return _driver().serialize()


class RecordedTransactions(Transactions):
    """Transactions in memory; the disk's log gets the catalog after each of them.

    Only the newest instance works: it begins with `database`, which replaces the former one's.
    """

    def __init__(self, database: bytes | None, disk: StrictDisk, chance: random.Random) -> None:
        self._thread = Turns(chance, in_order=True, after=self._note)
        self._engine = engine()
        self.notifier = ChangeNotifier()
        self._disk = disk
        _driver().deserialize(database or _empty())
        self._changes = -1
        self._note()

    def close(self) -> None:
        """Keep the engine for the next instance."""

    def _note(self) -> None:
        driver = _driver()
        if driver.total_changes != self._changes:
            self._changes = driver.total_changes
            self._disk.note(recorded(driver))


def recorded(driver: sqlite3.Connection) -> Recorded:
    """Return the whole catalog."""
    extents: dict[str, list[tuple[int, int, str]]] = {}
    for upload_id, start, stop, digest in driver.execute("SELECT upload_id, start, stop, digest FROM extents"):
        extents.setdefault(upload_id, []).append((start, stop, digest))
    rows = driver.execute("SELECT id, state, joined_into, parts, metadata FROM uploads").fetchall()
    states = {row[0]: State(row[1]) for row in rows}
    return Recorded(
        driver.serialize(),
        {
            name: Record(
                states[name],
                label,
                tuple(parts.split()) or (name,),
                states[whole or name] in HOLDING_STORAGE,
                tuple(sorted(extents.get(name, ()))),
            )
            for name, _, whole, parts, label in rows
        },
    )


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in the image service; `content` is None while it waits for its bytes."""

    label: str
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredImages:
    """All images of the image service, by id."""

    images: Mapping[str, StoredImage]


class MemoryImageService:
    """The simplest image service; it works in threads, as the real ones do."""

    def __init__(self, images: Mapping[str, StoredImage], disk: StrictDisk) -> None:
        self.stored = dict(images)
        self.on_status: Callable[[], None] = lambda: None  # called before each status
        self.on_piece: Callable[[int], None] = lambda _bytes: None  # called after each piece
        self._disk = disk

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        image = Image(str(request.properties["id"]), str(request.properties["name"]))
        await asyncio.to_thread(self._store, image.id, StoredImage(str(request.properties["name"])))
        return image

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        await asyncio.to_thread(self._take, image.id, size, source)

    async def import_staged(self, image: Image, actor: Actor) -> None:
        raise NotImplementedError("nothing is ever staged here")

    async def stores(self, actor: Actor) -> StoreList:
        return StoreList()

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        self.on_status()
        shown = self.stored.get(image.id)
        if shown is None:
            return ImageStatus(Presence.DELETED)
        if shown.content is None:
            return ImageStatus(Presence.QUEUED)
        md5, sha512 = hashlib.md5(shown.content, usedforsecurity=False), hashlib.sha512(shown.content)
        return ImageStatus(Presence.ACTIVE, len(shown.content), md5.hexdigest(), sha512.hexdigest())

    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        shown = self.stored.get(image.id)
        return None if shown is None else {"name": shown.label}

    async def set_format(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        raise NotImplementedError("these images have no format")

    async def content(self, image: Image, actor: Actor) -> AsyncGenerator[bytes]:
        shown = self.stored.get(image.id, StoredImage(""))

        async def pieces() -> AsyncGenerator[bytes]:
            yield shown.content or b""

        return pieces()

    async def delete(self, image: Image, actor: Actor) -> None:
        await asyncio.to_thread(self._remove, image.id)

    async def check(self) -> str:
        return "images stay in memory"

    def _take(self, image_id: str, size: int, source: Source) -> None:
        content = b""
        while piece := source.read():
            content += piece
            self.on_piece(len(content))
        if len(content) != size:
            raise DeliveryFailed(
                FailureReason.IMAGE_SERVICE_UNAVAILABLE, f"{size} bytes were announced and {len(content)} came."
            )
        if image_id not in self.stored:
            raise DeliveryFailed(FailureReason.IMAGE_GONE, "The image was deleted.", final=True)
        self._store(image_id, dataclasses.replace(self.stored[image_id], content=content))

    def _store(self, image_id: str, shown: StoredImage) -> None:
        self.stored[image_id] = shown
        self._disk.note(StoredImages(dict(self.stored)))

    def _remove(self, image_id: str) -> None:
        self.stored.pop(image_id, None)
        self._disk.note(StoredImages(dict(self.stored)))


@functools.cache
def _settings() -> config.Settings:
    state = {"auth_strategy": "noauth", "image_service": "directory", "scratch.reserved_space": 0}
    settings, _ = config.load([], state)
    return dataclasses.replace(
        settings,
        scratch=dataclasses.replace(settings.scratch, commit_size=COMMIT_SIZE),
        service=dataclasses.replace(settings.service, max_chunk_size=LONGEST),
    )


@functools.cache
def _cipher() -> TokenCipher:
    with tempfile.TemporaryDirectory() as directory:
        return TokenCipher(Path(directory) / "key")


class World:
    """One life of the service on `disk`, from its start to its stop. OSError if it can't start."""

    def __init__(
        self,
        disk: StrictDisk,
        chance: random.Random,
        database: bytes | None = None,
        images: Mapping[str, StoredImage] = types.MappingProxyType({}),
        now: float = BEGIN,
    ) -> None:
        self.disk = disk
        self.now = now
        self.scratch = LocalStorage(SCRATCH)
        self.catalog = Catalog(RecordedTransactions(database, disk, chance))
        self.images = MemoryImageService(images, disk)
        core = build_core(
            _settings(), Parts(self.catalog, self.scratch, self.images, _cipher(), None, lambda: self.now)
        )
        self.handoff, self.uploads, self.cleaner = core.handoff, core.uploads, core.cleaner

    async def __aenter__(self) -> World:
        try:
            await self.cleaner.open()
        except BaseException:
            self.scratch.close()
            raise
        self._job = asyncio.create_task(self.handoff.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.uploads.close()
        self._job.cancel()
        await asyncio.gather(self._job, return_exceptions=True)
        self.scratch.close()

    def recorded(self) -> Recorded:
        """Return the catalog as it is now."""
        return recorded(_driver())

    def go_back(self, database: bytes) -> None:
        """Restore an earlier catalog, while no request runs."""
        _driver().deserialize(database)


def live(disk: StrictDisk, life: Callable[[], Coroutine[Any, Any, T]], chance: random.Random) -> T:
    """Run `life` on a disk, with small batches and pieces, and without logs."""
    _empty()
    _cipher()  # both are made on the real file system

    async def lived() -> T:
        asyncio.get_running_loop().set_default_executor(Turns(chance))
        return await asyncio.wait_for(life(), PATIENCE)

    with mounted(disk), small(), quiet():
        return asyncio.run(lived())


@contextlib.contextmanager
def small() -> Iterator[None]:
    with mock.patch.object(body, "BATCH", BATCH), mock.patch.object(verifying, "PIECE", PIECE):
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
