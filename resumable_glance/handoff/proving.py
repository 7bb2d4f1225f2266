"""The steps that read an upload back from storage before its delivery: INSPECT and PROVE.

They take minutes for a big upload, and have threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resumable_glance.catalog.uploads import UploadRecords
from resumable_glance.handoff.reader import Readers, VerifyingReader
from resumable_glance.handoff.walk import Attempt
from resumable_glance.images.base import PIECE, DeliveryFailed
from resumable_glance.images.inspection import FormatRules, ImageRejected, Inspection, head_length, inspect_head
from resumable_glance.model.upload import FailureReason, Format, InspectionState, Upload, require
from resumable_glance.runtime.threads import Threads


@dataclass(frozen=True)
class Proving:
    """The steps INSPECT and PROVE."""

    uploads: UploadRecords
    readers: Readers
    rules: FormatRules
    threads: Threads

    async def inspect(self, attempt: Attempt) -> Upload:
        """Inspect the head of an upload, if that was impossible while receiving."""
        upload = attempt.upload

        def read_head(reader: VerifyingReader) -> Format:
            length, head = head_length(upload.size), b""
            while len(head) < length:
                head += reader.read(PIECE)
            return inspect_head(head[:length], require(upload.format), upload.size, self.rules)

        async with self.readers.open(upload, attempt.stop) as reader:
            format = await self._run(read_head, reader)
        return await self.uploads.update(upload.id, format=format)

    async def prove(self, attempt: Attempt) -> Upload:
        """Compute the digests of all bytes, and complete their inspection."""
        upload = attempt.upload

        def read_all(reader: VerifyingReader) -> Format | None:
            if upload.format is None or upload.format.inspection is not InspectionState.PARTIAL:
                while reader.read(PIECE):
                    pass
                return upload.format
            inspection = Inspection(upload.format, upload.size, self.rules)
            while piece := reader.read(PIECE):
                inspection.update(piece)
            return inspection.finish()

        async with self.readers.open(upload, attempt.stop) as reader:
            format = await self._run(read_all, reader)
        if mismatches := reader.mismatches():
            raise DeliveryFailed(
                FailureReason.DIGEST_MISMATCH,
                f"The {' and '.join(mismatches)} of the received bytes is not the declared one. The image was never "
                "active in Glance. The bytes are kept until this upload is cancelled.",
                final=True,
            )
        return await self.uploads.update(upload.id, format=format, proof=reader.proof())

    async def _run(self, work: Callable[[VerifyingReader], Format | None], reader: VerifyingReader) -> Format | None:
        try:
            return await self.threads.run(work, reader)
        except ImageRejected as rejected:
            raise DeliveryFailed(rejected.reason, rejected.detail, final=True) from rejected
