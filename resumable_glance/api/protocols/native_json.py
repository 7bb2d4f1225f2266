"""The JSON documents of the native protocol: the request of an upload, and the descriptions of uploads.

Sizes in bytes, times as in RFC 3339, in UTC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypedDict, TypeVar

import jsonschema

from resumable_glance.api.protocols import parsing
from resumable_glance.model.attestation import rfc3339
from resumable_glance.model.commands import Create, Ticket, UploadFound
from resumable_glance.model.digests import IMAGE_ALGORITHMS, declared_hex
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.stores import StoreList
from resumable_glance.model.upload import Image, ImageRequest, Upload

T = TypeVar("T")
_PRINTABLE = {"type": "string", "maxLength": 255, "not": {"pattern": "[\\u0000-\\u001f\\u007f]"}}
_TEXT = {**_PRINTABLE, "minLength": 1}
CREATE_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "minimum": 0},
        "image": {
            "type": "object",
            "properties": {
                "name": _PRINTABLE,
                "disk_format": _TEXT,
                "container_format": _TEXT,
                "visibility": {"enum": ["private", "shared", "community", "public"]},
                "min_disk": {"type": "integer", "minimum": 0},
                "min_ram": {"type": "integer", "minimum": 0},
                "protected": {"type": "boolean"},
                "tags": {"type": "array", "items": _TEXT, "uniqueItems": True},
                "properties": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["disk_format", "container_format"],
            "additionalProperties": False,
        },
        "image_id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "maxLength": 36},
        "method": {"enum": ["upload", "import"]},
        "store": _TEXT,
        "stores": {"type": "array", "items": _TEXT, "uniqueItems": True, "minItems": 1, "maxItems": 100},
        "all_stores": {"type": "boolean"},
        "digests": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in IMAGE_ALGORITHMS},
            "additionalProperties": False,
        },
    },
    "required": ["size"],
    "oneOf": [{"required": ["image"]}, {"required": ["image_id"]}],
    "additionalProperties": False,
}
_VALIDATOR = jsonschema.Draft202012Validator(CREATE_SCHEMA)


class _Stores(TypedDict):
    """The fields of ImageRequest about stores."""

    store: str | None
    stores: tuple[str, ...] | None
    all_stores: bool


def creation(document: bytes) -> Create:
    """Return the creation that a document requests, without a key. Raises Refused: MALFORMED, UNSUPPORTED_DIGEST."""
    request = parsing.json_object(document)
    problem = jsonschema.exceptions.best_match(_VALIDATOR.iter_errors(request))
    if problem is not None:
        where = problem.absolute_path
        parsing.malformed(f"In {'/'.join(map(str, where)) or 'the document'}: {problem.message[:300]}")
    return Create(
        size=_typed(request["size"], int),
        image=_image(request),
        declared=tuple(declared_hex(name, text) for name, text in _typed(request.get("digests", {}), dict).items()),
    )


def _image(request: Mapping[str, object]) -> ImageRequest:
    properties = dict(_typed(request.get("image", {}), dict))
    custom = properties.pop("properties", {})
    return ImageRequest(
        properties | {parsing.custom_property(name): value for name, value in custom.items()},
        None if "image_id" not in request else str(request["image_id"]),
        **_stores(request),
    )


def _stores(request: Mapping[str, object]) -> _Stores:
    """Return the stores of a request; more than one need an import."""
    every = request.get("all_stores") is True
    stores = tuple(map(str, _typed(request.get("stores", []), list)))
    if "store" in request:
        if stores:
            parsing.malformed("Name either store or stores.")
        stores = (str(request["store"]),)
    if every and stores:
        parsing.malformed("Either set all_stores, or name stores.")
    several = every or len(stores) > 1
    if request.get("method") == "import" or (several and "method" not in request):
        return {"store": None, "stores": None if every else stores, "all_stores": every}
    if several:
        parsing.malformed("The method upload fills only one store. Use the method import for several.")
    return {"store": stores[0] if stores else None, "stores": None, "all_stores": False}


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


def _typed(value: object, kind: type[T]) -> T:
    """Return a value that has this type by the schema."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not {kind}")
    return value
