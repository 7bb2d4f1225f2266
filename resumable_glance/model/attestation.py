"""The statement of a receipt: that an image equals the file, by our digests and Glance's. Pure; signed elsewhere."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload, require

ISSUER = "resumable-glance"


def statement(upload: Upload) -> Mapping[str, object]:
    """Return the unsigned receipt of an active upload.

    Sizes in bytes, digests in hexadecimal, times as in RFC 3339. Raises Refused: UNFINISHED before it is active.
    """
    if upload.state is not State.ACTIVE:
        sentence = f"A receipt exists once the image is proven equal to the file. This upload is {upload.state}."
        raise Refused(Reason.UNFINISHED, sentence)
    image, proof, verified = require(upload.image), require(upload.delivery.proof), require(upload.delivery.verified)
    ours = {"size": require(upload.size), "md5": proof.md5, "sha512": proof.sha512}
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
        "created_at": rfc3339(upload.created_at),
        "verified_at": rfc3339(verified.at),
        "request_ids": {"creation": upload.request_id, "handoff": verified.request_id},
    }


def rfc3339(timestamp: float) -> str:
    """Return seconds since the epoch as text in UTC: 2026-01-31T12:00:00Z."""
    text = datetime.datetime.fromtimestamp(timestamp, datetime.UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")
