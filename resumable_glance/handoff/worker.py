"""Sealed uploads into the sink: delivered, compared, and only then called active.

The catalog is the queue. A handoff is a walk over small steps (steps.py), each of which ends in one transaction; what
the next one is, protocol/delivery.py decides from what is recorded and what the sink says. So a handoff that was
killed anywhere simply asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable

from resumable_glance.auth.delegation import Delegation
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.trusts import Trusts
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.handoff.plan import FIRST_DELAY, delay, exhausted, next_step, pause, turns
from resumable_glance.handoff.reader import HandoffStopped, StorageDiffers, StorageUnreadable
from resumable_glance.handoff.steps import Steps
from resumable_glance.handoff.streaming import EarlyDeliveries
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService
from resumable_glance.model.states import WITH_HANDOFF, Event, IllegalTransition, State
from resumable_glance.model.upload import FailureReason, LastError, Upload, known
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import UploadStorage

LOG = logging.getLogger(__name__)


class HandoffWorker:
    """Runs handoffs, some at a time. `clock` gives seconds since the epoch, `chance` numbers from 0 up to 1."""

    def __init__(
        self,
        catalog: Catalog,
        scratch: UploadStorage,
        sink: ImageService,
        vault: TokenCipher,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        trusts: Trusts | None = None,
    ) -> None:
        self.progress: dict[str, int] = {}  # bytes that the sink was given, by upload
        self._catalog = catalog
        self._scratch = scratch
        self._sink = sink
        self._delegation = Delegation(catalog, vault, trusts, clock)
        self._followers = EarlyDeliveries(catalog, scratch, sink, self._delegation, settings, clock, self.progress)
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._steps = Steps(catalog, scratch, sink, settings, clock, self.progress)
        self._woken = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._halts: dict[str, threading.Event] = {}
        self._held: set[str] = set()

    def wake(self) -> None:
        self._woken.set()

    def grown(self, upload: Upload) -> None:
        """More bytes of an upload are durable: it may be worth beginning with them."""
        self._followers.grown(upload)

    async def run(self) -> None:
        """Work until cancelled; then break off what runs, leaving it for the next start."""
        try:
            while True:
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(await self._soonest()):
                        await self._woken.wait()
        finally:
            running = list(self._running.values())
            for halt in self._halts.values():
                halt.set()
            await asyncio.gather(self._followers.close(), *running, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def halted(self, upload_id: str) -> AsyncIterator[None]:
        """Inside, nobody works on the upload; a delivery that runs is broken off first."""
        self._held.add(upload_id)
        try:
            await self._followers.drop(upload_id)
            if upload_id in self._running:
                self._halts[upload_id].set()
                await asyncio.wait([self._running[upload_id]])
            yield
        finally:
            self._held.discard(upload_id)
            self.wake()

    async def _soonest(self) -> float | None:
        try:
            return await self._start_due()
        except Exception:
            LOG.exception("the catalog can't be asked what is to be handed over")
            return FIRST_DELAY

    async def _start_due(self) -> float | None:
        """Start what is due, as far as there are workers; seconds until the next one is, or None."""
        uploads, now = await self._catalog.handoffs(), self._clock()
        waiting = [each for each in uploads if each.id not in self._running and each.id not in self._held]
        due = [each for each in waiting if pause(each, now) == 0]
        running = [each for each in uploads if each.id in self._running]
        for upload in turns(due, running, self._settings.handoff.workers - len(self._running) + len(running)):
            halt = self._halts[upload.id] = threading.Event()
            task = self._running[upload.id] = asyncio.create_task(self._attempt(upload, halt))
            task.add_done_callback(functools.partial(self._done, upload.id))
        return min((pause(each, now) for each in waiting if each not in due), default=None)

    def _done(self, upload_id: str, task: asyncio.Task[None]) -> None:
        del self._running[upload_id], self._halts[upload_id]
        self.progress.pop(upload_id, None)
        if task.exception() is None:
            self.wake()
        else:  # not even its trouble could be written down
            LOG.error("the handoff of upload %s met a defect of ours", upload_id, exc_info=task.exception())
            asyncio.get_running_loop().call_later(FIRST_DELAY, self.wake)

    async def _attempt(self, upload: Upload, halt: threading.Event) -> None:
        try:
            await self._walk(upload, halt)
        except HandoffStopped:
            LOG.info("the handoff of upload %s was broken off", upload.id)
        except IllegalTransition:
            LOG.info("upload %s was cancelled meanwhile", upload.id)
        except DeliveryFailed as failed:
            await (self._fail if failed.final else self._postpone)(upload, failed.trouble)
        except StorageUnreadable as problem:
            await self._postpone(upload, LastError(FailureReason.SCRATCH_UNREADABLE, str(problem)))
        except StorageDiffers as problem:
            await self._fail(upload, LastError(FailureReason.SCRATCH_DIFFERS, f"{problem}. Upload the image again."))
        except Exception:
            LOG.exception("the handoff of upload %s met a defect of ours", upload.id)
            await self._postpone(
                upload, LastError(FailureReason.INTERNAL_ERROR, "The service's log says what went wrong.")
            )

    async def _walk(self, upload: Upload, halt: threading.Event) -> None:
        request_id = f"req-{uuid.uuid4()}"  # for Glance's log
        actor = Actor(upload.owner, await self._delegation.token(upload), request_id)
        upload = await self._happen(upload, Event.STARTED, attempts=upload.attempts + 1, trouble=None)
        if proof := await self._followers.delivered(upload.id):
            upload = await self._happen(upload, Event.DELIVERED, proof=proof, suspicion=0)
        while upload.state in WITH_HANDOFF:
            receipt = await self._sink.receipt(known(upload.image), actor)
            step = next_step(upload, receipt, self._clock())
            upload = await self._steps.take(step, upload, receipt, actor, halt)
        if upload.state is State.ACTIVE:
            for each in upload.files:
                await self._scratch.remove(each)
            await self._delegation.tidy()

    async def _happen(self, upload: Upload, event: Event, **changes: object) -> Upload:
        return await self._catalog.happen(upload.id, event, self._clock(), **changes)

    async def _postpone(self, upload: Upload, trouble: LastError) -> None:
        attempts = upload.attempts + 1
        if exhausted(attempts, self._settings.handoff.attempts, trouble.hitch):
            detail = f"It was tried {attempts} times. The last time: {trouble.detail} You can ask for another try."
            return await self._fail(upload, LastError(trouble.hitch, detail))
        seconds = delay(attempts, self._chance())
        LOG.warning("upload %s waits %.0f s: %s", upload.id, seconds, trouble.detail)
        await self._happen(upload, Event.POSTPONED, trouble=trouble, next_attempt_at=self._clock() + seconds)
        return None

    async def _fail(self, upload: Upload, trouble: LastError) -> None:
        LOG.error("upload %s has failed: %s", upload.id, trouble.detail)
        await self._happen(upload, Event.FAILED, trouble=trouble)
