"""The commands Create and Join, which make new uploads."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
from collections.abc import Callable

from resumable_glance.auth.base import Identity
from resumable_glance.auth.delegation import Delegation
from resumable_glance.auth.tickets import Tickets
from resumable_glance.catalog.idempotency_keys import IdempotencyKey
from resumable_glance.catalog.orphans import ImageOrphaned
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.worker import HandoffWorker
from resumable_glance.model.commands import Create, Created, Join
from resumable_glance.model.preconditions import check_parts
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload, check_alive
from resumable_glance.runtime.config import ServiceSettings
from resumable_glance.storage.base import UploadStorage
from resumable_glance.uploads.authorization import Authorization
from resumable_glance.uploads.call import Call
from resumable_glance.uploads.capacity import Capacity
from resumable_glance.uploads.idempotency import Idempotency, key_of
from resumable_glance.uploads.image_preparation import ImagePreparation, PreparedImage

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class NewUploads:
    """Creates the records and files of new uploads. `clock` gives seconds since the epoch."""

    uploads: UploadRecords
    storage: UploadStorage
    capacity: Capacity
    delegation: Delegation
    settings: ServiceSettings
    clock: Callable[[], float]

    def record(self, size: int | None, prepared: PreparedImage, call: Call) -> Upload:
        """Return a new upload of the caller, which is not recorded yet."""
        now = self.clock()
        return Upload(
            id=f"{self.settings.instance}-{secrets.token_hex(16)}",
            owner=call.identity.owner,
            size=size,
            state=State.RECEIVING,
            image=prepared.image,
            reserved=size or 0,
            created_at=now,
            updated_at=now,
            expires_at=now,  # set when it is recorded
            request=prepared.request,
            request_id=call.request_id,
            format=prepared.format,
        )

    async def add(self, upload: Upload, identity: Identity, key: IdempotencyKey | None) -> Upload:
        """Create the file of a new upload, and record the upload. Raises Refused as Capacity.promised()."""
        async with self.capacity.promised(upload.owner, upload.reserved, creates=True):
            token = None if upload.image is None else identity.token
            credential = self.delegation.encrypt(token, identity.expires_at)
            try:
                await self.storage.create(upload.id, upload.size or 0)
                now = self.clock()  # again: if the clock was set, recorded times were moved along
                expires_at = now + self._lifetime(upload)
                upload = dataclasses.replace(upload, created_at=now, updated_at=now, expires_at=expires_at)
                await self.uploads.add(upload, credential, key)
            except (OSError, ImageOrphaned):
                with contextlib.suppress(OSError):  # after a failure the next start does it
                    await self.storage.remove(upload.id)
                raise
        return upload

    async def join(self, upload: Upload, identity: Identity) -> None:
        """Record a new upload that takes over the bytes of its parts. Raises Refused as check_parts()."""
        upload = dataclasses.replace(upload, expires_at=upload.created_at + self._lifetime(upload))
        await self.uploads.join(upload, self.delegation.encrypt(identity.token, identity.expires_at))

    def _lifetime(self, upload: Upload) -> float:
        """Return the seconds until a new upload expires: soon, unless it has all of its bytes."""
        expiry = self.settings.upload_expiry
        if upload.state is State.SEALED:
            return self.settings.waiting_retention
        return expiry if upload.filled else min(expiry, self.settings.first_byte_expiry)


@dataclasses.dataclass(frozen=True)
class CreateUseCase:
    """The command Create."""

    new: NewUploads
    capacity: Capacity
    preparation: ImagePreparation
    idempotency: Idempotency
    starter: UploadStarter

    async def create(self, create: Create, call: Call) -> Created:
        """Create an upload, or return the one created with the same key.

        Raises Refused: KEY_REUSED, or as count_attempt() and check_creation() of Capacity, and as prepared().
        """
        self.capacity.count_attempt(call.identity.owner)
        key = key_of(create, call.identity.owner)
        async with self.idempotency.held(key) as earlier:
            if earlier is not None:
                LOG.info("upload %s is requested again", earlier.id)
                return self.starter.outcome(earlier, repeated=True)
            upload = await self._create(create, call, key)
            LOG.info("upload %s: %s bytes for image %s", upload.id, upload.size, upload.image and upload.image.id)
            return await self.starter.start(upload, call.identity)

    async def _create(self, create: Create, call: Call, key: IdempotencyKey | None) -> Upload:
        identity = call.identity
        await self.capacity.check_creation(identity.owner, create.size or 0)  # before an image is created in vain
        async with self.preparation.prepared(create.image, create.size, call.actor) as prepared:
            empty = create.size == 0 and create.first is None and prepared.image is not None
            upload = dataclasses.replace(
                self.new.record(create.size, prepared, call),
                state=State.SEALED if empty else State.RECEIVING,
                declared=create.declared,
                metadata=create.metadata,
            )
            return await self.new.add(upload, identity, key)


@dataclasses.dataclass(frozen=True)
class JoinUseCase:
    """The command Join."""

    new: NewUploads
    capacity: Capacity
    preparation: ImagePreparation
    authorization: Authorization
    uploads: UploadRecords
    starter: UploadStarter

    async def join(self, join: Join, call: Call) -> Created:
        """Join parts into a sealed upload, or return the earlier result.

        Raises Refused: as Capacity.count_attempt(), check_parts() and ImagePreparation.prepared(), UPLOAD_TOO_LARGE.
        """
        self.capacity.count_attempt(call.identity.owner)
        parts = [await self.authorization.get(each, call.identity) for each in join.parts]
        if len({each.id for each in parts}) < len(parts):
            raise Refused(Reason.MALFORMED, "A part can be in an upload only once.")
        upload = await self._earlier(parts) or await self._join(join, parts, call)
        check_alive(upload)
        LOG.info("upload %s: %d parts with %s bytes", upload.id, len(parts), upload.size)
        return await self.starter.start(upload, call.identity)

    async def _join(self, join: Join, parts: list[Upload], call: Call) -> Upload:
        try:
            size = check_parts(parts)
            self.capacity.check_size(size)
            async with self.preparation.prepared(join.image, size, call.actor) as prepared:
                upload = dataclasses.replace(
                    self.new.record(size, prepared, call),
                    state=State.SEALED,
                    metadata=join.metadata,
                    offset=size,
                    received=size,
                    parts=join.parts,
                )
                await self.new.join(upload, call.identity)
                return upload
        except Refused:
            now = [part for each in join.parts if (part := await self.uploads.get(each)) is not None]
            if earlier := await self._earlier(now):  # the same request came twice, and the other one was faster
                return earlier
            raise

    async def _earlier(self, parts: list[Upload]) -> Upload | None:
        """Return the upload that exactly these parts were joined into before, if any."""
        wholes = {each.joined_into for each in parts}
        whole = wholes.pop() if len(wholes) == 1 else None
        upload = None if whole is None else await self.uploads.get(whole)
        return upload if upload is not None and upload.parts == tuple(each.id for each in parts) else None


@dataclasses.dataclass(frozen=True)
class UploadStarter:
    """Starts recorded uploads: creates a trust, wakes the handoff, issues a ticket."""

    delegation: Delegation
    handoff: HandoffWorker
    tickets: Tickets

    async def start(self, upload: Upload, identity: Identity) -> Created:
        """Start a new upload; return the outcome."""
        await self.delegation.begin(upload, identity)
        if upload.state is State.SEALED:
            self.handoff.wake()
        return self.outcome(upload)

    def outcome(self, upload: Upload, *, repeated: bool = False) -> Created:
        """Return the outcome, with a new ticket."""
        return Created(upload, self.tickets.issue(upload), repeated)
