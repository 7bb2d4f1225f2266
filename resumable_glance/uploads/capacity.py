"""Limits of projects, and storage that is promised to uploads.

The promises to all uploads together never exceed the storage that there is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append
from resumable_glance.model.preconditions import declare, target_of, total_of
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Owner, Upload
from resumable_glance.runtime.config import Settings
from resumable_glance.runtime.rate_limit import RateLimiter
from resumable_glance.storage.base import UploadStorage


@dataclass(frozen=True)
class Capacity:
    """Limits and free storage. `attempts` counts those to create uploads, by project."""

    uploads: UploadRecords
    storage: UploadStorage
    settings: Settings
    attempts: RateLimiter
    _promising: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)  # so that no space is promised twice

    def count_attempt(self, owner: Owner) -> None:
        """Count an attempt to create an upload, whatever becomes of it. Raises Refused: OVER_LIMIT."""
        self.attempts.take(owner.project_id)

    async def check_creation(self, owner: Owner, size: int) -> None:
        """Raise Refused (UPLOAD_TOO_LARGE, OVER_LIMIT, NO_SPACE) if an upload of this size can't be created."""
        self.check_size(size)
        await self._check_limits(owner)
        await self._check_storage(owner, size)

    @contextlib.asynccontextmanager
    async def promised(self, owner: Owner, size: int, *, creates: bool = False) -> AsyncIterator[None]:
        """Check that an owner may be promised `size` more bytes, exclusively inside. Raises as check_creation()."""
        async with self._promising:
            await self._check_storage(owner, size)
            if creates:
                await self._check_limits(owner)
            yield

    def target_of(self, upload: Upload, append: Append) -> Range:
        """Return the range that a chunk may fill. Raises Refused as preconditions.target_of()."""
        return target_of(upload, append, self.settings.service.max_chunk_size)

    async def reserve(self, upload: Upload, append: Append, target: Range) -> Upload:
        """Record what a chunk declares of the whole, and promise its storage.

        Raises Refused: as preconditions.declare(), SEALED, UPLOAD_TOO_LARGE, NO_SPACE, OVER_LIMIT.
        """
        declared = declare(upload, total_of(append), append.declared)
        if declared == upload and upload.size is not None:
            return upload
        if upload.state is not State.RECEIVING:
            raise Refused(Reason.SEALED, f"This upload is {upload.state}. Nothing more can be declared of it.")
        needed = max(target.stop if declared.size is None else declared.size, upload.reserved)
        self.check_size(needed)
        async with self.promised(upload.owner, needed - upload.reserved):
            if declared != upload:
                return await self.uploads.declare(upload.id, declared.size, append.declared)
            await self.uploads.reserve(upload.id, needed)
        return upload

    def check_size(self, size: int) -> None:
        """Raise Refused(UPLOAD_TOO_LARGE) if an upload may not have `size` bytes."""
        if size > (most := self.settings.service.max_upload_size):
            sentence = f"An upload may have at most {most} bytes; this one has {size}."
            raise Refused(Reason.UPLOAD_TOO_LARGE, sentence, limit=most)

    async def check_space(self, size: int) -> int:
        """Return the bytes that are promised to nobody. Raises Refused(NO_SPACE) if these are less than `size`."""
        promised = await self.uploads.promised() + self.settings.scratch.reserved_space
        free = max(0, await self.storage.free() - promised)
        if size > free:
            sentence = f"There is no space for {size} bytes right now. Try again later."
            raise Refused(Reason.NO_SPACE, sentence, retry_after=300)
        return free

    async def _check_storage(self, owner: Owner, size: int) -> None:
        """Raise Refused (NO_SPACE, OVER_LIMIT, UPLOAD_TOO_LARGE) if an owner can't be promised `size` more bytes."""
        free, share = await self.check_space(size), self.settings.limits.share_per_project
        if not size or share == 100:
            return
        has = (await self.uploads.usage(owner.project_id)).size
        most = (has + free) * share // 100
        if has + size > most:
            largest = ((await self.uploads.usage(None)).size + free) * share // 100
            if size > largest:  # waiting would not help
                sentence = f"An upload may have at most {largest} bytes ({share} % of the service's storage)."
                raise Refused(Reason.UPLOAD_TOO_LARGE, sentence, limit=largest)
            raise Refused(
                Reason.OVER_LIMIT,
                f"Your project has {has} bytes in unfinished uploads, and {free} are free. It may have {most} of them "
                f"({share} %), and {size} more are too many. Wait until an image is active, cancel an upload, or "
                "upload a smaller image.",
                limit=most,
                retry_after=60,
            )

    async def _check_limits(self, owner: Owner) -> None:
        most = self.settings.limits.uploads_per_project
        if not most:
            return
        usage = await self.uploads.usage(owner.project_id)
        if most <= usage.uploads:
            sentence = f"Your project has {usage.uploads} unfinished uploads, which is the limit. Finish or cancel one."
            raise Refused(Reason.OVER_LIMIT, sentence, retry_after=60)
