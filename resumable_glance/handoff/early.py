"""Early deliveries: they begin while their upload is receiving, and give its bytes as these become durable.

The image service never has all bytes before the upload is sealed and every digest that was declared of it holds: the
last byte is withheld until then. Whatever else happens, the delivery is abandoned, the image waits for its bytes again,
and the usual handoff gives all of them from storage.
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
from resumable_glance.handoff.plan import worth_an_early_delivery
from resumable_glance.handoff.reader import HandoffStopped, Readers, VerifyingReader
from resumable_glance.images.base import Actor, ImageService, set_detected_format
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.upload import Extent, Proof, Upload, require
from resumable_glance.runtime.config import HandoffSettings

LOG = logging.getLogger(__name__)
LEAD = 1024 * 1024  # bytes: with fewer of them left to give, they trickle
TRICKLE = 4096  # bytes at a time, so that the connection is never idle while more are on their way
TRICKLE_INTERVAL = 1.0  # seconds; a server of images may give up after four (uWSGI's socket-timeout)
STARVING_TIMEOUT = 2.0  # seconds more without any byte to give
GROWTH_TIMEOUT = 30.0  # seconds without another durable byte, after which no worker of Glance is kept waiting
REMEMBERED = 10_000  # uploads that had an early delivery, and get no other


class Abandoned(Exception):
    """The upload does not come fast enough, or a declared digest of the whole is not known to hold."""


class GrowingUpload:
    """What is durable of an upload that is still receiving. Written to in the event loop, read in a thread."""

    def __init__(self, upload: Upload, stop: threading.Event) -> None:
        self.durable = 0  # bytes whose extents are known here
        self._upload = upload
        self._size = require(upload.size)
        self._stop = stop
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
        """Add extents that follow the known ones; `upload` is what it is now."""
        with self._changed:
            self._upload = upload
            self._extents += extents
            if extents:
                self.durable, self._grown_at = extents[-1].range.stop, time.monotonic()
            self._changed.notify()

    def allow(self, position: int) -> int:
        """Return how many bytes from `position` on may be read now. Abandoned if none come for too long."""
        with self._changed:
            if self._changed.wait_for(lambda: self._stop.is_set() or self._lead(position) >= LEAD, TRICKLE_INTERVAL):
                return self._lead(position) - LEAD + TRICKLE
            some = self._changed.wait_for(lambda: self._stop.is_set() or self._lead(position) > 0, STARVING_TIMEOUT)
            if not some or time.monotonic() > self._grown_at + GROWTH_TIMEOUT:
                raise Abandoned(f"nothing more came for too long after {self.durable} bytes")
            return min(TRICKLE, self._lead(position))

    def check(self, reader: VerifyingReader, position: int) -> None:
        """Raise Abandoned before the last byte is given, if a declared digest is not known to hold."""
        if position == self._size and not all(map(reader.holds, self._upload.declared)):
            raise Abandoned("a digest of the whole is not known to hold")  # the usual handoff says which one

    def _lead(self, position: int) -> int:
        """Bytes that may be given before more have to be there."""
        if self._upload.state is State.RECEIVING:
            return min(self.durable, self._size - 1) - position
        return self._size + LEAD  # all bytes are there


@dataclass(eq=False)
class _Running:
    """An early delivery. `grown` is set when there is more to give."""

    stop: threading.Event = field(default_factory=threading.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Proof | None] | None = None


class EarlyDeliveries:
    """The early deliveries that run, some at a time; each upload gets one. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        uploads: UploadRecords,
        images: ImageService,
        readers: Readers,
        delegation: Delegation,
        settings: HandoffSettings,
        clock: Callable[[], float],
    ) -> None:
        self._uploads = uploads
        self._images = images
        self._readers = readers
        self._delegation = delegation
        self._settings = settings
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._tried: LRUCache[str, bool] = LRUCache(REMEMBERED)

    def on_progress(self, upload: Upload) -> None:
        """Take note that more bytes of an upload are durable, or that it is sealed: begin or go on."""
        if running := self._running.get(upload.id):
            running.grown.set()
        elif self._is_wanted(upload):
            self._tried[upload.id] = True
            running = self._running[upload.id] = _Running()
            running.task = asyncio.create_task(self._delivery(upload, running))

    async def finish(self, upload_id: str) -> Proof | None:
        """Return our digests of what was delivered early; None if the image has to be given all bytes."""
        running = self._running.get(upload_id)
        if running is None or running.task is None:
            return None
        running.grown.set()
        try:
            return await asyncio.shield(running.task)
        finally:
            self._running.pop(upload_id, None)

    async def abandon(self, upload_id: str) -> None:
        """End the delivery of an upload; return when it has ended."""
        if (running := self._running.get(upload_id)) and running.task is not None:
            running.stop.set()
            await asyncio.wait([running.task])
            self._running.pop(upload_id, None)

    async def close(self) -> None:
        """End all deliveries."""
        for running in self._running.values():
            running.stop.set()
        await asyncio.gather(*(each.task for each in self._running.values() if each.task), return_exceptions=True)

    def _is_wanted(self, upload: Upload) -> bool:
        free = len(self._running) < self._settings.early_workers and upload.id not in self._tried
        return free and worth_an_early_delivery(upload, self._clock(), self._settings.early_minimum_size)

    async def _delivery(self, upload: Upload, running: _Running) -> Proof | None:
        LOG.info("upload %s: its early delivery begins", upload.id)
        try:
            return await self._deliver(upload, running)
        except (HandoffStopped, Abandoned) as problem:
            LOG.info("upload %s: its early delivery was abandoned: %s", upload.id, problem or "stopped")
        except Exception as problem:  # whatever it is, the usual handoff will meet it again and report it
            LOG.warning("upload %s: its early delivery was abandoned: %r", upload.id, problem)
        self._running.pop(upload.id, None)
        self._readers.progress.pop(upload.id, None)
        return None

    async def _deliver(self, upload: Upload, running: _Running) -> Proof:
        actor = Actor(upload.owner, await self._delegation.token(upload))
        growing = GrowingUpload(upload, running.stop)
        async with self._readers.open_growing(upload, growing, running.stop, growing) as reader:
            await set_detected_format(self._images, upload, actor)
            feeding = asyncio.create_task(self._feed(growing, upload.id, running))
            try:
                await self._images.deliver(require(upload.image), require(upload.size), reader, actor)
            finally:
                feeding.cancel()
                await asyncio.wait([feeding])
        return reader.proof()

    async def _feed(self, growing: GrowingUpload, upload_id: str, running: _Running) -> None:
        """Pass on what is durable, until all is."""
        while True:
            running.grown.clear()
            upload = await self._uploads.get(upload_id)
            if upload is None or upload.state not in {State.RECEIVING, *WITH_HANDOFF}:
                running.stop.set()
                return
            more = Range(growing.durable, upload.offset)
            growing.extend(upload, await self._uploads.extents(upload_id, more) if more.length else [])
            if upload.state is not State.RECEIVING:
                return
            await running.grown.wait()
