"""The commands that show uploads: Get, Watch, List, ListStores, Read and GetReceipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resumable_glance.auth.base import Right
from resumable_glance.auth.signing import ReceiptSigner
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.reader import ContentReader
from resumable_glance.images.base import DeliveryFailed, ImageService
from resumable_glance.model import commands
from resumable_glance.model.attestation import statement
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.upload import FailureReason, Upload, check_alive
from resumable_glance.uploads.authorization import Authorization
from resumable_glance.uploads.call import Call
from resumable_glance.uploads.completion import Completion
from resumable_glance.uploads.write_locks import WriteLocks


@dataclass(frozen=True)
class InspectUseCases:
    """The commands Get, Watch and List. `progress` has the bytes given to the image service, by upload."""

    uploads: UploadRecords
    authorization: Authorization
    locks: WriteLocks
    completion: Completion
    progress: Mapping[str, int]

    async def get(self, get: commands.Get, call: Call) -> commands.UploadFound:
        """Return the state and durable ranges of an upload."""
        identity = call.identity
        upload = await self.authorization.get(get.upload_id, identity, Right.GET_ANY)
        if upload.owner != identity.owner:  # an upload of another owner is not changed
            return await self.watch(commands.Watch(upload.id), call)
        check_alive(upload)
        if get.taking_over and self.locks.held(upload.id):
            await self.locks.evict(Reason.SUPERSEDED, upload.id)
        error = upload.delivery.last_error
        waits = error is not None and error.reason is FailureReason.TOKEN_EXPIRED
        if waits and upload.state in WITH_HANDOFF and identity.scope is None:
            await self.completion.renew_token(upload, identity)  # the caller's token is valid
        upload, durable = await self.uploads.get_with_ranges(upload.id, commands.MAX_RANGES)
        check_alive(upload)
        if get.full_is_complete:  # checked last, since its last byte or its size may have come just now
            upload = await self.completion.complete(upload, identity)
        return commands.UploadFound(upload, tuple(durable), self.progress.get(upload.id, 0))

    async def watch(self, watch: commands.Watch, call: Call) -> commands.UploadFound:
        """Return the same without any change of the upload."""
        upload = await self.authorization.get(watch.upload_id, call.identity, Right.GET_ANY)
        if not watch.again:  # a subscriber is told how the upload ended
            check_alive(upload)
        upload, durable = await self.uploads.get_with_ranges(upload.id, commands.MAX_RANGES)
        upload = self.authorization.effective(upload)
        return commands.UploadFound(upload, tuple(durable), self.progress.get(upload.id, 0))

    async def list(self, command: commands.List, call: Call) -> commands.Listed:
        """Return a page of the caller's uploads, or of all."""
        owner = None if command.all_projects else call.identity.owner
        page = await self.uploads.page(owner, command.limit, command.marker)
        if any(map(self.authorization.is_expired, page)):  # read again, in case the clock was set in between
            page = await self.uploads.page(owner, command.limit, command.marker)
        return commands.Listed(tuple(map(self.authorization.effective, page)), command.all_projects)


@dataclass(frozen=True)
class ReadUseCases:
    """The commands Read, GetReceipt and ListStores."""

    authorization: Authorization
    content: ContentReader
    signer: ReceiptSigner
    images: ImageService

    async def read(self, read: commands.Read, call: Call) -> commands.Content:
        """Return the bytes of a complete upload. Raises Refused(UNFINISHED)."""
        upload = await self._alive(read.upload_id, call)
        if upload.state in {State.RECEIVING, State.JOINED} or upload.image is None:
            raise Refused(Reason.UNFINISHED, "This upload is not complete. Read it once it is.")
        return commands.Content(upload, await self.content.open(upload, call.actor))

    async def get_receipt(self, command: commands.GetReceipt, call: Call) -> commands.ReceiptSigned:
        """Return the receipt of an active upload. Raises Refused(UNFINISHED)."""
        receipt = statement(await self._alive(command.upload_id, call))
        return commands.ReceiptSigned(receipt, self.signer.sign(receipt))

    async def list_stores(self, _: commands.ListStores, call: Call) -> commands.StoresListed:
        """Return the stores and import methods of the cloud."""
        try:
            return commands.StoresListed(await self.images.stores(call.actor))
        except DeliveryFailed as failed:
            raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, f"{failed}", retry_after=5) from failed

    async def _alive(self, upload_id: str, call: Call) -> Upload:
        upload = await self.authorization.get(upload_id, call.identity)
        check_alive(upload)
        return upload
