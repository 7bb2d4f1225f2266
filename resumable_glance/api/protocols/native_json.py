"""The native dialect's documents: the one in which an upload is asked for, and those that tell of uploads.

JSON (RFC 8259). Sizes in bytes, times in RFC 3339, UTC.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TypedDict, TypeVar

import jsonschema

from resumable_glance.api.protocols import parsing
from resumable_glance.model.commands import Create, Ticket, UploadFound
from resumable_glance.model.digests import OF_IMAGES, declared_hex
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
            "properties": {name: {"type": "string"} for name in OF_IMAGES},
            "additionalProperties": False,
        },
    },
    "required": ["size"],
    "oneOf": [{"required": ["image"]}, {"required": ["image_id"]}],
    "additionalProperties": False,
}
_VALIDATOR = jsonschema.Draft202012Validator(CREATE_SCHEMA)


class _Way(TypedDict):
    """As in ImageRequest."""

    store: str | None
    stores: tuple[str, ...] | None
    all_stores: bool


def creation(document: bytes) -> Create:
    """What a document asks for; the key of a creation is not in it. Refused: MALFORMED, UNSUPPORTED_DIGEST."""
    asked = parsing.json_object(document)
    problem = jsonschema.exceptions.best_match(_VALIDATOR.iter_errors(asked))
    if problem is not None:
        where = problem.absolute_path
        parsing.malformed(f"In {'/'.join(map(str, where)) or 'the document'}: {problem.message[:300]}")
    return Create(
        size=_typed(asked["size"], int),
        image=_image(asked),
        declared=tuple(declared_hex(name, text) for name, text in _typed(asked.get("digests", {}), dict).items()),
    )


def _image(asked: Mapping[str, object]) -> ImageRequest:
    properties = dict(_typed(asked.get("image", {}), dict))
    further = properties.pop("properties", {})
    return ImageRequest(
        properties | {parsing.further_property(name): value for name, value in further.items()},
        None if "image_id" not in asked else str(asked["image_id"]),
        **_way(asked),
    )


def _way(asked: Mapping[str, object]) -> _Way:
    """How the bytes get into which stores: plainly, unless there is more than one."""
    every = asked.get("all_stores") is True
    stores = tuple(map(str, _typed(asked.get("stores", []), list)))
    if "store" in asked:
        if stores:
            parsing.malformed("Say either store or stores.")
        stores = (str(asked["store"]),)
    if every and stores:
        parsing.malformed("Say either all_stores or which.")
    several = every or len(stores) > 1
    if asked.get("method") == "import" or (several and "method" not in asked):
        return {"store": None, "stores": None if every else stores, "all_stores": every}
    if several:
        parsing.malformed("An upload fills one store. Several take the method import.")
    return {"store": stores[0] if stores else None, "stores": None, "all_stores": False}


def described(inspected: UploadFound, href: str) -> dict[str, object]:
    upload = inspected.upload
    waits = upload.delivery.last_error is not None and upload.state in WITH_HANDOFF
    return {
        **summary(upload, href),
        "ranges": [[each.start, each.stop - 1] for each in inspected.durable],
        **_chosen(upload.image),
        "parts": list(upload.parts),
        "joined_into": upload.joined_into,
        "digests": {each.algorithm: each.value.hex() for each in upload.declared},
        "format": None if upload.format is None
        else {"declared": upload.format.declared, "detected": upload.format.detected,
              "virtual_size": upload.format.virtual_size, "min_disk": upload.format.min_disk},
        "hashes": None if upload.delivery.proof is None else {"md5": upload.delivery.proof.md5, "sha512": upload.delivery.proof.sha512},
        "handoff": {
            "attempts": upload.delivery.attempts,
            "delivered": upload.size if upload.state in {State.VERIFYING, State.ACTIVE} else inspected.delivered,
            "next_attempt_at": _iso(upload.delivery.next_attempt_at) if waits else None,
            "last_error": None if upload.delivery.last_error is None
            else {"reason": upload.delivery.last_error.reason.value, "detail": upload.delivery.last_error.detail},
        },
    }  # fmt: skip


def summary(upload: Upload, href: str) -> dict[str, object]:
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
        "created_at": _iso(upload.created_at),
        "updated_at": _iso(upload.updated_at),
        "expires_at": _iso(upload.expires_at) if upload.state is State.RECEIVING else None,
    }  # fmt: skip


def _chosen(image: Image | None) -> dict[str, object]:
    """How the image is filled, and which stores were named for it; none of a part of another one's."""
    if image is None:
        return {"method": None, "stores": []}
    plainly = [] if image.store is None else [image.store]
    return (
        {"method": "upload", "stores": plainly}
        if image.stores is None
        else {"method": "import", "stores": list(image.stores)}
    )


def offered(offer: StoreList) -> dict[str, object]:
    stores = [
        {"id": each.id, "description": each.description, "default": each.default, "read_only": each.read_only}
        for each in offer.stores
    ]
    return {"stores": stores, "import_methods": list(offer.import_methods)}


def whose(upload: Upload) -> dict[str, object]:
    return {"owner": {"project_id": upload.owner.project_id, "user_id": upload.owner.user_id}}


def shown(ticket: Ticket) -> dict[str, object]:
    return {"value": ticket.value, "expires_at": _iso(ticket.expires_at)}


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _typed(value: object, kind: type[T]) -> T:
    """`value`, which the schema has found to be of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not {kind}")
    return value
