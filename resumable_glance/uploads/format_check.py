"""Says of an upload's bytes, as early as it can be said, that Glance would never take them; and ends such an upload.

Its one rule: what is recorded about bytes is about durable ones. So it goes into the catalog with them, or after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.inspection import Head, ImageRejected, Rules, enough, judged
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import IllegalTransition, State
from resumable_glance.model.upload import InspectionState, LastError, Upload, known
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import StorageFile
from resumable_glance.uploads.cleanup import Cleaner
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)


class FormatCheck:
    """`clock` gives seconds since the epoch."""

    def __init__(
        self, settings: Settings, catalog: Catalog, locks: WriteLocks, janitor: Cleaner, clock: Callable[[], float]
    ) -> None:
        self._rules = Rules.of(settings)
        self._catalog = catalog
        self._locks = locks
        self._janitor = janitor
        self._clock = clock

    def head(self, upload: Upload, place: Range) -> Head | None:
        """The image's head, if with a chunk there will be enough of it."""
        length = enough(upload.size)
        if not _due(upload) or place.start > min(upload.offset, length) or place.stop < length:
            return None
        return Head(known(upload.format), upload.size, self._rules)

    async def look_back(self, upload: Upload, file: StorageFile) -> None:
        """Look at a head that came in an order, or in pieces, in which nobody could look at it as it came. Objection.

        Into what is sealed by now the handoff looks.
        """
        now = await self._catalog.get(upload.id) if _due(upload) else None
        if now is None or not _due(now) or now.state is not State.RECEIVING:
            return
        length = enough(now.size)
        if now.offset >= length:
            head = await file.read(0, length)
            found = await asyncio.to_thread(judged, head, known(now.format), now.size, self._rules)
            await self._catalog.note(now.id, format=found)

    async def refuted(self, upload: Upload, objection: ImageRejected) -> Refused:
        """The end of an upload whose bytes Glance will never take: they are of no use, and nor is its image."""
        LOG.warning("upload %s is refused: %s", upload.id, objection.detail)
        trouble, reason = LastError(objection.hitch, objection.detail), Reason(objection.hitch.value)
        with contextlib.suppress(IllegalTransition):  # somebody has ended it meanwhile
            ended = await self._catalog.refute(upload.id, self._clock(), image_too=True, trouble=trouble)
            self._locks.evict_nowait(reason, upload.id)
            with contextlib.suppress(OSError):  # whoever cancels it tries again
                await self._janitor.clear(ended)
        return Refused(reason, objection.detail, state=State.FAILED)


def _due(upload: Upload) -> bool:
    """Whether nobody has looked into its bytes yet, and somebody is to."""
    return upload.format is not None and upload.format.verdict is InspectionState.PENDING
