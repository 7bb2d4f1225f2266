"""The check of an image's format while its bytes come: an upload that Glance would never take fails early.

A result is recorded together with the bytes that it is about, or after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.inspection import FormatRules, ImageHead, ImageRejected, head_length, inspect_head
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import IllegalTransition, State
from resumable_glance.model.upload import InspectionState, LastError, Upload, require
from resumable_glance.storage.base import StorageFile
from resumable_glance.uploads.cleanup import Cleaner
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FormatCheck:
    """Checks formats against `rules`.

    An upload that fails is kept for `waiting_retention` seconds. `clock` gives seconds since the epoch.
    """

    uploads: UploadRecords
    locks: WriteLocks
    cleaner: Cleaner
    rules: FormatRules
    waiting_retention: float
    clock: Callable[[], float]

    def head(self, upload: Upload, target: Range) -> ImageHead | None:
        """Return the head of an image, if a chunk for `target` can complete it."""
        length = head_length(upload.size)
        if not _is_pending(upload) or target.start > min(upload.offset, length) or target.stop < length:
            return None
        return ImageHead(require(upload.format), upload.size, self.rules)

    async def look_back(self, upload: Upload, file: StorageFile) -> None:
        """Inspect a head whose chunks came in an order that left no chance before. Raises ImageRejected.

        The head of a sealed upload is left to its handoff.
        """
        now = await self.uploads.get(upload.id) if _is_pending(upload) else None
        if now is None or not _is_pending(now) or now.state is not State.RECEIVING:
            return
        length = head_length(now.size)
        if now.offset >= length:
            head = await file.read(0, length)
            format = await asyncio.to_thread(inspect_head, head, require(now.format), now.size, self.rules)
            await self.uploads.update(now.id, format=format)

    async def reject(self, upload: Upload, rejected: ImageRejected) -> Refused:
        """Fail an upload that Glance will never take; return the refusal."""
        LOG.warning("upload %s is refused: %s", upload.id, rejected.detail)
        error, reason = LastError(rejected.reason, rejected.detail), Reason(rejected.reason.value)
        with contextlib.suppress(IllegalTransition):  # it has ended meanwhile
            now = self.clock()
            failed = await self.uploads.reject(upload.id, now, error, now + self.waiting_retention)
            self.locks.evict_nowait(reason, upload.id)
            with contextlib.suppress(OSError):  # freed when it is cancelled
                await self.cleaner.clear(failed)
        return Refused(reason, rejected.detail, state=State.FAILED)


def _is_pending(upload: Upload) -> bool:
    """Return whether an upload's bytes are still to be inspected."""
    return upload.format is not None and upload.format.inspection is InspectionState.PENDING
