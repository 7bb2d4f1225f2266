"""What a receipt says: that an image is the file, in our words and in the sink's. Pure; signed elsewhere."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload, Verified, known

ISSUER = "resumable-glance"


def statement(upload: Upload) -> Mapping[str, object]:
    """The receipt of an active upload, without a signature. Sizes in bytes, digests in hexadecimal, times as ISO 8601.

    Refused: UNFINISHED before it is active.
    """
    proof = upload.proof
    if upload.state is not State.ACTIVE or proof is None:
        raise Refused(
            Reason.UNFINISHED, f"There is a receipt once the image is proven to be the file. It is {upload.state} now."
        )
    image, size = known(upload.image), known(upload.size)
    # An upload of an older version has nothing more on record than that the two were the same.
    verified = upload.verified or Verified(upload.updated_at, size, proof.md5, proof.sha512)
    ours = {"size": size, "md5": proof.md5, "sha512": proof.sha512}
    return {
        "iss": ISSUER,
        "upload_id": upload.id,
        "project_id": upload.owner.project_id,
        "user_id": upload.owner.user_id,
        "image_id": image.id,
        "replaced": list(image.replaced),
        **ours,
        "ours": ours,
        "glance": {"size": verified.size, "md5": verified.md5, "sha512": verified.sha512},
        "created_at": _iso(upload.created_at),
        "verified_at": _iso(verified.at),
        "request_ids": {"creation": upload.request_id, "handoff": verified.request_id},
    }


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
