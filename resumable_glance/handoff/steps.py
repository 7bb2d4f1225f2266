"""The steps of one handoff: look into the bytes, prove them, deliver them, wait, compare.

Its one rule: each may be broken off anywhere, and taken again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, MutableMapping
from contextlib import AbstractAsyncContextManager

from resumable_glance.catalog.uploads import Catalog
from resumable_glance.handoff.plan import Step, differences
from resumable_glance.handoff.reader import HandoffStopped, VerifyingReader, opened
from resumable_glance.handoff.replacement import Replacement
from resumable_glance.handoff.streaming import describe
from resumable_glance.images.base import (
    CERTAIN,
    PIECE,
    UNUSABLE,
    Actor,
    DeliveryFailed,
    ImageService,
    ImageStatus,
    Presence,
)
from resumable_glance.images.inspection import HEAD, ImageRejected, Inspection, Rules, enough, judged
from resumable_glance.model.states import Event, State
from resumable_glance.model.upload import FailureReason, Format, InspectionState, LastError, Upload, Verified, known
from resumable_glance.runtime.config import Settings
from resumable_glance.runtime.threads import Threads
from resumable_glance.storage.base import UploadStorage

LOG = logging.getLogger(__name__)
IMPORT_POLL_INTERVAL = 0.5  # seconds between two looks at an import that runs


class Steps:
    """Those of all handoffs.

    `progress` has the bytes that the sink was given, by upload; `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        catalog: Catalog,
        scratch: UploadStorage,
        sink: ImageService,
        settings: Settings,
        clock: Callable[[], float],
        progress: MutableMapping[str, int],
    ) -> None:
        self._catalog = catalog
        self._scratch = scratch
        self._sink = sink
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self._rules = Rules.of(settings)
        self._replacement = Replacement(catalog, sink, clock)
        self._readers = Threads(settings.handoff.workers, "prove")  # it takes minutes, and nobody else's thread

    async def take(
        self, step: Step, upload: Upload, receipt: ImageStatus, actor: Actor, halt: threading.Event
    ) -> Upload:
        """What the upload is after a step. DeliveryFailed, StorageDiffers, or Halted once `halt` is set."""
        match step:
            case Step.INSPECT:
                return await self._inspect(upload, halt)
            case Step.PROVE:
                return await self._prove(upload, halt)
            case Step.DELIVER:
                return await self._deliver(upload, actor, halt)
            case Step.RECORD | Step.FINISH:
                return await self._record(step, upload, actor)
            case Step.VERIFY:
                return await self._verify(upload, receipt, actor)
            case Step.WAIT:
                return await self._wait(upload, halt)
            case Step.REPLACE:
                return await self._replacement.replace(upload, actor)
            case Step.GIVE_UP | Step.BACK_OFF:
                raise await self._setback(step, upload, receipt)

    async def _inspect(self, upload: Upload, halt: threading.Event) -> Upload:
        """Look into the head of what came in an order, or in pieces, in which nobody could look into it before."""

        def read_head(source: VerifyingReader) -> Format:
            head = b""
            while len(head) < enough(upload.size):
                head += source.read(PIECE)
            return judged(head[:HEAD], known(upload.format), upload.size, self._rules)

        async with self._source(upload, halt) as source:
            found = await self._read(read_head, source)
        return await self._catalog.note(upload.id, format=found)

    async def _read(self, work: Callable[[VerifyingReader], Format | None], source: VerifyingReader) -> Format | None:
        try:
            return await self._readers.run(work, source)
        except ImageRejected as objection:
            raise DeliveryFailed(objection.hitch, objection.detail, final=True) from objection

    async def _prove(self, upload: Upload, halt: threading.Event) -> Upload:
        def read_all(source: VerifyingReader) -> Format | None:
            if upload.format is None or upload.format.verdict is not InspectionState.PARTIAL:
                while source.read(PIECE):
                    pass
                return upload.format
            inspection = Inspection(upload.format, upload.size, self._rules)
            while piece := source.read(PIECE):
                inspection.feed(piece)
            return inspection.found()

        async with self._source(upload, halt) as source:
            found = await self._read(read_all, source)
        if broken := source.mismatches():
            raise DeliveryFailed(
                FailureReason.DIGEST_MISMATCH,
                f"The {' and '.join(broken)} of the bytes that came is not the declared one. Nothing went to Glance; "
                "the bytes are kept until this upload is cancelled.",
                final=True,
            )
        return await self._catalog.note(upload.id, proof=source.proof(), format=found)

    async def _deliver(self, upload: Upload, actor: Actor, halt: threading.Event) -> Upload:
        if upload.stuck_at:  # an earlier attempt was; this one may be busy for as long
            upload = await self._catalog.note(upload.id, stuck_at=0.0)
        await describe(self._sink, upload, actor)
        async with self._source(upload, halt) as source:
            try:
                await self._sink.deliver(known(upload.image), known(upload.size), source, actor)
            except DeliveryFailed as failed:
                await self._note_failure(upload, failed.doubt)
                raise
        return await self._happen(upload, Event.DELIVERED, proof=source.proof(), suspicion=0)

    async def _record(self, step: Step, upload: Upload, actor: Actor) -> Upload:
        if step is Step.FINISH:
            if upload.stuck_at:  # the import may take as long as any
                upload = await self._catalog.note(upload.id, stuck_at=0.0)
            await self._sink.finish(known(upload.image), actor)
            if upload.state is State.VERIFYING:
                return upload
        return await self._happen(upload, Event.DELIVERED)

    async def _setback(self, step: Step, upload: Upload, receipt: ImageStatus) -> DeliveryFailed:
        if step is Step.GIVE_UP:
            return _given_up(upload, receipt)
        await self._catalog.note(upload.id, suspicion=upload.suspicion + CERTAIN)
        what = receipt.detail or "Glance has given up the import of the image."
        return DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, f"{what} It will be tried again.")

    async def _wait(self, upload: Upload, halt: threading.Event) -> Upload:
        """For a sink that is busy: with our own import, which is looked at, or with what nobody here knows."""
        image = known(upload.image)
        if not upload.stuck_at:
            patience = self._settings.handoff.glance_timeout * max(
                1, len(image.stores or ())
            )  # it fills one after the other
            upload = await self._catalog.note(upload.id, stuck_at=self._clock() + patience)
        if upload.state is not State.VERIFYING or not image.imports:
            raise DeliveryFailed(FailureReason.IMAGE_BUSY, "Glance is still busy with an earlier attempt.")
        await asyncio.sleep(IMPORT_POLL_INTERVAL)
        if halt.is_set():
            raise HandoffStopped
        return upload

    async def _note_failure(self, upload: Upload, doubt: int) -> None:
        """What a delivery that failed says of the image: when it is stuck if it is busy, and whether it is spoiled."""
        whole = self._progress.get(upload.id, 0) == upload.size
        patience = self._settings.handoff.glance_timeout if whole else self._settings.handoff.abort_grace
        if known(upload.image).adopted and doubt < UNUSABLE:
            doubt = 0  # it can't be replaced: an error that may pass is waited for, however often it comes
        await self._catalog.note(upload.id, stuck_at=self._clock() + patience, suspicion=upload.suspicion + doubt)

    async def _verify(self, upload: Upload, receipt: ImageStatus, actor: Actor) -> Upload:
        if upload.proof is None:
            raise LookupError("delivered without a proof")
        image = known(upload.image)
        wrong = differences(known(upload.size), upload.proof, receipt)
        if not wrong:
            LOG.info("upload %s is active: image %s, sha512 %s", upload.id, image.id, upload.proof.sha512)
            shown = Verified(
                self._clock(), known(receipt.size), known(receipt.md5), known(receipt.sha512), actor.request_id
            )
            return await self._happen(upload, Event.VERIFIED, trouble=None, verified=shown)
        trouble = LastError(FailureReason.IMAGE_DIFFERS, f"Glance has something else: {'; '.join(wrong)}.")
        LOG.error("upload %s has failed: %s", upload.id, trouble.detail)
        upload = await self._catalog.refute(upload.id, self._clock(), image_too=True, trouble=trouble)
        if not image.adopted:
            await self._replacement.remove(image, actor)  # nobody may boot from what is not the file
        return upload

    def _source(self, upload: Upload, halt: threading.Event) -> AbstractAsyncContextManager[VerifyingReader]:
        def told(position: int) -> None:
            self._progress[upload.id] = position

        return opened(self._catalog, self._scratch, upload, halt, told)

    async def _happen(self, upload: Upload, event: Event, **changes: object) -> Upload:
        return await self._catalog.happen(upload.id, event, self._clock(), **changes)


def _given_up(upload: Upload, receipt: ImageStatus) -> DeliveryFailed:
    """Nothing can be done with the image. What can a person do?"""
    if receipt.presence is Presence.DELETED:
        theirs = "Create a new upload." if known(upload.image).adopted else "Ask for another try to get a new image."
        sentence = f"The image was deleted, or can't be used any more. {theirs}"
        return DeliveryFailed(FailureReason.IMAGE_GONE, sentence, final=True)
    hitch = FailureReason.IMAGE_BUSY if receipt.presence is Presence.SAVING else FailureReason.IMAGE_REFUSED
    sentence = (
        "The image can't be filled any more: it has something of an attempt that broke off. You made it, so that no "
        "other one is put in its place. Delete it, and create a new upload."
    )
    return DeliveryFailed(hitch, sentence, final=True)
