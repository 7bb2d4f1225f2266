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
from collections.abc import AsyncIterator, Callable, Sequence
from typing import BinaryIO

from resumable_glance.auth.vault import Vault
from resumable_glance.catalog import Catalog
from resumable_glance.protocol.delivery import FIRST_DELAY, Receipt, Step, delay, differences, next_step, pause
from resumable_glance.protocol.digests import Tally, hasher
from resumable_glance.protocol.upload import (
    WITH_HANDOFF,
    Event,
    Extent,
    Hitch,
    IllegalTransition,
    Proof,
    Trouble,
    Upload,
)
from resumable_glance.scratch import Scratch
from resumable_glance.sinks import PIECE, Actor, DeliveryFailed, Sink

LOG = logging.getLogger(__name__)


class Halted(Exception):
    """Somebody wants this delivery to end: the service stops, or the upload is cancelled."""


class ScratchDiffers(Exception):
    """Scratch does not give back the bytes that were received."""


class ScratchSource:
    """What a sink reads: an upload's bytes, and each extent's digest checked before its last byte is given.

    So a sink never gets all bytes of something that is not what was received. Raises ScratchDiffers, or Halted
    once `halt` is set. `told` hears how many bytes were given so far.
    """

    def __init__(
        self,
        file: BinaryIO,
        upload: Upload,
        extents: Sequence[Extent],
        halt: threading.Event,
        told: Callable[[int], None],
    ) -> None:
        self._file = file
        self._extents = list(reversed(extents))  # the next one last
        self._halt = halt
        self._told = told
        self._position = 0
        self._tally = Tally("md5", "sha512", *(each.algorithm for each in upload.declared))
        self._declared = upload.declared
        self._begin()

    def read(self, size: int = PIECE, /) -> bytes:
        if self._halt.is_set():
            raise Halted
        if not self._extents:
            return b""
        extent = self._extents[-1]
        piece = self._piece(min(size, PIECE, extent.range.stop - self._position))
        self._hasher.update(piece)
        self._tally.update(piece)
        self._position += len(piece)
        if self._position == extent.range.stop:
            if self._hasher.digest() != extent.digest.value:
                raise ScratchDiffers(
                    f"the bytes {extent.range.start} to {extent.range.stop - 1} have changed on scratch"
                )
            self._extents.pop()
            self._begin()
        self._told(self._position)
        return piece

    def proof(self) -> Proof:
        """Over everything, once everything was read."""
        return Proof(self._tally.digest("md5").value.hex(), self._tally.digest("sha512").value.hex())

    def broken_promises(self) -> list[str]:
        """The algorithms whose declared digest of the whole image does not hold."""
        return [each.algorithm for each in self._declared if not self._tally.digest(each.algorithm).matches(each)]

    def _begin(self) -> None:
        if self._extents:
            self._hasher = hasher(self._extents[-1].digest.algorithm)

    def _piece(self, size: int) -> bytes:
        try:
            piece = self._file.read(size)
        except OSError as problem:
            raise ScratchDiffers(f"scratch can't be read: {problem}") from problem
        if not piece:
            raise ScratchDiffers(f"scratch ends after {self._position} bytes")
        return piece


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
        except ScratchDiffers as problem:
            await self._fail(upload, Trouble(Hitch.SCRATCH_DIFFERS, f"{problem}. Upload the image again."))
        except Exception:
            LOG.exception("the handoff of upload %s met a defect of ours", upload.id)
            await self._postpone(upload, Trouble(Hitch.INTERNAL_ERROR, "The service's log says what went wrong."))

    async def _walk(self, upload: Upload, halt: threading.Event) -> None:
        actor = Actor(upload.owner, self._vault.open(await self._catalog.credential(upload.id)))
        upload = await self._happen(upload, Event.STARTED, attempts=upload.attempts + 1, trouble=None)
        while upload.state in WITH_HANDOFF:
            receipt = await self._sink.receipt(upload.image, actor)
            upload = await self._step(next_step(upload, receipt), upload, receipt, actor, halt)
        await self._scratch.remove(upload.id)

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
            await asyncio.to_thread(read_all, source)
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
            await self._sink.deliver(upload.image, upload.size, source, actor)
        return await self._happen(upload, Event.DELIVERED, proof=source.proof())

    async def _verify(self, upload: Upload, receipt: Receipt, actor: Actor) -> Upload:
        if upload.proof is None:
            raise LookupError("delivered without a proof")
        wrong = differences(upload.size, upload.proof, receipt)
        if not wrong:
            LOG.info("upload %s is active: image %s, sha512 %s", upload.id, upload.image.id, upload.proof.sha512)
            return await self._happen(upload, Event.VERIFIED, trouble=None)
        if not upload.image.adopted:
            await self._sink.discard(upload.image, actor)  # nobody may boot from what is not the file
        raise DeliveryFailed(Hitch.RECEIPT_DIFFERS, f"Glance has something else: {'; '.join(wrong)}.", final=True)

    @contextlib.asynccontextmanager
    async def _source(self, upload: Upload, halt: threading.Event) -> AsyncIterator[ScratchSource]:
        def told(position: int) -> None:
            self.progress[upload.id] = position

        extents = await self._catalog.extents(upload.id)
        try:
            file = await asyncio.to_thread(self._scratch.reader, upload.id)
        except OSError as problem:
            raise ScratchDiffers(f"scratch can't be read: {problem}") from problem
        with file:
            yield ScratchSource(file, upload, extents, halt, told)

    async def _happen(self, upload: Upload, event: Event, **changes: object) -> Upload:
        return await self._catalog.happen(upload.id, event, self._clock(), **changes)

    async def _postpone(self, upload: Upload, trouble: Trouble) -> None:
        seconds = delay(upload.attempts + 1)
        LOG.warning("upload %s waits %.0f s: %s", upload.id, seconds, trouble.detail)
        await self._happen(upload, Event.POSTPONED, trouble=trouble, next_attempt_at=self._clock() + seconds)

    async def _fail(self, upload: Upload, trouble: Trouble) -> None:
        LOG.error("upload %s has failed: %s", upload.id, trouble.detail)
        await self._happen(upload, Event.REFUTED, trouble=trouble)
