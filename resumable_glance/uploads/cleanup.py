"""What nobody needs any more goes: uploads that nobody continued, scratch without an upload, images without bytes.

Its one rule: nothing goes before the catalog says so, and the catalog says so before it goes. So a crash in between
leaves something that is found again, and never an upload whose bytes are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from resumable_glance.auth.delegation import Delegation
from resumable_glance.catalog.backlog import Backlog
from resumable_glance.catalog.records import OrphanedImage
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService
from resumable_glance.model.states import Event
from resumable_glance.model.upload import FailureReason, Upload
from resumable_glance.runtime.clock import SteadyClock
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import UploadStorage

LOG = logging.getLogger(__name__)
AGAIN = 600.0  # seconds until an image that could not be removed is tried again
JUMP = 5.0  # seconds: by less than this NTP may slew a clock between two looks at it


class Cleaner:
    """`busy` tells whether somebody writes to an upload right now."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        scratch: UploadStorage,
        sink: ImageService,
        delegation: Delegation,
        clock: Callable[[], float],
        busy: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._backlog = Backlog(catalog)
        self._scratch = scratch
        self._sink = sink
        self._delegation = delegation
        self._clock = clock
        self._busy = busy

    async def open(self) -> None:
        """At the start, before any request: what a crash left goes, and the time since then does not count."""
        await self._backlog.resume(self._settings.service.instance, self._clock())
        holding = await self._backlog.holding()
        async for name in self._scratch.uploads():
            if name not in holding:
                LOG.info("removing scratch of %s, which nothing needs any more", name)
                await self._scratch.remove(name)

    async def tidy(self) -> None:
        """Now and then. After a failure the next one goes on, or, with scratch, the next start."""
        await self._follow_clock()
        now = self._clock()
        for upload in await self._backlog.lapsed(now):
            if not self._busy(upload.id) and await self._catalog.end(upload.id, Event.EXPIRED, now):
                LOG.info("upload %s expired after %d bytes", upload.id, upload.received)
                await self.clear(upload)
        for leftover in await self._backlog.leftovers(now):
            if not await self._remove_image(leftover):
                break  # the others would fail too, and people wait for Glance
        await self._delegation.tidy()
        await self._backlog.forget(now - self._settings.service.record_retention)
        await self._backlog.beat(self._settings.service.instance, now)

    async def clear(self, upload: Upload) -> None:
        """Free what an upload that has ended leaves: its scratch, and the image that was made for it."""
        for each in upload.files:
            await self._scratch.remove(each)
        for image_id in upload.images:
            for leftover in await self._backlog.leftovers(self._clock(), image_id):
                await self._remove_image(leftover)
        await self._delegation.tidy()

    async def _remove_image(self, leftover: OrphanedImage) -> bool:
        """Whether the sink could be asked."""
        image_id = leftover.image.id
        try:
            actor = Actor(leftover.owner, await self._delegation.token_for(leftover))
            await self._sink.discard(leftover.image, actor)
        except DeliveryFailed as failed:
            LOG.warning("image %s can't be removed yet: %s", image_id, failed)
            now = self._clock()
            await self._backlog.postpone(image_id, now + AGAIN, now - self._settings.service.record_retention)
            return failed.trouble.hitch is not FailureReason.IMAGE_SERVICE_UNAVAILABLE
        await self._backlog.cleared(image_id)
        return True

    async def _follow_clock(self) -> None:
        if isinstance(self._clock, SteadyClock) and abs(drift := self._clock.drift()) > JUMP:
            LOG.warning("the clock was set by %+.0f seconds: nothing expires earlier or later for that", drift)
            # In one step, for the catalog does one thing after the other: what was told the time before is recorded
            # before the shift, and what is told the new one after it.
            self._clock.jump(drift)
            try:
                await self._backlog.shift(drift)
            except Exception:
                self._clock.jump(-drift)
                raise
