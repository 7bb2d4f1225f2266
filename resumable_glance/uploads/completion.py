"""The end of receiving: uploads are sealed with their last byte, or fail since their bytes are lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

from resumable_glance.auth.base import Identity
from resumable_glance.auth.delegation import Delegation
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.handoff.worker import HandoffWorker
from resumable_glance.model.states import Event, IllegalTransition, State
from resumable_glance.model.upload import FailureReason, LastError, Upload
from resumable_glance.uploads.authorization import Authorization

LOG = logging.getLogger(__name__)


class Completion:
    """Seals uploads and wakes their handoffs. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        uploads: UploadRecords,
        authorization: Authorization,
        delegation: Delegation,
        handoff: HandoffWorker,
        clock: Callable[[], float],
    ) -> None:
        self._uploads = uploads
        self._authorization = authorization
        self._delegation = delegation
        self._handoff = handoff
        self._clock = clock

    async def on_progress(self, upload: Upload, identity: Identity) -> None:
        """Hand on an upload whose new bytes were committed; it may be sealed by that."""
        self._handoff.on_progress(upload)
        if upload.state is State.SEALED:
            await self._sealed(upload, identity)

    async def complete(self, upload: Upload, identity: Identity) -> Upload:
        """Seal an upload that has all of its bytes and was left open; return its current record."""
        if upload.state is not State.RECEIVING or upload.image is None or not upload.filled:
            return upload
        try:
            upload = await self._uploads.transition(upload.id, Event.FILLED, self._clock())
        except IllegalTransition:  # another request was faster
            return await self._authorization.get(upload.id, identity)
        await self._sealed(upload, identity)
        return upload

    async def lose(self, upload: Upload) -> Upload:
        """Fail an upload whose bytes are gone from storage."""
        LOG.error("the scratch file of upload %s is gone: was the disk replaced, or cleaned by hand?", upload.id)
        sentence = "The service has lost the bytes of this upload. Create a new one."
        error = LastError(FailureReason.SCRATCH_LOST, sentence)
        return await self._uploads.transition(upload.id, Event.FAILED, self._clock(), last_error=error)

    async def renew_token(self, upload: Upload, identity: Identity) -> None:
        """Keep the caller's token for the handoff, and make its next attempt due now.

        A caller with a ticket has no token; then the earlier one stays.
        """
        try:
            await self._uploads.set_credential(upload.id, self._delegation.encrypt(identity.token), due=self._clock())
        finally:
            self._handoff.wake()  # even if the token could not be recorded

    async def _sealed(self, upload: Upload, identity: Identity) -> None:
        LOG.info("upload %s is sealed: %d bytes", upload.id, upload.size)
        await self.renew_token(upload, identity)
