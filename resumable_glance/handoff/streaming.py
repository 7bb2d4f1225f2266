"""Deliveries that begin while their upload is still receiving, and follow its bytes as they become durable.

Their one rule: the sink never has all bytes before the upload is sealed and every digest that was declared of it holds:
the last byte is withheld until then. Whatever else happens, the delivery is dropped, the image waits for its bytes
again, and the plain handoff follows from scratch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from cachetools import LRUCache

from resumable_glance.auth.delegation import Delegation
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.handoff.plan import follows
from resumable_glance.handoff.reader import HandoffStopped, VerifyingReader
from resumable_glance.images.base import PIECE, Actor, ImageService
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.upload import Extent, Proof, Upload, known
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import UploadStorage

LOG = logging.getLogger(__name__)
LEAD = 1024 * 1024  # bytes: with fewer of them left, they are given in sips
SIP = 4096  # bytes, so that the sink is never left without any while more are on their way
PAUSE = 1.0  # seconds between two sips: the server of a sink may give up after four (uWSGI's socket-timeout)
STARVING = 2.0  # seconds more that the sink is left without any
PATIENCE = 30.0  # seconds without another durable byte, after which no worker of the sink is kept waiting
REMEMBERED = 10_000  # uploads that were followed once, and are not again


class Abandoned(Exception):
    """The upload does not come fast enough, or its owner's digest of the whole is not known to hold."""


class GrowingReader:
    """The bytes of an upload, once, in order, as they become durable; a sink's Source. It is read in a thread.

    Raises what VerifyingReader does, and Dropped.
    """

    def __init__(self, file: BinaryIO, upload: Upload, halt: threading.Event, told: Callable[[int], None]) -> None:
        self.durable = 0  # bytes whose extents we were told
        self._upload = upload
        self._size = known(upload.size)
        self._halt = halt
        self._position = 0
        self._extents: deque[Extent] = deque()
        self._grown_at = time.monotonic()
        self._changed = threading.Condition()
        following = iter(lambda: self._extents.popleft() if self._extents else None, None)
        self._source = VerifyingReader(file, upload, following, halt, told)

    def extend(self, upload: Upload, extents: Sequence[Extent]) -> None:
        """What the upload is now, and the extents that follow those that were told before."""
        with self._changed:
            self._upload = upload
            self._extents += extents
            if extents:
                self.durable, self._grown_at = extents[-1].range.stop, time.monotonic()
            self._changed.notify()

    def read(self, size: int = PIECE, /) -> bytes:
        piece = self._source.read(min(size, self._allowed()))
        self._position += len(piece)
        if piece and self._position == self._size and not all(map(self._source.holds, self._upload.declared)):
            raise Abandoned("a digest of the whole is not known to hold")  # the plain handoff tells which
        return piece

    def proof(self) -> Proof:
        return self._source.proof()

    def _allowed(self) -> int:
        """How many bytes may be given now; waits until there are any."""
        with self._changed:
            if self._changed.wait_for(lambda: self._halt.is_set() or self._lead() >= LEAD, PAUSE):
                return self._lead() - LEAD + SIP
            enough = self._changed.wait_for(lambda: self._halt.is_set() or self._lead() > 0, STARVING)
            if not enough or time.monotonic() > self._grown_at + PATIENCE:
                raise Abandoned(f"nothing more came for too long after {self.durable} bytes")
            return min(SIP, self._lead())

    def _lead(self) -> int:
        """Bytes that may be given before more have to be there."""
        if self._upload.state is State.RECEIVING:
            return min(self.durable, self._size - 1) - self._position
        return self._size + LEAD  # none: all bytes are there


async def describe(sink: ImageService, upload: Upload, actor: Actor) -> None:
    """Before its bytes go there: tell the sink the format of an image that was made without one. DeliveryFailed."""
    found = upload.format
    if found is not None and found.declared is None and found.disk_format is not None:
        await sink.describe(known(upload.image), found.disk_format, found.min_disk, actor)


@dataclass(eq=False)
class _Following:
    """A delivery that follows an upload. `grown` tells that there is more."""

    halt: threading.Event = field(default_factory=threading.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Proof | None] | None = None


class EarlyDeliveries:
    """Some such deliveries at a time, each upload once.

    `progress` has the bytes that were given, by upload; `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        catalog: Catalog,
        scratch: UploadStorage,
        sink: ImageService,
        delegation: Delegation,
        settings: Settings,
        clock: Callable[[], float],
        progress: MutableMapping[str, int],
    ) -> None:
        self._catalog = catalog
        self._scratch = scratch
        self._sink = sink
        self._delegation = delegation
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self._running: dict[str, _Following] = {}
        self._tried: LRUCache[str, bool] = LRUCache(REMEMBERED)

    def grown(self, upload: Upload) -> None:
        """More bytes of an upload are durable, or it is sealed."""
        if running := self._running.get(upload.id):
            running.grown.set()
        elif self._wants(upload):
            self._tried[upload.id] = True
            running = self._running[upload.id] = _Following()
            running.task = asyncio.create_task(self._followed(upload, running))

    def _wants(self, upload: Upload) -> bool:
        free = len(self._running) < self._settings.handoff.early_workers and upload.id not in self._tried
        return free and follows(upload, self._clock(), self._settings.handoff.early_minimum_size)

    async def delivered(self, upload_id: str) -> Proof | None:
        """Our proof of what the sink was given while the upload came; None if it has to be given all of it."""
        running = self._running.get(upload_id)
        if running is None or running.task is None:
            return None
        running.grown.set()
        try:
            return await asyncio.shield(running.task)
        finally:
            self._running.pop(upload_id, None)

    async def drop(self, upload_id: str) -> None:
        """Break the delivery of an upload off; returns when it has ended."""
        if (running := self._running.get(upload_id)) and running.task is not None:
            running.halt.set()
            await asyncio.wait([running.task])
            self._running.pop(upload_id, None)

    async def close(self) -> None:
        """Break off whatever runs."""
        for running in self._running.values():
            running.halt.set()
        await asyncio.gather(*(each.task for each in self._running.values() if each.task), return_exceptions=True)

    async def _followed(self, upload: Upload, running: _Following) -> Proof | None:
        LOG.info("upload %s: its bytes go to the sink while they come", upload.id)
        try:
            return await self._follow(upload, running)
        except (HandoffStopped, Abandoned) as problem:
            LOG.info("upload %s is not followed any more: %s", upload.id, problem or "halted")
        except Exception as problem:  # whatever it is, the plain handoff will meet it again and tell
            LOG.warning("upload %s is not followed any more: %r", upload.id, problem)
        self._running.pop(upload.id, None)
        self._progress.pop(upload.id, None)
        return None

    async def _follow(self, upload: Upload, running: _Following) -> Proof:
        def told(position: int) -> None:
            self._progress[upload.id] = position

        actor = Actor(upload.owner, await self._delegation.token(upload))
        with await asyncio.to_thread(self._scratch.reader, upload.id) as file:
            await describe(self._sink, upload, actor)
            source = GrowingReader(file, upload, running.halt, told)
            feeding = asyncio.create_task(self._feed(source, upload.id, running))
            try:
                await self._sink.deliver(known(upload.image), known(upload.size), source, actor)
            finally:
                feeding.cancel()
                await asyncio.wait([feeding])
        return source.proof()

    async def _feed(self, source: GrowingReader, upload_id: str, running: _Following) -> None:
        """Tell the source what is durable, until all is."""
        while True:
            running.grown.clear()
            upload = await self._catalog.get(upload_id)
            if upload is None or upload.state not in {State.RECEIVING, *WITH_HANDOFF}:
                running.halt.set()
                return
            more = Range(source.durable, upload.offset)
            source.extend(upload, await self._catalog.extents(upload_id, more) if more.length else [])
            if upload.state is not State.RECEIVING:
                return
            await running.grown.wait()
