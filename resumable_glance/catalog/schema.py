"""The tables of the catalog, and the conversion between rows and records."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import sqlalchemy as sa

from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import (
    Delivery,
    Extent,
    FailureReason,
    Format,
    Image,
    ImageRequest,
    InspectionState,
    LastError,
    Owner,
    Proof,
    Upload,
    Verified,
)

metadata = sa.MetaData()

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("image_id", sa.String(36)),
    sa.Column("image_name", sa.String(255)),
    sa.Column("image_adopted", sa.Boolean, nullable=False),
    sa.Column("store", sa.String(255)),
    sa.Column("declared", sa.Text, nullable=False),
    sa.Column("metadata", sa.Text),
    sa.Column("received_offset", sa.BigInteger, nullable=False),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("reserved", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("parts", sa.Text, nullable=False, server_default=""),
    sa.Column("joined_into", sa.String(64), sa.ForeignKey("uploads.id", name="joined_into_upload", ondelete="CASCADE")),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
    sa.Column("expires_at", sa.Float(53), nullable=False),
    sa.Column("md5", sa.String(32)),
    sa.Column("sha512", sa.String(128)),
    sa.Column("last_error_reason", sa.String(64)),
    sa.Column("last_error_detail", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", sa.Float(53), nullable=False),
    sa.Column("credential", sa.LargeBinary),
    sa.Column("credential_expires_at", sa.Float(53)),
    sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
    sa.Column("request", sa.Text),
    sa.Column("replaced", sa.Text, nullable=False, server_default=""),
    sa.Column("successor", sa.String(36)),
    sa.Column("suspicion", sa.Integer, nullable=False, server_default="0"),
    sa.Column("stuck_at", sa.Float(53), nullable=False, server_default="0"),
    sa.Column("format", sa.Text),
    sa.Column("request_id", sa.String(64)),
    sa.Column("verified", sa.Text),
    sa.Column("stores", sa.Text),
    sa.Index("uploads_by_owner", "project_id", "user_id", "created_at"),
    sa.Index("uploads_by_state", "state", "reserved", "received"),
    sa.Index("uploads_by_project", "project_id", "state", "reserved", "received"),
    sa.Index("uploads_by_whole", "joined_into"),
)

extents = sa.Table(
    "extents",
    metadata,
    sa.Column("upload_id", sa.String(64), sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("stop", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(160), nullable=False),
)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("instance", sa.String(16), primary_key=True),
    sa.Column("seen_at", sa.Float(53), nullable=False),
)

orphaned_images = sa.Table(
    "orphaned_images",
    metadata,
    sa.Column("image_id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("credential", sa.LargeBinary),
    sa.Column("credential_expires_at", sa.Float(53)),
    sa.Column("since", sa.Float(53), nullable=False),
    sa.Column("due_at", sa.Float(53), nullable=False),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.String(64), primary_key=True),
    sa.Column("key_digest", sa.String(64), primary_key=True),
    sa.Column("request_digest", sa.String(64), nullable=False),
    sa.Column("upload_id", sa.String(64), sa.ForeignKey("uploads.id", ondelete="CASCADE"), nullable=False),
    sa.Index("idempotency_keys_by_upload", "upload_id"),
)

trusts = sa.Table(
    "trusts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("upload_id", sa.String(64), nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("since", sa.Float(53), nullable=False),
    sa.Index("trusts_by_upload", "upload_id"),
)


# Columns of the same name and value as a field
_OF_UPLOAD = ("id", "size", "metadata", "received", "reserved", "joined_into", "created_at", "updated_at", "expires_at",
              "generation", "request_id")  # fmt: skip
_OF_DELIVERY = ("attempts", "next_attempt_at", "suspicion", "stuck_at", "successor")


def upload_row(upload: Upload) -> dict[str, object]:
    """Return the columns of an upload, all but its credential."""
    image, delivery, error = upload.image, upload.delivery, upload.delivery.last_error
    return {
        **{name: getattr(upload, name) for name in _OF_UPLOAD},
        **{name: getattr(delivery, name) for name in _OF_DELIVERY},
        "project_id": upload.owner.project_id,
        "user_id": upload.owner.user_id,
        "state": upload.state.value,
        "image_id": image and image.id,
        "image_name": image and image.name,
        "image_adopted": image is not None and image.adopted,
        "store": image and image.store,
        "stores": None if image is None or image.stores is None else json.dumps(image.stores),
        "replaced": " ".join(image.replaced) if image else "",
        "declared": " ".join(map(str, upload.declared)),
        "received_offset": upload.offset,
        "parts": " ".join(upload.parts),
        "request": _request_text(upload.request),
        "format": None if upload.format is None else json.dumps(dataclasses.asdict(upload.format)),
        "md5": delivery.proof and delivery.proof.md5,
        "sha512": delivery.proof and delivery.proof.sha512,
        "last_error_reason": error and error.reason.value,
        "last_error_detail": error and error.detail,
        "verified": None if delivery.verified is None else json.dumps(dataclasses.asdict(delivery.verified)),
    }


def upload_of(row: sa.Row[Any]) -> Upload:
    """Return the upload in a row."""
    error = LastError(FailureReason(row.last_error_reason), row.last_error_detail) if row.last_error_reason else None
    return Upload(
        **{name: getattr(row, name) for name in _OF_UPLOAD},
        owner=Owner(row.project_id, row.user_id),
        state=State(row.state),
        image=_image_of(row) if row.image_id else None,
        declared=tuple(Digest.parse(each) for each in row.declared.split()),
        offset=row.received_offset,
        parts=tuple(row.parts.split()),
        request=None if row.request is None else ImageRequest(**json.loads(row.request)),
        format=_format_of(row.format),
        delivery=Delivery(
            **{name: getattr(row, name) for name in _OF_DELIVERY},
            last_error=error,
            proof=Proof(row.md5, row.sha512) if row.md5 else None,
            verified=None if row.verified is None else Verified(**json.loads(row.verified)),
        ),
    )


def _image_of(row: sa.Row[Any]) -> Image:
    stores = None if row.stores is None else tuple(json.loads(row.stores))
    return Image(row.image_id, row.image_name, row.store, row.image_adopted, tuple(row.replaced.split()), stores)


def _request_text(request: ImageRequest | None) -> str | None:
    """Return what is needed to create the image again; None for an adopted one. Stores are in the image's columns."""
    if request is None or request.image_id is not None:
        return None
    return json.dumps({"properties": dict(request.properties), "store": request.store})


def _format_of(text: str | None) -> Format | None:
    if text is None:
        return None
    written = json.loads(text)
    return Format(**written | {"inspection": InspectionState(written["inspection"])})


def extent_row(upload_id: str, extent: Extent) -> dict[str, object]:
    """Return the columns of an extent."""
    start, stop = extent.range
    digests = " ".join(str(each) for each in (extent.digest, extent.checksum) if each is not None)
    return {"upload_id": upload_id, "start": start, "stop": stop, "digest": digests}


def extent_of(row: sa.Row[Any]) -> Extent:
    """Return the extent in a row."""
    return Extent(Range(row.start, row.stop), *map(Digest.parse, row.digest.split()))
