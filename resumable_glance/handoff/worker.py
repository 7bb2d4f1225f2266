"""The worker that runs handoffs, retries them and records their outcome. The catalog is its queue."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.handoff.early import EarlyDeliveries
from resumable_glance.handoff.plan import FIRST_DELAY, choose_next, delay, exhausted, time_until_due
from resumable_glance.handoff.reader import HandoffStopped, StorageDiffers, StorageUnreadable
from resumable_glance.handoff.walk import Walk
from resumable_glance.images.base import DeliveryFailed
from resumable_glance.model.states import Event, IllegalTransition, State
from resumable_glance.model.upload import FailureReason, LastError, Upload, expired
from resumable_glance.runtime.config import HandoffSettings

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    """A running attempt for an upload, as it was when it began. `stop` ends it."""

    upload: Upload
    task: asyncio.Task[None]
    stop: threading.Event


@dataclass(frozen=True)
class HandoffWorker:
    """Runs handoffs, a limited number at a time.

    `free` frees what an upload that has become active holds. `clock` gives seconds since the epoch.
    """

    uploads: UploadRecords
    walk: Walk
    early: EarlyDeliveries
    free: Callable[[Upload], Awaitable[None]]
    settings: HandoffSettings
    clock: Callable[[], float]
    _woken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _running: dict[str, _Running] = field(default_factory=dict, init=False)
    _paused: set[str] = field(default_factory=set, init=False)

    def wake(self) -> None:
        """Look for due handoffs now."""
        self._woken.set()

    def on_progress(self, upload: Upload) -> None:
        """Start or continue the early delivery of an upload that has more durable bytes."""
        self.early.on_progress(upload)

    async def run(self) -> None:
        """Run handoffs until cancelled, then stop them; the next start goes on with them."""
        try:
            while True:
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(await self._next_due()):
                        await self._woken.wait()
        finally:
            running = list(self._running.values())
            for each in running:
                each.stop.set()
            await asyncio.gather(self.early.close(), *(each.task for each in running), return_exceptions=True)

    @contextlib.asynccontextmanager
    async def paused(self, upload_id: str) -> AsyncIterator[None]:
        """Stop the handoff of an upload, and start none inside."""
        self._paused.add(upload_id)
        try:
            await self.early.abandon(upload_id)
            if running := self._running.get(upload_id):
                running.stop.set()
                await asyncio.wait([running.task])
            yield
        finally:
            self._paused.discard(upload_id)
            self.wake()

    async def _next_due(self) -> float | None:
        try:
            return await self._start_due()
        except Exception:
            LOG.exception("the due handoffs can't be read from the catalog")
            return FIRST_DELAY

    async def _start_due(self) -> float | None:
        """Start due handoffs; return the seconds until another one is due."""
        uploads, now = await self.uploads.with_handoff(), self.clock()
        waiting = [
            each
            for each in uploads
            if each.id not in self._running and each.id not in self._paused and not expired(each, now)
        ]
        due = [each for each in waiting if time_until_due(each, now) == 0]
        running = [each.upload for each in self._running.values()]
        for upload in choose_next(due, running, self.settings.workers, self.walk.lately()):
            stop = threading.Event()
            task = asyncio.create_task(self._attempt(upload, stop))
            self._running[upload.id] = _Running(upload, task, stop)
            task.add_done_callback(functools.partial(self._ended, upload.id))
        return min((time_until_due(each, now) for each in waiting if each not in due), default=None)

    def _ended(self, upload_id: str, task: asyncio.Task[None]) -> None:
        del self._running[upload_id]
        if task.exception() is None:
            self.wake()
        else:  # its last error could not be recorded either
            LOG.error("the handoff of upload %s failed unexpectedly", upload_id, exc_info=task.exception())
            asyncio.get_running_loop().call_later(FIRST_DELAY, self.wake)

    async def _attempt(self, upload: Upload, stop: threading.Event) -> None:
        try:
            started = await self._start(upload)
            ended = await self.walk.run(started, stop)
            if ended.state is State.ACTIVE:
                await self.free(ended)
        except HandoffStopped:
            LOG.info("the handoff of upload %s was stopped", upload.id)
        except IllegalTransition:
            LOG.info("upload %s was cancelled meanwhile", upload.id)
        except DeliveryFailed as failed:
            await (self._fail if failed.final else self._postpone)(upload, failed.error)
        except StorageUnreadable as problem:
            await self._postpone(upload, LastError(FailureReason.SCRATCH_UNREADABLE, str(problem)))
        except StorageDiffers as problem:
            await self._fail(upload, LastError(FailureReason.SCRATCH_DIFFERS, f"{problem}. Upload the image again."))
        except Exception:
            LOG.exception("the handoff of upload %s failed unexpectedly", upload.id)
            sentence = "An internal error. The service's log has the details."
            await self._postpone(upload, LastError(FailureReason.INTERNAL_ERROR, sentence))

    async def _start(self, upload: Upload) -> Upload:
        attempts = upload.delivery.attempts + 1
        started = await self._transition(upload, Event.STARTED, attempts=attempts, last_error=None)
        if proof := await self.early.finish(upload.id):
            return await self._transition(started, Event.DELIVERED, proof=proof, suspicion=0)
        return started

    async def _postpone(self, upload: Upload, error: LastError) -> None:
        attempts = upload.delivery.attempts + 1
        if exhausted(attempts, self.settings.attempts, error.reason):
            detail = f"All {attempts} attempts failed. The last one: {error.detail} You can retry the upload."
            await self._fail(upload, LastError(error.reason, detail))
            return
        seconds = delay(attempts, random.random())
        LOG.warning("upload %s is tried again in %.0f s: %s", upload.id, seconds, error.detail)
        await self._transition(upload, Event.POSTPONED, last_error=error, next_attempt_at=self.clock() + seconds)

    async def _fail(self, upload: Upload, error: LastError) -> None:
        LOG.error("upload %s has failed: %s", upload.id, error.detail)
        await self._transition(upload, Event.FAILED, last_error=error)

    async def _transition(self, upload: Upload, event: Event, **delivery: Any) -> Upload:
        return await self.uploads.transition(upload.id, event, self.clock(), **delivery)
