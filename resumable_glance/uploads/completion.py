"""The end of receiving: uploads are sealed with their last byte, or fail since their bytes are lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resumable_glance.auth.base import Identity
from resumable_glance.auth.delegation import Delegation
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.handoff.worker import HandoffWorker
from resumable_glance.model.states import Event, IllegalTransition, State
from resumable_glance.model.upload import FailureReason, LastError, Upload
from resumable_glance.uploads.authorization import Authorization

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Completion:
    """Seals uploads and wakes their handoffs.

    An upload that waits is kept for `waiting_retention` seconds. `clock` gives seconds since the epoch.
    """

    uploads: UploadRecords
    authorization: Authorization
    delegation: Delegation
    handoff: HandoffWorker
    waiting_retention: float
    clock: Callable[[], float]

    async def on_progress(self, upload: Upload, identity: Identity) -> None:
        """Hand on an upload that has grown, and may be sealed now."""
        self.handoff.on_progress(upload)
        if upload.state is State.SEALED:
            await self._sealed(upload, identity)

    async def complete(self, upload: Upload, identity: Identity) -> Upload:
        """Seal a full upload that was left open; return its current record."""
        if upload.state is not State.RECEIVING or upload.image is None or not upload.filled:
            return upload
        try:
            upload = await self._transition(upload, Event.FILLED)
        except IllegalTransition:  # another request was faster
            return await self.authorization.get(upload.id, identity)
        await self._sealed(upload, identity)
        return upload

    async def lose(self, upload: Upload) -> Upload:
        """Fail an upload whose bytes are gone from storage."""
        LOG.error("the scratch file of upload %s is gone: was the disk replaced, or cleaned by hand?", upload.id)
        sentence = "The service has lost the bytes of this upload. Create a new one."
        error = LastError(FailureReason.SCRATCH_LOST, sentence)
        return await self._transition(upload, Event.FAILED, last_error=error)

    async def renew_token(self, upload: Upload, identity: Identity) -> None:
        """Keep the caller's token for the handoff, make its next attempt due now, and let the upload wait anew.

        A caller with a ticket has no token; then the earlier one stays.
        """
        now = self.clock()
        credential = self.delegation.encrypt(identity.token, identity.expires_at)
        try:
            await self.uploads.set_credential(upload.id, credential, now, now + self.waiting_retention)
        finally:
            self.handoff.wake()  # even if the token could not be recorded

    async def _sealed(self, upload: Upload, identity: Identity) -> None:
        LOG.info("upload %s is sealed: %d bytes", upload.id, upload.size)
        await self.renew_token(upload, identity)

    async def _transition(self, upload: Upload, event: Event, **delivery: Any) -> Upload:
        now = self.clock()
        return await self.uploads.transition(upload.id, event, now, expires_at=now + self.waiting_retention, **delivery)
