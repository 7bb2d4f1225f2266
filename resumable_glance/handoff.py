"""Sealed uploads into the sink: delivered, compared, and only then called active.

The catalog is the queue. A handoff is a walk over small steps, each of which ends in one transaction; what the
next one is, protocol/delivery.py decides from what is recorded and what the sink says. So a handoff that was
killed anywhere simply asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from resumable_glance.auth.vault import Vault
from resumable_glance.catalog import Catalog
from resumable_glance.protocol.delivery import FIRST_DELAY, Receipt, Step, delay, differences, next_step, pause
from resumable_glance.protocol.upload import (
    WITH_HANDOFF,
    Event,
    Hitch,
    IllegalTransition,
    Trouble,
    Upload,
    known,
)
from resumable_glance.scratch import Scratch
from resumable_glance.sinks import PIECE, Actor, DeliveryFailed, Sink
from resumable_glance.source import Halted, ScratchDiffers, ScratchSource, ScratchUnreadable, opened
from resumable_glance.threads import Threads

LOG = logging.getLogger(__name__)


class Handoff:
    """Runs handoffs, `workers` at a time. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        catalog: Catalog,
        scratch: Scratch,
        sink: Sink,
        vault: Vault,
        workers: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.progress: dict[str, int] = {}  # bytes that the sink was given, by upload
        self._catalog = catalog
        self._scratch = scratch
        self._sink = sink
        self._vault = vault
        self._workers = workers
        self._clock = clock
        self._readers = Threads(workers, "prove")  # it takes minutes, and nobody else's thread
        self._woken = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._halts: dict[str, threading.Event] = {}
        self._held: set[str] = set()

    def wake(self) -> None:
        self._woken.set()

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
            await asyncio.gather(*running, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def halted(self, upload_id: str) -> AsyncIterator[None]:
        """Inside, nobody works on the upload; a delivery that runs is broken off first."""
        self._held.add(upload_id)
        try:
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
        for upload in due[: self._workers - len(self._running)]:
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
        except Halted:
            LOG.info("the handoff of upload %s was broken off", upload.id)
        except IllegalTransition:
            LOG.info("upload %s was cancelled meanwhile", upload.id)
        except DeliveryFailed as failed:
            await (self._fail if failed.final else self._postpone)(upload, failed.trouble)
        except ScratchUnreadable as problem:
            await self._postpone(upload, Trouble(Hitch.SCRATCH_UNREADABLE, str(problem)))
        except ScratchDiffers as problem:
            await self._fail(upload, Trouble(Hitch.SCRATCH_DIFFERS, f"{problem}. Upload the image again."))
        except Exception:
            LOG.exception("the handoff of upload %s met a defect of ours", upload.id)
            await self._postpone(upload, Trouble(Hitch.INTERNAL_ERROR, "The service's log says what went wrong."))

    async def _walk(self, upload: Upload, halt: threading.Event) -> None:
        actor = Actor(upload.owner, self._vault.open(await self._catalog.credential(upload.id)))
        upload = await self._happen(upload, Event.STARTED, attempts=upload.attempts + 1, trouble=None)
        while upload.state in WITH_HANDOFF:
            receipt = await self._sink.receipt(known(upload.image), actor)
            upload = await self._step(next_step(upload, receipt), upload, receipt, actor, halt)
        for each in upload.files:
            await self._scratch.remove(each)

    async def _step(self, step: Step, upload: Upload, receipt: Receipt, actor: Actor, halt: threading.Event) -> Upload:
        match step:
            case Step.PROVE:
                return await self._prove(upload, halt)
            case Step.DELIVER:
                return await self._deliver(upload, actor, halt)
            case Step.RECORD:
                return await self._happen(upload, Event.DELIVERED)
            case Step.VERIFY:
                return await self._verify(upload, receipt, actor)
            case Step.WAIT:
                raise DeliveryFailed(Hitch.IMAGE_BUSY, "Glance is still busy with an earlier attempt.")
            case Step.GIVE_UP:
                raise DeliveryFailed(Hitch.IMAGE_GONE, "The image was deleted, or can't be used any more.", final=True)

    async def _prove(self, upload: Upload, halt: threading.Event) -> Upload:
        def read_all(source: ScratchSource) -> None:
            while source.read(PIECE):
                pass

        async with self._source(upload, halt) as source:
            await self._readers.run(read_all, source)
        if broken := source.broken_promises():
            raise DeliveryFailed(
                Hitch.DIGEST_MISMATCH,
                f"The {' and '.join(broken)} of the bytes that came is not the declared one. Nothing went to Glance; "
                "the bytes are kept until this upload is cancelled.",
                final=True,
            )
        return await self._catalog.prove(upload.id, source.proof())

    async def _deliver(self, upload: Upload, actor: Actor, halt: threading.Event) -> Upload:
        async with self._source(upload, halt) as source:
            await self._sink.deliver(known(upload.image), known(upload.size), source, actor)
        return await self._happen(upload, Event.DELIVERED, proof=source.proof())

    async def _verify(self, upload: Upload, receipt: Receipt, actor: Actor) -> Upload:
        if upload.proof is None:
            raise LookupError("delivered without a proof")
        image = known(upload.image)
        wrong = differences(known(upload.size), upload.proof, receipt)
        if not wrong:
            LOG.info("upload %s is active: image %s, sha512 %s", upload.id, image.id, upload.proof.sha512)
            return await self._happen(upload, Event.VERIFIED, trouble=None)
        if not image.adopted:
            await self._sink.discard(image, actor)  # nobody may boot from what is not the file
        raise DeliveryFailed(Hitch.RECEIPT_DIFFERS, f"Glance has something else: {'; '.join(wrong)}.", final=True)

    def _source(self, upload: Upload, halt: threading.Event) -> AbstractAsyncContextManager[ScratchSource]:
        def told(position: int) -> None:
            self.progress[upload.id] = position

        return opened(self._catalog, self._scratch, upload, halt, told)

    async def _happen(self, upload: Upload, event: Event, **changes: object) -> Upload:
        return await self._catalog.happen(upload.id, event, self._clock(), **changes)

    async def _postpone(self, upload: Upload, trouble: Trouble) -> None:
        seconds = delay(upload.attempts + 1)
        LOG.warning("upload %s waits %.0f s: %s", upload.id, seconds, trouble.detail)
        await self._happen(upload, Event.POSTPONED, trouble=trouble, next_attempt_at=self._clock() + seconds)

    async def _fail(self, upload: Upload, trouble: Trouble) -> None:
        LOG.error("upload %s has failed: %s", upload.id, trouble.detail)
        await self._happen(upload, Event.REFUTED, trouble=trouble)
