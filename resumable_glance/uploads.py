"""What can be done with uploads: one command in, one outcome out.

Its one rule: whoever does not own an upload can't tell it from one that does not exist.
HTTP, dialects and the handoff are not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from resumable_glance.auth import Identity
from resumable_glance.auth.vault import Vault
from resumable_glance.catalog import Catalog
from resumable_glance.chunks import Body, Intake, Leases, scratch_failure
from resumable_glance.config import Settings
from resumable_glance.errors import Reason, Refused
from resumable_glance.protocol.commands import (
    Append,
    Appended,
    Chunk,
    Command,
    Create,
    Created,
    Discard,
    Discarded,
    Inspect,
    Inspected,
    Outcome,
    Survey,
    Surveyed,
    check_order,
    place_of,
)
from resumable_glance.protocol.ranges import Range, merge
from resumable_glance.protocol.upload import (
    HOLDING_SCRATCH,
    WITH_HANDOFF,
    Event,
    Extent,
    Hitch,
    IllegalTransition,
    State,
    Trouble,
    Upload,
    check_alive,
    lapsed,
)
from resumable_glance.scratch import Scratch
from resumable_glance.sinks import Actor, DeliveryFailed, Sink

LOG = logging.getLogger(__name__)


class HandoffPort(Protocol):
    """What uploads need of the handoff (which stands above them)."""

    @property
    def progress(self) -> Mapping[str, int]:
        """Bytes that the sink has been given, by upload."""

    def wake(self) -> None:
        """There may be something to do."""

    def halted(self, upload_id: str) -> AbstractAsyncContextManager[None]:
        """Inside, nobody works on the upload; a delivery that runs is broken off first."""


class Uploads:
    """All uploads of this instance. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        scratch: Scratch,
        sink: Sink,
        vault: Vault,
        handoff: HandoffPort,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._scratch = scratch
        self._sink = sink
        self._vault = vault
        self._handoff = handoff
        self._clock = clock
        self._leases = Leases(settings.idle_timeout)
        self._admission = asyncio.Lock()
        self._closing = False

    async def perform(self, command: Command, identity: Identity, body: Body, request_id: str | None = None) -> Outcome:
        """Carry out a command. Refused with the reason why not."""
        try:
            return await self._perform(command, identity, body, request_id)
        except IllegalTransition:
            raise Refused(Reason.SEALED, "The upload has moved on meanwhile. Ask where it is.") from None
        except OSError as problem:  # of scratch or of the catalog, whatever was being done
            raise scratch_failure(problem) from problem

    async def _perform(self, command: Command, identity: Identity, body: Body, request_id: str | None) -> Outcome:
        match command:
            case Create(first=chunk):
                created = await self._create(command, identity, request_id)
                return created if chunk is None else await self._begun(created.upload.id, chunk, identity, body)
            case Append():
                return await self._append(command, identity, body)
            case Inspect(upload_id, taking_over):
                return await self._inspect(upload_id, taking_over, identity)
            case Discard():
                return await self._discard(command.upload_id, identity, request_id)
            case Survey():
                found = await self._catalog.owned(identity.owner, command.limit, command.marker)
                return Surveyed(tuple(found))

    async def close(self) -> None:
        """Take no more bytes: running requests keep what they have and are told to come back."""
        self._closing = True
        await self._leases.evict(Reason.CLOSING)

    async def tidy(self) -> None:
        """Let go of uploads that nobody continued, and of records that nobody will ask for."""
        now = self._clock()
        for upload in await self._catalog.lapsed(now):
            if self._leases.held(upload.id):
                continue  # somebody is sending right now
            actor = Actor(upload.owner, await self._token(upload.id))
            if await self._catalog.lapse(upload.id, now):
                await self._freed(upload, actor)
                LOG.info("upload %s expired after %d of %d bytes", upload.id, upload.received, upload.size)
        await self._catalog.forget(now - self._settings.record_retention)

    async def sweep(self) -> None:
        """At the start, before any request: free what a crash left on scratch without an owner."""
        async for upload_id in self._scratch.uploads():
            upload = await self._catalog.get(upload_id)
            if upload is None or upload.state not in HOLDING_SCRATCH:
                LOG.info("removing scratch of %s, which nothing needs any more", upload_id)
                await self._scratch.remove(upload_id)

    async def _create(self, create: Create, identity: Identity, request_id: str | None) -> Created:
        self._check_open()
        self._check_size(create.size)
        await self._check_space(create.size)  # before an image is made in vain
        actor = Actor(identity.owner, identity.token, request_id)
        image = await self._sink.prepare(create.image, create.size, actor)
        now = self._clock()
        upload = Upload(
            id=f"{self._settings.instance}-{secrets.token_hex(16)}",
            owner=identity.owner,
            size=create.size,
            state=State.RECEIVING if create.size else State.SEALED,
            image=image,
            declared=create.declared,
            metadata=create.metadata,
            created_at=now,
            updated_at=now,
            expires_at=now + self._settings.upload_expiry,
        )
        try:
            await self._admit(upload, self._vault.close(identity.token))
        except BaseException:
            if not image.adopted:
                await self._remove_image(upload, actor)
            raise
        LOG.info("upload %s: %d bytes for image %s", upload.id, upload.size, image.id)
        if upload.state is State.SEALED:
            self._handoff.wake()
        return Created(upload)

    async def _begun(self, upload_id: str, chunk: Chunk, identity: Identity, body: Body) -> Created:
        """The first chunk of an upload whose address the client does not know yet: if it fails, both are gone."""
        try:
            return Created((await self._append(Append(upload_id, chunk), identity, body)).upload)
        except (Refused, OSError):
            with contextlib.suppress(Refused, OSError):
                await self._discard(upload_id, identity, None)
            raise

    async def _admit(self, upload: Upload, credential: bytes | None) -> None:
        async with self._admission:  # two creations must not be promised the same space
            await self._check_space(upload.size)
            try:
                await self._scratch.create(upload.id, upload.size)
                await self._catalog.add(upload, credential)
            except OSError:
                with contextlib.suppress(OSError):  # else the next start does it
                    await self._scratch.remove(upload.id)
                raise

    async def _append(self, append: Append, identity: Identity, body: Body) -> Appended:
        self._check_open()
        chunk = append.chunk
        place = place_of(await self._owned(append.upload_id, identity), append)
        if chunk.in_order:
            await self._leases.evict(Reason.SUPERSEDED, append.upload_id)
        async with self._leases.hold(append.upload_id, place) as lease:
            self._check_open()  # a stop that came before the lease has not seen it; one that comes now ends it
            check_order(await self._owned(append.upload_id, identity), chunk)
            known = await self._catalog.extents(append.upload_id, place)

            async def commit(new: list[Extent]) -> None:
                now = self._clock()
                grown = await self._catalog.commit(append.upload_id, new, now, now + self._settings.upload_expiry)
                if grown.state is State.SEALED:
                    await self._sealed(grown, identity)

            try:
                async with self._scratch.open(append.upload_id) as file:
                    durable = [each.range for each in known]
                    await Intake(chunk, place, durable, file, commit, self._settings.commit_size).run(body, lease)
            except FileNotFoundError:
                return Appended(await self._repeated(append, place, known, identity))
        return Appended(await self._owned(append.upload_id, identity))

    async def _repeated(self, append: Append, place: Range, known: list[Extent], identity: Identity) -> Upload:
        """A chunk that comes again after scratch was freed: the answer is the old one if it is provably the same."""
        upload = await self._owned(append.upload_id, identity)
        check_alive(upload)
        if upload.state is State.RECEIVING:
            upload = await self._lost(upload)
        if upload.trouble is not None and upload.trouble.hitch is Hitch.SCRATCH_LOST:
            raise Refused(Reason.LOST, upload.trouble.detail)
        if place.length == 0 or any(Extent(place, each) in known for each in append.chunk.declared):
            return upload
        raise Refused(
            Reason.SEALED, f"This upload has all of its bytes and is {upload.state}. There is nothing left to send.",
            offset=upload.offset, state=upload.state,
        )  # fmt: skip

    async def _lost(self, upload: Upload) -> Upload:
        LOG.error("the scratch file of upload %s is gone: was the disk replaced, or tidied by hand?", upload.id)
        sentence = "The service has lost the bytes of this upload. Create a new one."
        trouble = Trouble(Hitch.SCRATCH_LOST, sentence)
        return await self._catalog.happen(upload.id, Event.REFUTED, self._clock(), trouble=trouble)

    async def _sealed(self, upload: Upload, identity: Identity) -> None:
        # The token that sealed it is the freshest there is: the handoff goes on with it after a restart.
        await self._catalog.bind(upload.id, self._vault.close(identity.token), due=self._clock())
        LOG.info("upload %s is sealed: %d bytes", upload.id, upload.size)
        self._handoff.wake()

    async def _inspect(self, upload_id: str, taking_over: bool, identity: Identity) -> Inspected:
        upload = await self._owned(upload_id, identity)
        check_alive(upload)
        if taking_over and self._leases.held(upload_id):
            await self._leases.evict(Reason.SUPERSEDED, upload_id)
            upload = await self._owned(upload_id, identity)
        if upload.trouble is not None and upload.trouble.hitch == Hitch.TOKEN_EXPIRED and upload.state in WITH_HANDOFF:
            await self._sealed(upload, identity)  # whoever asks shows a token that is valid right now
        extents = await self._catalog.extents(upload_id)
        durable = tuple(merge(each.range for each in extents))
        return Inspected(upload, durable, self._handoff.progress.get(upload_id, 0))

    async def _discard(self, upload_id: str, identity: Identity, request_id: str | None) -> Discarded:
        await self._leases.evict(Reason.CANCELLED, (await self._owned(upload_id, identity)).id)
        async with self._handoff.halted(upload_id):
            upload = await self._owned(upload_id, identity)
            if upload.state is State.ACTIVE:
                sentence = "The image is active. Delete it in Glance if it is not wanted any more."
                raise Refused(Reason.SEALED, sentence, state=upload.state)
            if upload.state is State.EXPIRED:
                check_alive(upload)
            await self._catalog.happen(upload_id, Event.DISCARDED, self._clock())
            await self._freed(upload, Actor(identity.owner, identity.token, request_id))
        LOG.info("upload %s was cancelled", upload_id)
        return Discarded(upload_id)

    async def _freed(self, upload: Upload, actor: Actor) -> None:
        """What an upload that has ended leaves: its scratch, and the image that was made for it."""
        await self._scratch.remove(upload.id)
        if not upload.image.adopted:
            await self._remove_image(upload, actor)

    async def _remove_image(self, upload: Upload, actor: Actor) -> None:
        try:
            await self._sink.discard(upload.image, actor)
        except DeliveryFailed as failed:
            LOG.warning("image %s of upload %s is left behind: %s", upload.image.id, upload.id, failed)

    async def _owned(self, upload_id: str, identity: Identity) -> Upload:
        upload = await self._catalog.get(upload_id)
        if upload is None or upload.owner != identity.owner:
            raise Refused(Reason.UNKNOWN_UPLOAD, "There is no such upload.")
        if lapsed(upload, self._clock()):
            raise Refused(Reason.EXPIRED, "This upload has expired. Create a new one.")
        return upload

    async def _token(self, upload_id: str) -> str | None:
        return self._vault.open(await self._catalog.credential(upload_id))

    def _check_open(self) -> None:
        if self._closing:
            raise Refused(Reason.CLOSING, "The service is being restarted. Try again in a moment.", retry_after=1)

    def _check_size(self, size: int) -> None:
        if size > self._settings.max_upload_size:
            raise Refused(
                Reason.UPLOAD_TOO_LARGE,
                f"An upload may have at most {self._settings.max_upload_size} bytes; this one has {size}.",
                limit=self._settings.max_upload_size,
            )

    async def _check_space(self, size: int) -> None:
        free = await self._scratch.free()
        if size > free - self._settings.headroom - await self._catalog.promised():
            raise Refused(
                Reason.NO_SPACE, f"There is no space for {size} more bytes right now. Try later.", retry_after=300
            )
