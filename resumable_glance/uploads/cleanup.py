"""Cleanup: expired uploads, bytes in storage that no upload needs, orphaned images, trusts and old records.

Nothing is removed before the catalog says that it may be, and the catalog says so first. So a crash in between leaves
something that is found again, and never an upload whose bytes are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

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
RETRY_INTERVAL = 600.0  # seconds until the removal of an image is tried again
CLOCK_JUMP = 5.0  # seconds: NTP may slew a clock by less between two looks at it


class OrphanRemover:
    """Removes orphaned images as their owners. `retention` in seconds; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        orphans: OrphanedImages,
        images: ImageService,
        delegation: Delegation,
        retention: float,
        clock: Callable[[], float],
    ) -> None:
        self._orphans = orphans
        self._images = images
        self._delegation = delegation
        self._retention = retention
        self._clock = clock

    def credential(self, identity: Identity, upload: Upload) -> bytes | None:
        """Return what an upload's images are to be removed with; None: with what is recorded."""
        return self._delegation.encrypt(identity.token if identity.owner == upload.owner else None)

    async def remove_due(self) -> None:
        """Remove all images that are due, until the image service does not answer."""
        for orphan in await self._orphans.due(self._clock()):
            if not await self._remove(orphan):
                break  # the others would fail too, and people wait for Glance
        await self._delegation.tidy()

    async def remove_of(self, upload: Upload) -> None:
        """Remove the images of an upload that has ended, as far as they are orphans."""
        for image_id in upload.images:
            for orphan in await self._orphans.due(self._clock(), image_id):
                await self._remove(orphan)
        await self._delegation.tidy()

    async def _remove(self, orphan: OrphanedImage) -> bool:
        """Remove an image, or postpone that; return whether the image service answered."""
        image_id = orphan.image.id
        try:
            actor = Actor(orphan.owner, await self._delegation.token_for(orphan))
            await self._images.delete(orphan.image, actor)
        except DeliveryFailed as failed:
            LOG.warning("image %s can't be removed yet: %s", image_id, failed)
            now = self._clock()
            await self._orphans.postpone(image_id, now + RETRY_INTERVAL, now - self._retention)
            return failed.error.reason is not FailureReason.IMAGE_SERVICE_UNAVAILABLE
        await self._orphans.remove(image_id)
        return True


class Cleaner:
    """Cleans up at the start, now and then, and after an upload has ended. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        catalog: Catalog,
        storage: UploadStorage,
        orphans: OrphanRemover,
        locks: WriteLocks,
        settings: ServiceSettings,
        clock: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._storage = storage
        self._orphans = orphans
        self._locks = locks
        self._settings = settings
        self._clock = clock

    async def open(self) -> None:
        """Remove what a crash has left, before any request; the time since then does not count."""
        await self._catalog.instances.resume(self._settings.instance, self._clock())
        needed = await self._catalog.uploads.in_storage()
        async for name in self._storage.uploads():
            if name not in needed:
                LOG.info("removing scratch of %s, which no upload needs", name)
                await self._storage.remove(name)

    async def tidy(self) -> None:
        """Clean up; to be called now and then. What fails is done by the next call, or by the next start."""
        await self._follow_clock()
        now = self._clock()
        for upload in await self._catalog.uploads.expired(now):
            if not self._locks.held(upload.id) and await self._catalog.uploads.end(upload.id, Event.EXPIRED, now):
                LOG.info("upload %s expired after %d bytes", upload.id, upload.received)
                await self.clear(upload)
        await self._orphans.remove_due()
        await self._catalog.uploads.purge(now - self._settings.record_retention)
        await self._catalog.instances.beat(self._settings.instance, now)

    async def cancel(self, upload: Upload, identity: Identity) -> None:
        """Let an upload be cancelled, and free what it holds. IllegalTransition, Refused as UploadRecords.end."""
        credential = self._orphans.credential(identity, upload)
        await self._catalog.uploads.end(upload.id, Event.CANCELLED, self._clock(), credential)
        await self.clear(upload)

    async def clear(self, upload: Upload) -> None:
        """Free what an upload that has ended holds: its storage, and the images that were made for it."""
        for each in upload.files:
            await self._storage.remove(each)
        await self._orphans.remove_of(upload)

    async def _follow_clock(self) -> None:
        if isinstance(self._clock, SteadyClock) and abs(drift := self._clock.drift()) > CLOCK_JUMP:
            LOG.warning("the clock was set by %+.0f seconds: nothing expires earlier or later for that", drift)
            # In one step, for transactions run one after the other: what was told the time before is recorded before
            # the shift, and what is told the new one after it.
            self._clock.jump(drift)
            try:
                await self._catalog.instances.shift(drift)
            except Exception:
                self._clock.jump(-drift)
                raise
