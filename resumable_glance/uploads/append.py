"""The command Append: one more chunk.

An upload is sealed in the transaction that records its last bytes; or later, by a request for an upload that has all of
its bytes and was left open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.inspection import ImageRejected
from resumable_glance.model.commands import Append, Appended
from resumable_glance.model.preconditions import check_not_rejected, check_offset, check_writable, repeats
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, FailureReason, Upload, check_alive
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import UploadStorage
from resumable_glance.uploads.authorization import Authorization
from resumable_glance.uploads.call import Call
from resumable_glance.uploads.capacity import Capacity
from resumable_glance.uploads.chunk_writer import ChunkWriter, Target, write_zeros
from resumable_glance.uploads.completion import Completion
from resumable_glance.uploads.format_check import FormatCheck
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChunkReceiver:
    """Writes chunks to storage, and records what is durable. `clock` gives seconds since the epoch."""

    uploads: UploadRecords
    storage: UploadStorage
    format_check: FormatCheck
    completion: Completion
    settings: Settings
    clock: Callable[[], float]

    async def receive(self, upload: Upload, append: Append, target: Target, call: Call) -> Upload | None:
        """Receive a chunk; return the upload with it, None if all of its bytes were durable before.

        Raises:
            Refused: the body was interrupted, or its bytes are not acceptable.
            FileNotFoundError: the upload's storage was freed.
        """
        chunk, head, newest, service = append.chunk, None, None, self.settings.service
        # If the client marks its last chunk, all of that must come first: see AppendUseCase._conclude.
        seals = chunk.last is None and upload.image is not None

        async def commit(new: list[Extent]) -> None:
            nonlocal newest
            now = self.clock()
            expires_at, waits_until = now + service.upload_expiry, now + service.waiting_retention
            format = None if head is None else head.format
            newest = await self.uploads.commit(
                upload.id, new, now, expires_at, seals=seals, waits_until=waits_until, format=format
            )
            await self.completion.on_progress(newest, call.identity)

        try:
            async with self.storage.open(upload.id) as file:
                if chunk.zeros:
                    await write_zeros(chunk, target, file, commit, call.body)
                else:
                    head = self.format_check.head(upload, target.range)
                    size = self.settings.scratch.commit_size
                    await ChunkWriter(chunk, target, file, commit, size, head).run(call.body)
                if head is None or head.format is None:
                    await self.format_check.look_back(upload, file)
        except ImageRejected as rejected:
            raise await self.format_check.reject(upload, rejected) from rejected
        return newest


@dataclass(frozen=True)
class AppendUseCase:
    """The command Append."""

    uploads: UploadRecords
    authorization: Authorization
    capacity: Capacity
    locks: WriteLocks
    receiver: ChunkReceiver
    completion: Completion

    async def append(self, append: Append, call: Call) -> Appended:
        """Return the upload with one more chunk. Raises Refused, or OSError from storage."""
        chunk, identity = append.chunk, call.identity
        upload = await self.authorization.get(append.upload_id, identity)
        if chunk.in_order:  # checked before any length, which may look wrong only because of the offset
            check_writable(upload)
            if self.locks.held(upload.id):  # else don't yield: the next request has to find our lock
                await self.locks.evict(Reason.SUPERSEDED, upload.id)
                upload = await self.authorization.get(upload.id, identity)
            check_offset(upload, chunk)
        range_ = self.capacity.target_of(upload, append)
        async with self.locks.hold(upload.id, range_, call.body):
            now, extents = await self.uploads.get_with_extents(upload.id, range_)
            upload = self.authorization.accessible(now, identity)
            check_offset(upload, chunk)
            upload = await self.capacity.reserve(upload, append, range_)
            return Appended(await self._receive(upload, append, Target(range_, extents), call))

    async def _receive(self, upload: Upload, append: Append, target: Target, call: Call) -> Upload:
        identity, range_ = call.identity, target.range
        try:
            grown = await self.receiver.receive(upload, append, target, call)
        except FileNotFoundError:
            empty = range_.length == 0 and await call.body.is_empty()
            same = empty or repeats(append.chunk, range_, await self.uploads.extents(upload.id, range_))
            return await self._answer_repeated(upload.id, same, call)
        except Refused as refusal:
            if refusal.reason is Reason.SUPERSEDED:  # still true: the newer request waits for this one
                refusal.facts["offset"] = (await self.authorization.get(upload.id, identity)).offset
            raise
        if grown is None or grown.state is not State.RECEIVING:  # its handoff may go on already
            grown = await self.authorization.get(upload.id, identity)
        return await self._conclude(append, grown, call)

    async def _conclude(self, append: Append, upload: Upload, call: Call) -> Upload:
        """Return the upload after a whole chunk, which may be the last one."""
        if append.chunk.last and upload.size is None:
            upload = await self.uploads.declare(upload.id, upload.received, ())
        if append.chunk.last and not upload.filled:
            raise Refused(
                Reason.WRONG_TOTAL,
                f"This chunk is marked as the last one, but {upload.received} of {upload.size} announced bytes came.",
                offset=upload.offset,
            )
        return upload if append.chunk.last is False else await self.completion.complete(upload, call.identity)

    async def _answer_repeated(self, upload_id: str, same: bool, call: Call) -> Upload:
        """Answer a repeated chunk after storage was freed."""
        upload = await self.authorization.get(upload_id, call.identity)
        check_alive(upload)
        if upload.state is State.RECEIVING:
            upload = await self.completion.lose(upload)
        check_not_rejected(upload)
        error = upload.delivery.last_error
        if error is not None and error.reason is FailureReason.SCRATCH_LOST:
            raise Refused(Reason.LOST, error.detail)
        if same:
            return upload
        sentence = f"This upload has all of its bytes and is {upload.state}. There is nothing left to send."
        raise Refused(Reason.SEALED, sentence, offset=upload.offset, state=upload.state)
