"""Cleanup of expired uploads, needless files in storage, orphaned images, needless trusts and old records.

The catalog records that something is needless before it is removed. So after a crash in between it is found again, and
no upload ever lacks its bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from resumable_glance.auth.base import Identity
from resumable_glance.auth.delegation import Delegation
from resumable_glance.catalog import Catalog
from resumable_glance.catalog.orphans import OrphanedImage, OrphanedImages
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService
from resumable_glance.model.states import Event
from resumable_glance.model.upload import FailureReason, Upload
from resumable_glance.runtime.clock import SteadyClock
from resumable_glance.runtime.config import ServiceSettings
from resumable_glance.storage.base import UploadStorage
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)
RETRY_INTERVAL = 600.0  # seconds until the deletion of an image is tried again
CLOCK_JUMP = 5.0  # seconds; NTP slews a clock by less between two cleanups


@dataclass(frozen=True)
class OrphanRemover:
    """Deletes orphaned images on behalf of their owners.

    An image that can't be deleted is given up after `retention` seconds. `clock` gives seconds since the epoch.
    """

    orphans: OrphanedImages
    images: ImageService
    delegation: Delegation
    retention: float
    clock: Callable[[], float]

    async def remove_due(self) -> None:
        """Delete all images that are due, as long as the image service answers."""
        for orphan in await self.orphans.due(self.clock()):
            if not await self._remove(orphan):
                break  # the others would fail too
        await self.delegation.tidy()

    async def remove_of(self, upload: Upload) -> None:
        """Delete the orphaned images of an upload."""
        for image_id in upload.images:
            for orphan in await self.orphans.due(self.clock(), image_id):
                await self._remove(orphan)
        await self.delegation.end_trusts()

    async def _remove(self, orphan: OrphanedImage) -> bool:
        """Delete an image, or postpone that; return whether the image service answered."""
        image_id, token = orphan.image.id, await self.delegation.token_for(orphan)
        try:
            actor = Actor(orphan.owner, token)
            await self.images.delete(orphan.image, actor)
        except DeliveryFailed as failed:
            LOG.warning("image %s can't be deleted yet: %s", image_id, failed)
            if failed.error.reason is FailureReason.TOKEN_EXPIRED:
                await self.delegation.refused_for(orphan, token)
            now = self.clock()
            await self.orphans.postpone(image_id, now + RETRY_INTERVAL, now - self.retention)
            return failed.error.reason is not FailureReason.IMAGE_SERVICE_UNAVAILABLE
        await self.orphans.remove(image_id)
        return True


@dataclass(frozen=True)
class Cleaner:
    """Cleans up at the start, regularly, and after uploads. `clock` gives seconds since the epoch."""

    catalog: Catalog
    storage: UploadStorage
    orphans: OrphanRemover
    locks: WriteLocks
    settings: ServiceSettings
    clock: Callable[[], float]

    async def open(self) -> None:
        """Remove what a crash has left. To be awaited before the first request."""
        await self.catalog.instances.resume(self.settings.instance, self.clock())
        needed = await self.catalog.uploads.in_storage()
        async for name in self.storage.uploads():
            if name not in needed:
                LOG.info("removing %s from scratch, since no upload needs it", name)
                await self.storage.remove(name)

    async def tidy(self) -> None:
        """Clean up. To be called regularly: what fails is done by a later call, or by the next start."""
        await self._follow_clock()
        now = self.clock()
        for upload in await self.catalog.uploads.expired(now):
            if not self.locks.held(upload.id) and await self.catalog.uploads.end(upload.id, Event.EXPIRED, now):
                LOG.info("upload %s expired while it was %s, with %d bytes", upload.id, upload.state, upload.received)
                await self.clear(upload)
        await self.orphans.remove_due()
        await self.catalog.uploads.purge(now - self.settings.record_retention)
        await self.catalog.instances.beat(self.settings.instance, now)

    async def cancel(self, upload: Upload, identity: Identity) -> None:
        """Cancel an upload and free what it holds. Raises as UploadRecords.end()."""
        token = identity.token if identity.owner == upload.owner else None
        credential = self.orphans.delegation.encrypt(token, identity.expires_at)
        await self.catalog.uploads.end(upload.id, Event.CANCELLED, self.clock(), credential)
        await self.clear(upload)

    async def clear(self, upload: Upload) -> None:
        """Free what an ended upload holds: its storage, and its orphaned images."""
        for each in upload.files:
            await self.storage.remove(each)
        await self.orphans.remove_of(upload)

    async def _follow_clock(self) -> None:
        if isinstance(self.clock, SteadyClock) and abs(drift := self.clock.drift()) > CLOCK_JUMP:
            LOG.warning("the clock was set by %+.0f seconds; recorded times are moved along", drift)
            # Transactions run in the order of their calls: those with a time from before the jump run before the
            # shift, all others after it.
            self.clock.jump(drift)
            try:
                await self.catalog.instances.shift(drift)
            except Exception:
                self.clock.jump(-drift)
                raise
