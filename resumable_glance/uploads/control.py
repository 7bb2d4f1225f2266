"""The commands Cancel, Retry, IssueTicket and RevokeTickets."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from resumable_glance.auth.base import Right
from resumable_glance.auth.tickets import Tickets
from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.plan import can_be_retried, needs_another_image
from resumable_glance.handoff.worker import HandoffWorker
from resumable_glance.model import commands
from resumable_glance.model.states import Event, State
from resumable_glance.model.upload import check_alive, require
from resumable_glance.uploads.authorization import Authorization
from resumable_glance.uploads.call import Call
from resumable_glance.uploads.cleanup import Cleaner
from resumable_glance.uploads.completion import Completion
from resumable_glance.uploads.inspect import InspectUseCases
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CancelUseCase:
    """The command Cancel."""

    authorization: Authorization
    locks: WriteLocks
    handoff: HandoffWorker
    cleaner: Cleaner

    async def cancel(self, cancel: commands.Cancel, call: Call) -> commands.Cancelled:
        """Cancel an upload, and delete its bytes and image. Raises Refused(SEALED) once it is active."""
        upload = await self.authorization.get(cancel.upload_id, call.identity, Right.CANCEL_ANY)
        await self.locks.evict(Reason.CANCELLED, upload.id)
        async with self.handoff.paused(upload.id):
            upload = await self.authorization.get(upload.id, call.identity, Right.CANCEL_ANY)
            if upload.state is State.ACTIVE:
                sentence = "The image is active. Delete it in Glance if it is not wanted any more."
                raise Refused(Reason.SEALED, sentence, state=upload.state)
            if upload.state is State.EXPIRED:
                check_alive(upload)
            await self.cleaner.cancel(upload, call.identity)
        LOG.info("upload %s was cancelled", upload.id)
        return commands.Cancelled(upload.id)


@dataclass(frozen=True)
class RetryUseCase:
    """The command Retry. `clock` gives seconds since the epoch."""

    uploads: UploadRecords
    authorization: Authorization
    completion: Completion
    inspect: InspectUseCases
    clock: Callable[[], float]

    async def retry(self, retry: commands.Retry, call: Call) -> commands.UploadFound:
        """Retry a failed or waiting handoff now, with the caller's token.

        Raises Refused: UNFINISHED, JOINED, or USELESS if the upload would fail again.
        """
        upload = await self.authorization.get(retry.upload_id, call.identity)
        check_alive(upload)
        if upload.state is State.RECEIVING:
            raise Refused(Reason.UNFINISHED, "This upload is not complete. Send the missing bytes first.")
        if upload.state is State.JOINED:
            raise Refused(Reason.JOINED, "This upload was joined into another one. Retry that one.")
        if upload.state is State.FAILED:
            if not can_be_retried(upload):
                detail = require(upload.delivery.last_error).detail
                raise Refused(Reason.USELESS, f"Another try would fail in the same way. {detail}")
            successor = str(uuid.uuid4()) if needs_another_image(upload) else None
            upload = await self.uploads.transition(
                upload.id, Event.RETRIED, self.clock(), successor=successor, attempts=0, last_error=None
            )
            LOG.info("upload %s is tried again", upload.id)
        await self.completion.renew_token(upload, call.identity)
        return await self.inspect.get(commands.Get(upload.id), call)


@dataclass(frozen=True)
class TicketUseCases:
    """The commands IssueTicket and RevokeTickets."""

    uploads: UploadRecords
    authorization: Authorization
    completion: Completion
    tickets: Tickets
    locks: WriteLocks

    async def issue(self, issue: commands.IssueTicket, call: Call) -> commands.TicketIssued:
        """Return a new ticket, and keep the caller's token for the handoff."""
        upload = await self.authorization.get(issue.upload_id, call.identity)
        check_alive(upload)
        await self.completion.renew_token(upload, call.identity)
        return commands.TicketIssued(self.tickets.issue(upload))

    async def revoke(self, revoke: commands.RevokeTickets, call: Call) -> commands.TicketsRevoked:
        """Revoke all tickets of an upload, and interrupt the requests that write to it."""
        upload = await self.authorization.get(revoke.upload_id, call.identity)
        await self.uploads.revoke_tickets(upload.id)
        await self.locks.evict(Reason.SUPERSEDED, upload.id)
        LOG.info("the tickets of upload %s were revoked", upload.id)
        return commands.TicketsRevoked(upload.id)
