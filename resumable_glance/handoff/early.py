"""Early deliveries, which start while their upload is receiving and pass its bytes on as they become durable.

The last byte is withheld until the upload is sealed and all declared digests match, so the image service never has all
bytes before. A delivery that can't go on is abandoned, and the usual handoff delivers all bytes from storage.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachetools import LRUCache

from resumable_glance.auth.delegation import Delegation
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.handoff.plan import most_of_one, suits_early_delivery
from resumable_glance.handoff.reader import HandoffStopped, Readers, VerifyingReader
from resumable_glance.images.base import Actor, ImageService, set_detected_format
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.upload import Extent, Proof, Upload, require
from resumable_glance.runtime.config import HandoffSettings

LOG = logging.getLogger(__name__)
LEAD = 1024 * 1024  # bytes: with fewer left to give, they trickle, so that the connection is never idle
TRICKLE = 4096  # bytes at a time
TRICKLE_INTERVAL = 1.0  # seconds; uWSGI in front of Glance may give up after four (socket-timeout)
STARVING_TIMEOUT = 2.0  # seconds without any byte to give, after such an interval
GROWTH_TIMEOUT = 30.0  # seconds without another durable byte, so as not to occupy a worker of Glance
TRIED_SIZE = 10_000  # uploads that are remembered to have had an early delivery, since each gets only one


class Abandoned(Exception):
    """The upload is too slow, or a declared digest is not known to match."""


class GrowingUpload:
    """The extents of a receiving upload, added in the event loop, read in a thread."""

    def __init__(self, upload: Upload, stop: threading.Event) -> None:
        self.stop = stop
        self.durable = 0  # bytes, up to the end of the last extent
        self._upload = upload
        self._size = require(upload.size)
        self._extents: deque[Extent] = deque()
        self._grown_at = time.monotonic()
        self._changed = threading.Condition()

    def __iter__(self) -> GrowingUpload:
        return self

    def __next__(self) -> Extent:
        if not self._extents:
            raise StopIteration
        return self._extents.popleft()

    def extend(self, upload: Upload, extents: Sequence[Extent]) -> None:
        """Append extents; `upload` is its newest record."""
        with self._changed:
            self._upload = upload
            self._extents += extents
            if extents:
                self.durable, self._grown_at = extents[-1].range.stop, time.monotonic()
            self._changed.notify()

    def allow(self, position: int) -> int:
        """Wait until bytes from `position` on may be read; return their number. Raises Abandoned."""
        with self._changed:
            if self._changed.wait_for(lambda: self.stop.is_set() or self._lead(position) >= LEAD, TRICKLE_INTERVAL):
                return self._lead(position) - LEAD + TRICKLE
            some = self._changed.wait_for(lambda: self.stop.is_set() or self._lead(position) > 0, STARVING_TIMEOUT)
            if not some or time.monotonic() > self._grown_at + GROWTH_TIMEOUT:
                raise Abandoned(f"it made no progress after {self.durable} bytes")
            return min(TRICKLE, self._lead(position))

    def check(self, reader: VerifyingReader, position: int) -> None:
        """Raise Abandoned, before the last byte is given, unless all declared digests match."""
        if position == self._size and not all(map(reader.holds, self._upload.declared)):
            raise Abandoned("a declared digest is not known to match")  # the usual handoff finds out

    def _lead(self, position: int) -> int:
        """Return the number of bytes from `position` on that may be given."""
        if self._upload.state is State.RECEIVING:
            return min(self.durable, self._size - 1) - position
        return self._size + LEAD  # as many as there are


@dataclass(eq=False)
class _Running:
    """An early delivery of a project. `woken` is set when there is more to give, or `stop` is set."""

    project_id: str
    task: asyncio.Task[Proof | None] = field(init=False)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """Make the task end soon."""
        self.stop.set()
        self.woken.set()  # so that a reader that waits for more looks at `stop`


@dataclass(frozen=True)
class EarlyDeliveries:
    """Runs early deliveries, a limited number at a time. `clock` gives seconds since the epoch."""

    uploads: UploadRecords
    images: ImageService
    readers: Readers
    delegation: Delegation
    settings: HandoffSettings
    clock: Callable[[], float]
    _running: dict[str, _Running] = field(default_factory=dict, init=False)
    _tried: LRUCache[str, bool] = field(default_factory=lambda: LRUCache(TRIED_SIZE), init=False)

    def on_progress(self, upload: Upload) -> None:
        """Start or continue the delivery of an upload that has progressed."""
        if running := self._running.get(upload.id):
            running.woken.set()
        elif self._is_wanted(upload):
            self._tried[upload.id] = True
            running = self._running[upload.id] = _Running(upload.owner.project_id)
            running.task = asyncio.create_task(self._delivery(upload, running))

    async def finish(self, upload_id: str) -> Proof | None:
        """Return the proof of a sealed upload's delivery, None if abandoned."""
        if (running := self._running.get(upload_id)) is None:
            return None
        running.woken.set()
        try:
            return await asyncio.shield(running.task)
        finally:
            self._running.pop(upload_id, None)

    async def abandon(self, upload_id: str) -> None:
        """End the delivery of an upload, and wait until it has ended."""
        if running := self._running.get(upload_id):
            running.end()
            await asyncio.wait([running.task])
            self._running.pop(upload_id, None)
            self.readers.progress.pop(upload_id, None)  # one that had ended before left it

    async def close(self) -> None:
        """End all deliveries, and wait until they have ended."""
        running = list(self._running.values())
        for each in running:
            each.end()
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)

    def _is_wanted(self, upload: Upload) -> bool:
        workers = self.settings.early_workers
        of_project = sum(each.project_id == upload.owner.project_id for each in self._running.values())
        free = len(self._running) < workers and of_project < most_of_one(workers) and upload.id not in self._tried
        return free and suits_early_delivery(upload, self.clock(), self.settings.early_minimum_size)

    async def _delivery(self, upload: Upload, running: _Running) -> Proof | None:
        LOG.info("upload %s: its early delivery starts", upload.id)
        try:
            return await self._deliver(upload, running)
        except (HandoffStopped, Abandoned) as problem:
            LOG.info("upload %s: its early delivery was abandoned: %s", upload.id, problem or "stopped")
        except Exception as problem:  # the usual handoff will meet it again and report it
            LOG.warning("upload %s: its early delivery was abandoned: %r", upload.id, problem)
        self._running.pop(upload.id, None)
        self.readers.progress.pop(upload.id, None)
        return None

    async def _deliver(self, upload: Upload, running: _Running) -> Proof:
        actor = Actor(upload.owner, await self.delegation.token(upload))
        growing = GrowingUpload(upload, running.stop)
        async with self.readers.open_growing(upload, growing) as reader:
            await set_detected_format(self.images, upload, actor)
            feeding = asyncio.create_task(self._extend(growing, upload.id, running))
            try:
                await self.images.deliver(require(upload.image), require(upload.size), reader, actor)
            finally:
                feeding.cancel()
                await asyncio.wait([feeding])
        return reader.proof()

    async def _extend(self, growing: GrowingUpload, upload_id: str, running: _Running) -> None:
        """Extend a growing upload by what becomes durable, until all is."""
        while True:
            running.woken.clear()
            upload = await self.uploads.get(upload_id)
            if upload is None or upload.state not in {State.RECEIVING, *WITH_HANDOFF}:
                running.stop.set()
                return
            more = Range(growing.durable, upload.offset)
            growing.extend(upload, await self.uploads.extents(upload_id, more) if more.length else [])
            if upload.state is not State.RECEIVING:
                return
            await running.woken.wait()
