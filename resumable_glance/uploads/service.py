"""What can be done with uploads: one command in, one outcome out.

HTTP, dialects and the handoff are not known here.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable

from resumable_glance.auth.base import Identity, Right
from resumable_glance.auth.delegation import Delegation
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.signing import ReceiptSigner
from resumable_glance.auth.tickets import Tickets
from resumable_glance.auth.trusts import Trusts
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff.plan import can_be_retried, needs_another_image
from resumable_glance.handoff.reader import content
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService
from resumable_glance.model.attestation import statement
from resumable_glance.model.commands import (
    MOST_RANGES,
    Append,
    Appended,
    Cancel,
    Cancelled,
    Command,
    Content,
    Create,
    Created,
    Get,
    GetReceipt,
    IssueTicket,
    Join,
    List,
    Listed,
    ListStores,
    Outcome,
    Read,
    ReceiptSigned,
    Retry,
    RevokeTickets,
    StoresListed,
    TicketIssued,
    TicketsRevoked,
    UploadFound,
    Watch,
)
from resumable_glance.model.states import WITH_HANDOFF, Event, IllegalTransition, State
from resumable_glance.model.upload import FailureReason, Upload, check_alive, known
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import UploadStorage
from resumable_glance.uploads.append import Appending, HandoffPort
from resumable_glance.uploads.authorization import Access
from resumable_glance.uploads.body import Body
from resumable_glance.uploads.chunk_writer import storage_failure
from resumable_glance.uploads.cleanup import Cleaner
from resumable_glance.uploads.create import Creation
from resumable_glance.uploads.format_check import FormatCheck
from resumable_glance.uploads.idempotency import IdempotencyKeys, idempotency_key_of
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)


class UploadService:
    """All uploads of this instance. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        scratch: UploadStorage,
        sink: ImageService,
        vault: TokenCipher,
        handoff: HandoffPort,
        clock: Callable[[], float] = time.time,
        trusts: Trusts | None = None,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._scratch = scratch
        self._sink = sink
        self._vault = vault
        self._handoff = handoff
        self._clock = clock
        self._creation = Creation(settings, catalog, scratch, sink, vault, clock)
        self._delegation = Delegation(catalog, vault, trusts, clock)
        self.janitor = Cleaner(settings, catalog, scratch, sink, self._delegation, clock, self.busy)
        self._locks = WriteLocks()
        self._access = Access(catalog, clock, self.busy)
        self._owned = self._access.owned
        self._claims = IdempotencyKeys(catalog, self._access.seen)
        self.news = catalog.news
        self.signer = ReceiptSigner(vault)
        self.tickets = Tickets(vault, settings.tickets.lifetime, clock)
        self._appending = Appending(
            settings, catalog, scratch, vault, handoff, self._creation, self._access, self._locks,
            FormatCheck(settings, catalog, self._locks, self.janitor, clock), clock,
        )  # fmt: skip

    async def perform(self, command: Command, identity: Identity, body: Body, request_id: str | None = None) -> Outcome:
        """Carry out a command. Refused with the reason why not."""
        try:
            return await self._perform(command, identity, body, request_id)
        except IllegalTransition:
            raise Refused(Reason.SEALED, "The upload has moved on meanwhile. Ask where it is.") from None
        except (OSError, EOFError) as problem:  # of scratch or of the catalog, whatever was being done
            raise storage_failure(problem) from problem

    async def _perform(self, command: Command, identity: Identity, body: Body, request_id: str | None) -> Outcome:
        self._access.check(command, identity)
        match command:
            case Create():
                return await self._create(command, identity, body, request_id)
            case Join():
                return await self._join(command, identity, request_id)
            case Append():
                return Appended(await self._appending.append(command, identity, body))
            case Get():
                return await self._inspect(command, identity)
            case Watch():
                return await self._watch(command, identity)
            case List():
                found = await self._survey(command, identity)
                return Listed(tuple(map(self._access.seen, found)), command.all_projects)
            case ListStores():
                return await self._explore(identity, request_id)
            case _:
                return await self._perform_on(command, identity, request_id)

    async def _perform_on(
        self,
        command: Read | Retry | GetReceipt | Cancel | IssueTicket | RevokeTickets,
        identity: Identity,
        request_id: str | None,
    ) -> Outcome:
        """What needs nothing but the upload that it names."""
        match command:
            case Read():
                return await self._read(command.upload_id, identity, request_id)
            case Retry():
                return await self._retry(command.upload_id, identity)
            case GetReceipt():
                return await self._attest(command.upload_id, identity)
            case Cancel():
                return await self._discard(command.upload_id, identity, request_id)
            case IssueTicket():
                return await self._renew(command.upload_id, identity)
            case RevokeTickets():
                return await self._revoke(command.upload_id, identity)

    async def close(self) -> None:
        """Take no more bytes: running requests keep what they have and are told to come back."""
        self.news.close()
        await self._locks.close()

    def now(self) -> float:
        """What time it is for uploads, in seconds since the epoch."""
        return self._clock()

    def delivered(self, upload_id: str) -> int:
        """Bytes that the sink has been given so far."""
        return self._handoff.progress.get(upload_id, 0)

    async def check(self) -> None:
        """Refused if there is no space for another byte, or if the service is being stopped."""
        self._locks.check_open()
        await self._creation.check_space(1)

    def busy(self, upload_id: str) -> bool:
        """Whether somebody writes to an upload right now."""
        return self._locks.held(upload_id)

    async def _create(self, create: Create, identity: Identity, body: Body, request_id: str | None) -> Created:
        self._locks.check_open()
        claim = idempotency_key_of(create, identity.owner)
        async with self._claims.held(claim) as earlier:
            if earlier is not None:
                LOG.info("upload %s is asked for again", earlier.id)
                return Created(earlier, self.tickets.issue(earlier))
            upload = await self._creation.create(create, identity, request_id, claim)
            await self._delegation.begin(upload, identity)
        LOG.info("upload %s: %s bytes for image %s", upload.id, upload.size, upload.image and upload.image.id)
        if upload.state is State.SEALED:
            self._handoff.wake()
        if create.first is None:
            return Created(upload, self.tickets.issue(upload))
        try:
            upload = await self._appending.append(Append(upload.id, create.first), identity, body)
            return Created(upload, self.tickets.issue(upload))
        except (Refused, OSError):
            if claim is None:  # then the client does not know its address: nobody would ever go on with it
                with contextlib.suppress(Refused, OSError):
                    await self._discard(upload.id, identity, request_id)
            raise

    async def _join(self, join: Join, identity: Identity, request_id: str | None) -> Created:
        self._locks.check_open()
        parts = [await self._owned(each, identity) for each in join.parts]
        upload = await self._creation.join(join, parts, identity, request_id)
        await self._delegation.begin(upload, identity)
        LOG.info("upload %s: %d parts with %s bytes", upload.id, len(parts), upload.size)
        self._handoff.wake()
        return Created(upload, self.tickets.issue(upload))

    async def _inspect(self, inspect: Get, identity: Identity) -> UploadFound:
        upload = await self._owned(inspect.upload_id, identity, Right.GET_ANY)
        if upload.owner != identity.owner:  # who looks at the upload of somebody else changes nothing
            return await self._watch(Watch(upload.id), identity)
        check_alive(upload)
        if inspect.taking_over and self._locks.held(upload.id):
            await self._locks.evict(Reason.SUPERSEDED, upload.id)
        waits = upload.trouble is not None and upload.trouble.hitch is FailureReason.TOKEN_EXPIRED
        if waits and upload.state in WITH_HANDOFF and identity.only is None:
            await self._appending.bind(upload, identity)  # whoever asks shows a token that is valid right now
        upload, durable = await self._catalog.durable(upload.id, MOST_RANGES)
        check_alive(upload)
        if inspect.full_is_complete:  # of what is answered: its last byte, or its size, may have come just now
            upload = await self._appending.completed(upload, identity)
        return UploadFound(upload, tuple(durable), self.delivered(upload.id))

    async def _watch(self, watch: Watch, identity: Identity) -> UploadFound:
        self._locks.check_open()
        upload = await self._owned(watch.upload_id, identity, Right.GET_ANY)
        if not watch.again:  # who has watched it until now is told what has become of it
            check_alive(upload)
        upload, durable = await self._catalog.durable(upload.id, MOST_RANGES)
        return UploadFound(self._access.seen(upload), tuple(durable), self.delivered(upload.id))

    async def _read(self, upload_id: str, identity: Identity, request_id: str | None) -> Content:
        upload = await self._owned(upload_id, identity)
        check_alive(upload)
        if upload.state in {State.RECEIVING, State.JOINED} or upload.image is None:
            raise Refused(Reason.UNFINISHED, "This upload is not complete. Its bytes can be read once it is.")
        actor = Actor(identity.owner, identity.token, request_id)
        return Content(upload, await content(self._catalog, self._scratch, self._sink, upload, actor))

    async def _retry(self, upload_id: str, identity: Identity) -> UploadFound:
        upload = await self._owned(upload_id, identity)
        check_alive(upload)
        if upload.state is State.RECEIVING:
            raise Refused(
                Reason.UNFINISHED, "This upload is not complete. Send what is missing: then it is handed over."
            )
        if upload.state is State.JOINED:
            raise Refused(
                Reason.JOINED, "This upload was joined with others into one. Ask for another try of that one."
            )
        if upload.state is State.FAILED:
            if not can_be_retried(upload):
                raise Refused(Reason.USELESS, f"Another try would end the same way. {known(upload.trouble).detail}")
            successor = str(uuid.uuid4()) if needs_another_image(upload) else None
            anew = {"successor": successor, "attempts": 0, "trouble": None}
            upload = await self._catalog.happen(upload_id, Event.RETRIED, self._clock(), **anew)
            LOG.info("upload %s is tried again", upload_id)
        await self._appending.bind(upload, identity)
        return await self._inspect(Get(upload_id), identity)

    async def _attest(self, upload_id: str, identity: Identity) -> ReceiptSigned:
        upload = await self._owned(upload_id, identity)
        check_alive(upload)
        said = statement(upload)
        return ReceiptSigned(said, self.signer.sign(said))

    async def _discard(self, upload_id: str, identity: Identity, request_id: str | None) -> Cancelled:
        upload = await self._owned(upload_id, identity, Right.CANCEL_ANY)
        await self._locks.evict(Reason.CANCELLED, upload.id)
        async with self._handoff.halted(upload_id):
            upload = await self._owned(upload_id, identity, Right.CANCEL_ANY)
            if upload.state is State.ACTIVE:
                sentence = "The image is active. Delete it in Glance if it is not wanted any more."
                raise Refused(Reason.SEALED, sentence, state=upload.state)
            if upload.state is State.EXPIRED:
                check_alive(upload)
            # The image is removed as its owner, whoever cancels.
            credential = self._vault.close(identity.token if identity.owner == upload.owner else None)
            await self._catalog.end(upload_id, Event.CANCELLED, self._clock(), credential)
            await self.janitor.clear(upload)
        LOG.info("upload %s was cancelled", upload_id)
        return Cancelled(upload_id)

    async def _survey(self, survey: List, identity: Identity) -> list[Upload]:
        owner = None if survey.all_projects else identity.owner
        found = await self._catalog.owned(owner, survey.limit, survey.marker)
        if any(map(self._access.gone, found)):  # or the clock was set since they were looked up: so once more
            found = await self._catalog.owned(owner, survey.limit, survey.marker)
        return found

    async def _explore(self, identity: Identity, request_id: str | None) -> StoresListed:
        try:
            return StoresListed(await self._sink.offer(Actor(identity.owner, identity.token, request_id)))
        except DeliveryFailed as failed:
            raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, f"{failed}", retry_after=5) from failed

    async def _renew(self, upload_id: str, identity: Identity) -> TicketIssued:
        upload = await self._owned(upload_id, identity)
        check_alive(upload)
        await self._appending.bind(upload, identity)
        return TicketIssued(self.tickets.issue(upload))

    async def _revoke(self, upload_id: str, identity: Identity) -> TicketsRevoked:
        await self._owned(upload_id, identity)
        await self._catalog.revoke(upload_id)
        await self._locks.evict(Reason.SUPERSEDED, upload_id)  # what runs has shown its ticket before
        LOG.info("the tickets of upload %s were revoked", upload_id)
        return TicketsRevoked(upload_id)
