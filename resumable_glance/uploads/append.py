"""What chunks make of an upload: who may write now, which bytes count, and when all of them are there.

Its one rule: an upload is sealed in the transaction that names its last bytes, or by whoever asks for one that was left
open with all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from resumable_glance.auth.base import Identity
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.inspection import ImageRejected
from resumable_glance.model.commands import Append
from resumable_glance.model.preconditions import check_order, check_verdict, check_writable, known_before, place_of
from resumable_glance.model.states import Event, IllegalTransition, State
from resumable_glance.model.upload import Extent, FailureReason, LastError, Upload, check_alive
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import UploadStorage
from resumable_glance.uploads.authorization import Access
from resumable_glance.uploads.body import Body
from resumable_glance.uploads.chunk_writer import ChunkWriter, Target, write_zeros
from resumable_glance.uploads.create import Creation
from resumable_glance.uploads.format_check import FormatCheck
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)


class HandoffPort(Protocol):
    """What uploads need of the handoff (which stands above them)."""

    @property
    def progress(self) -> Mapping[str, int]:
        """Bytes that the sink has been given, by upload."""

    def wake(self) -> None:
        """There may be something to do."""

    def grown(self, upload: Upload) -> None:
        """More bytes of an upload are durable."""

    def halted(self, upload_id: str) -> AbstractAsyncContextManager[None]:
        """Inside, nobody works on the upload; a delivery that runs is broken off first."""


class Appending:
    """The use case of a chunk. `clock` returns seconds since the epoch."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        scratch: UploadStorage,
        vault: TokenCipher,
        handoff: HandoffPort,
        creation: Creation,
        access: Access,
        locks: WriteLocks,
        judge: FormatCheck,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._scratch = scratch
        self._vault = vault
        self._handoff = handoff
        self._creation = creation
        self._access = access
        self._owned = access.owned
        self._locks = locks
        self._judge = judge
        self._clock = clock

    async def append(self, append: Append, identity: Identity, body: Body) -> Upload:
        """The upload with one more chunk. Refused, or OSError from scratch."""
        chunk = append.chunk
        upload = await self._owned(append.upload_id, identity)
        if chunk.in_order:  # before any length is looked at: it may only seem wrong because the offset is
            check_writable(upload)
            if self._locks.held(upload.id):  # else no detour: requests from now on have to find our lock
                await self._locks.evict(Reason.SUPERSEDED, upload.id)
                upload = await self._owned(upload.id, identity)
            check_order(upload, chunk)
        range_ = place_of(upload, append, self._settings.service.max_chunk_size)
        async with self._locks.hold(upload.id, range_, body):
            now, extents = await self._catalog.placed(upload.id, range_)
            upload = self._access.reached(now, identity)
            check_order(upload, chunk)
            upload = await self._creation.take(upload, append, range_)
            try:
                grown = await self._take(upload, append, Target(range_, extents), identity, body)
            except FileNotFoundError:
                empty = range_.length == 0 and await body.is_empty()
                same = empty or known_before(chunk, range_, await self._catalog.extents(upload.id, range_))
                return await self._repeated(upload.id, same, identity)
            except ImageRejected as objection:
                raise await self._judge.refuted(upload, objection) from objection
            except Refused as refusal:
                if refusal.reason is Reason.SUPERSEDED:  # while the newer one still waits for us: so it is true
                    refusal.facts["offset"] = (await self._owned(upload.id, identity)).offset
                raise
            if grown is None or grown.state is not State.RECEIVING:  # it may have gone on since
                grown = await self._owned(upload.id, identity)
            return await self._concluded(append, grown, identity)

    async def _take(
        self, upload: Upload, append: Append, target: Target, identity: Identity, body: Body
    ) -> Upload | None:
        """Write a chunk; return the upload as it is now, None if nothing was new.

        Raises Refused, ImageRejected, or FileNotFoundError if the upload's storage was freed.
        """
        chunk, head, newest = append.chunk, None, None
        # Where the client says which chunk is the last one, that has to come whole first: see _concluded.
        seals = chunk.last is None and upload.image is not None

        async def commit(new: list[Extent]) -> None:
            nonlocal newest
            now = self._clock()
            expires_at = now + self._settings.service.upload_expiry
            found = None if head is None else head.found
            newest = await self._catalog.commit(upload.id, new, now, expires_at, seals=seals, found=found)
            self._handoff.grown(newest)
            if newest.state is State.SEALED:
                await self._sealed(newest, identity)

        async with self._scratch.open(upload.id) as file:
            if chunk.zeros:
                await write_zeros(chunk, target, file, commit, body)
            else:
                head = self._judge.head(upload, target.range)
                size = self._settings.scratch.commit_size
                await ChunkWriter(chunk, target, file, commit, size, head).run(body)
            if head is None or head.found is None:
                await self._judge.look_back(upload, file)
        return newest

    async def _concluded(self, append: Append, upload: Upload, identity: Identity) -> Upload:
        """The upload after a chunk that came whole, which may have said that it is the last one."""
        if append.chunk.last and upload.size is None:
            upload = await self._catalog.declare(upload.id, upload.received, ())
        if append.chunk.last and not upload.filled:
            raise Refused(
                Reason.WRONG_TOTAL,
                f"This was to be the end, but {upload.size} bytes were announced and {upload.received} came.",
                offset=upload.offset,
            )
        return upload if append.chunk.last is False else await self.completed(upload, identity)

    async def completed(self, upload: Upload, identity: Identity) -> Upload:
        """Seal an upload that has all of its bytes and was left open."""
        if upload.state is not State.RECEIVING or upload.image is None or not upload.filled:
            return upload
        try:
            upload = await self._catalog.happen(upload.id, Event.FILLED, self._clock())
        except IllegalTransition:  # somebody else did it just now
            return await self._owned(upload.id, identity)
        await self._sealed(upload, identity)
        return upload

    async def _repeated(self, upload_id: str, same: bool, identity: Identity) -> Upload:
        """A chunk that comes again after scratch was freed: the answer is the old one if it is provably the same."""
        upload = await self._owned(upload_id, identity)
        check_alive(upload)
        if upload.state is State.RECEIVING:
            upload = await self._lost(upload)
        check_verdict(upload)
        if upload.trouble is not None and upload.trouble.hitch is FailureReason.SCRATCH_LOST:
            raise Refused(Reason.LOST, upload.trouble.detail)
        if same:
            return upload
        raise Refused(
            Reason.SEALED, f"This upload has all of its bytes and is {upload.state}. There is nothing left to send.",
            offset=upload.offset, state=upload.state,
        )  # fmt: skip

    async def _lost(self, upload: Upload) -> Upload:
        LOG.error("the scratch file of upload %s is gone: was the disk replaced, or tidied by hand?", upload.id)
        sentence = "The service has lost the bytes of this upload. Create a new one."
        trouble = LastError(FailureReason.SCRATCH_LOST, sentence)
        return await self._catalog.happen(upload.id, Event.FAILED, self._clock(), trouble=trouble)

    async def _sealed(self, upload: Upload, identity: Identity) -> None:
        LOG.info("upload %s is sealed: %d bytes", upload.id, upload.size)
        await self.bind(upload, identity)

    async def bind(self, upload: Upload, identity: Identity) -> None:
        """The token that is shown now is the freshest there is: the handoff goes on with it, after a restart too.

        A ticket brings none: then it goes on with the one that was shown before.
        """
        try:
            await self._catalog.bind(upload.id, self._vault.close(identity.token), due=self._clock())
        finally:
            self._handoff.wake()  # it is sealed, whether or not there is space for the token
