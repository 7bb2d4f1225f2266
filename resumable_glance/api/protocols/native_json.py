"""The JSON documents of the native protocol: the request of an upload, and the descriptions of uploads.

Sizes in bytes, times as in RFC 3339, in UTC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from resumable_glance.api.protocols import parsing
from resumable_glance.model.attestation import rfc3339
from resumable_glance.model.commands import Create, Ticket, UploadFound
from resumable_glance.model.digests import declared_hex
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.stores import StoreList
from resumable_glance.model.upload import Image, ImageRequest, Upload

MAX_STORES = 100
_Number = Annotated[int, Meta(ge=0, le=parsing.SAFE_INTEGER)]
_Printable = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Name = Annotated[_Printable, Meta(min_length=1)]
_ImageId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]


class NewImage(Struct, frozen=True, forbid_unknown_fields=True):
    """The image to create, by the names of Glance."""

    disk_format: _Name
    container_format: _Name
    name: _Printable | UnsetType = UNSET
    visibility: Literal["private", "shared", "community", "public"] | UnsetType = UNSET
    min_disk: _Number | UnsetType = UNSET
    min_ram: _Number | UnsetType = UNSET
    protected: bool | UnsetType = UNSET
    tags: Annotated[list[_Name], Meta(max_length=parsing.MAX_TAGS)] | UnsetType = UNSET
    properties: Annotated[dict[str, str], Meta(max_length=parsing.MAX_PROPERTIES)] | UnsetType = UNSET


class CreateUpload(Struct, frozen=True, forbid_unknown_fields=True):
    """The request of an upload. Members that may be absent together are checked by creation()."""

    size: _Number
    image: NewImage | UnsetType = UNSET
    image_id: _ImageId | UnsetType = UNSET
    method: Literal["upload", "import"] | UnsetType = UNSET
    store: _Name | UnsetType = UNSET
    stores: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=MAX_STORES)] = ()
    all_stores: bool = False
    digests: dict[Literal["md5", "sha256", "sha512"], str] = {}


_DECODER = msgspec.json.Decoder(CreateUpload)


def creation(document: bytes) -> Create:
    """Return the creation that a document requests, without a key.

    Its cost is linear in its size: nothing but the first problem of a document is looked for.

    Raises Refused: MALFORMED, UNSUPPORTED_DIGEST.
    """
    try:
        request = _DECODER.decode(document)
    except msgspec.DecodeError as problem:  # of the syntax, or of the value of a member
        parsing.malformed(f"The body must describe an upload in JSON: {str(problem)[:300]}.")
    parsing.check_spelling(document)
    if (request.image is UNSET) == (request.image_id is UNSET):
        parsing.malformed("Give either image, to create one, or image_id, to fill a queued one.")
    return Create(
        size=request.size,
        image=ImageRequest(
            {} if request.image is UNSET else _properties(request.image),
            None if request.image_id is UNSET else request.image_id,
            *_stores(request),
        ),
        declared=tuple(declared_hex(name, text) for name, text in request.digests.items()),
    )


def _properties(image: NewImage) -> dict[str, object]:
    """Return the properties of an image, as Glance takes them."""
    _check_unique("tags", image.tags or ())
    members = {name: value for name, value in msgspec.structs.asdict(image).items() if value is not UNSET}
    custom = members.pop("properties", {})
    return members | {parsing.custom_property(name): value for name, value in custom.items()}


def _stores(request: CreateUpload) -> tuple[str | None, tuple[str, ...] | None, bool]:
    """Return store, stores and all_stores of an ImageRequest; more than one store need an import."""
    stores, every = request.stores, request.all_stores
    _check_unique("stores", stores)
    if request.store is not UNSET:
        if stores:
            parsing.malformed("Name either store or stores.")
        stores = (request.store,)
    if every and stores:
        parsing.malformed("Either set all_stores, or name stores.")
    several = every or len(stores) > 1
    if request.method == "import" or (several and request.method is UNSET):
        return None, None if every else stores, every
    if several:
        parsing.malformed("The method upload fills only one store. Use the method import for several.")
    return stores[0] if stores else None, None, False


def _check_unique(name: str, values: Sequence[str]) -> None:
    if len(set(values)) < len(values):
        parsing.malformed(f"In {name}, a name came twice. Give it once.")


def upload_document(found: UploadFound, href: str) -> dict[str, object]:
    """Return the full description of an upload."""
    upload, delivery = found.upload, found.upload.delivery
    waits = delivery.last_error is not None and upload.state in WITH_HANDOFF
    return {
        **summary(upload, href),
        "ranges": [[each.start, each.stop - 1] for each in found.durable],
        **_method(upload.image),
        "parts": list(upload.parts),
        "joined_into": upload.joined_into,
        "digests": {each.algorithm: each.value.hex() for each in upload.declared},
        "format": None if upload.format is None
        else {"declared": upload.format.declared, "detected": upload.format.detected,
              "virtual_size": upload.format.virtual_size, "min_disk": upload.format.min_disk},
        "hashes": None if delivery.proof is None else {"md5": delivery.proof.md5, "sha512": delivery.proof.sha512},
        "handoff": {
            "attempts": delivery.attempts,
            "delivered": upload.size if upload.state in {State.VERIFYING, State.ACTIVE} else found.delivered,
            "next_attempt_at": rfc3339(delivery.next_attempt_at) if waits else None,
            "last_error": None if delivery.last_error is None
            else {"reason": delivery.last_error.reason.value, "detail": delivery.last_error.detail},
        },
    }  # fmt: skip


def summary(upload: Upload, href: str, *, with_owner: bool = False) -> dict[str, object]:
    """Return the description of an upload in a list."""
    return {
        "id": upload.id,
        "href": href,
        "state": upload.state.value,
        "size": upload.size,
        "offset": upload.offset,
        "received": upload.received,
        "image": None if upload.image is None
        else {"id": upload.image.id, "name": upload.image.name, "store": upload.image.store,
              "replaced": list(upload.image.replaced)},
        "created_at": rfc3339(upload.created_at),
        "updated_at": rfc3339(upload.updated_at),
        "expires_at": None if upload.expiry is None else rfc3339(upload.expiry),
        **({"owner": dataclasses.asdict(upload.owner), "reserved": upload.held} if with_owner else {}),
    }  # fmt: skip


def _method(image: Image | None) -> dict[str, object]:
    """Return the method that fills the image, and its stores; none for a part."""
    if image is None:
        return {"method": None, "stores": []}
    if image.stores is None:
        return {"method": "upload", "stores": [] if image.store is None else [image.store]}
    return {"method": "import", "stores": list(image.stores)}


def stores_document(offer: StoreList) -> dict[str, object]:
    """Return the description of the cloud's stores."""
    stores = [
        {"id": each.id, "description": each.description, "default": each.default, "read_only": each.read_only}
        for each in offer.stores
    ]
    return {"stores": stores, "import_methods": list(offer.import_methods)}


def ticket_document(ticket: Ticket) -> dict[str, object]:
    """Return the description of a ticket."""
    return {"value": ticket.value, "expires_at": rfc3339(ticket.expires_at)}
