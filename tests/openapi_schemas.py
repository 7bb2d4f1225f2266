"""The JSON documents of the native API as schemas, for its description in OpenAPI (openapi.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resumable_glance.api.protocols import native, native_json, parsing, problems
from resumable_glance.errors import Reason
from resumable_glance.model import attestation
from resumable_glance.model.digests import LENGTHS, OF_IMAGES
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason

Json = dict[str, Any]
Meanings = Mapping[Any, tuple[str, str]]  # of a state or a reason: what it means, and what a client does then

UPLOAD_ID = "^[a-z0-9]{1,16}-[0-9a-f]{32}$"
BYTES: Json = {"type": "integer", "minimum": 0, "maximum": parsing.SAFE_INTEGER}
MOMENT: Json = {"type": "string", "format": "date-time", "pattern": "^[0-9-]{10}T[0-9:]{8}Z$"}
NUMBER: Json = {"type": "integer", "minimum": 0}
TEXT: Json = {"type": "string"}

# What refusals tell besides, as members of the problem; those in problems.HEADERS as headers too.
FACTS: Mapping[str, tuple[Json, frozenset[Reason]]] = {
    "allow": (TEXT, frozenset({Reason.METHOD_NOT_ALLOWED})),
    "accept_patch": ({"const": native.ACCEPT_PATCH}, frozenset({Reason.UNSUPPORTED_MEDIA_TYPE})),
    "limit": (
        BYTES,
        frozenset({Reason.BODY_TOO_LONG, Reason.CHUNK_TOO_LARGE, Reason.UPLOAD_TOO_LARGE, Reason.HEAD_TOO_LARGE}),
    ),
    "offset": (BYTES, frozenset({Reason.BODY_TOO_LONG, Reason.SEALED, Reason.WRONG_OFFSET, Reason.WRONG_TOTAL})),
    "provided": (BYTES, frozenset({Reason.WRONG_OFFSET})),
    "size": (BYTES, frozenset({Reason.BODY_TOO_LONG, Reason.WRONG_TOTAL})),
    "state": (
        {"$ref": "#/components/schemas/State"},
        frozenset({Reason.SEALED, Reason.FORMAT_MISMATCH, Reason.UNSAFE_IMAGE, Reason.DISK_TOO_LARGE}),
    ),
    "retry_after": (
        NUMBER,
        frozenset({Reason.STALLED, Reason.SUPERSEDED, Reason.CLOSING, Reason.NO_SPACE, Reason.OVER_LIMIT, Reason.BUSY,
                   Reason.SCRATCH_FAILED, Reason.IDENTITY_UNAVAILABLE, Reason.IMAGE_SERVICE_UNAVAILABLE}),
    ),
}  # fmt: skip

# What a client may say of an upload that it creates; the rest of these schemas is the service's own.
CREATE = {
    "size": "Bytes of the whole image. With 0 the upload is sealed at once.",
    "image": "A new image. Either this or `image_id`.",
    "image_id": "A queued image of your project. It is filled, and never deleted by this service.",
    "method": "How Glance gets it: uploaded plainly into one store, or staged and imported. By default uploaded, but "
    "imported where there is more than one store.",
    "store": "The Glance store that the image goes to. Either this, `stores` or `all_stores`.",
    "stores": "The Glance stores that the image goes to: all of them, or none.",
    "all_stores": "Into all stores that take images.",
    "digests": "Digests of the whole image, in hexadecimal. All are checked before Glance gets a byte.",
}
IMAGE = {
    "name": "What people call it.",
    "disk_format": "As in Glance: raw, qcow2, iso ...",
    "container_format": "As in Glance: mostly bare.",
    "visibility": "Glance's policy decides.",
    "min_disk": "GiB.",
    "min_ram": "MiB.",
    "protected": "The image can't be deleted while it is true.",
    "tags": "Each once.",
    "properties": "Further properties. What Glance sets itself is refused.",
}


def schemas(states: Meanings, reasons: Meanings) -> Json:
    """All of them, by name. An object of ours has no members but those that are told here."""
    types = [problems.TYPE_PREFIX + each.value for each in Reason]
    return {
        "Id": {"type": "string", "pattern": UPLOAD_ID, "description": "The instance's name and 32 hexadecimal digits."},
        "State": {"type": "string", "enum": [each.value for each in State], "description": _told(states)},
        "Create": _create(),
        "Summary": _object("An upload in a list.", _SUMMARY, {"owner": _OWNER}),
        "Upload": _object("An upload.", {**_SUMMARY, **_FURTHER}),
        "Created": _object("A new upload.", {**_SUMMARY, **_FURTHER, "ticket": _ref("Ticket")}),
        "Ticket": _object(
            "What opens one upload, in Authorization: Bearer, for whoever shows it. It is shown this once.",
            {"value": {"type": "string", "pattern": "^[A-Za-z0-9_.-]+$"}, "expires_at": MOMENT},
        ),
        "List": _object("Uploads, newest first.", {"uploads": _array("Summary of each.", _ref("Summary"))}),
        "Problem": _object(
            "Why a request was refused (RFC 9457). Decide by `type`.",
            {
                "type": {"type": "string", "enum": types, "description": _told(reasons)},
                "title": _text("For people."),
                "status": {"type": "integer", "description": "The HTTP status."},
                "detail": _text("What a person can do about it."),
                "request_id": _text("As in X-Openstack-Request-Id."),
            },
            {fact: schema for fact, (schema, _) in FACTS.items()},
        ),
        "Stores": _stores(),
        "Receipt": _receipt(),
        "Keys": _object(
            "JWKS (RFC 7517).", {"keys": _array("Ed25519 (RFC 8037); the newest first.", {"type": "object"})}
        ),
        "Capabilities": _capabilities(),
        "Root": _object(
            "This service.",
            {
                "name": {"const": "resumable-glance"},
                "version": _text("Of the service."),
                "dialects": {
                    **_object(
                        "What it speaks; the others have protocols of their own.", {"native": _ref("Capabilities")}
                    ),
                    "additionalProperties": {
                        "type": "object",
                        "properties": {"href": {"type": "string", "format": "uri"}},
                        "required": ["href"],
                    },
                },
            },
        ),
    }


def _object(meaning: str, members: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    return {
        "type": "object",
        "description": meaning,
        "properties": {**members, **(optional or {})},
        "required": list(members),
        "additionalProperties": False,
    }


def _array(meaning: str, items: Json) -> Json:
    return {"type": "array", "description": meaning, "items": items}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _text(meaning: str) -> Json:
    return {**TEXT, "description": meaning}


def _bytes(meaning: str) -> Json:
    return {**BYTES, "description": meaning}


def _or_null(schema: Json) -> Json:
    """`schema`, or null; what it means stays outside."""
    return {"description": schema["description"], "anyOf": [schema, {"type": "null"}]}


def _told(meanings: Meanings) -> str:
    return "\n".join(f"- `{each.value}`: {meaning}" for each, (meaning, _) in meanings.items())


def _hexadecimal(algorithm: str, letters: str = "0-9a-f") -> Json:
    """A digest; LENGTHS are in bytes."""
    return {"type": "string", "pattern": f"^[{letters}]{{{2 * LENGTHS[algorithm]}}}$"}


def _explained(schema: Mapping[str, Any], meanings: Mapping[str, str]) -> Json:
    """The service's own schema of an object, with the meaning of each of its members."""
    explained = {name: {**each, "description": meanings[name]} for name, each in schema["properties"].items()}
    return {**schema, "properties": explained}


def _create() -> Json:
    """The schema that the service checks with, and what it checks besides."""
    described = _explained(native_json.CREATE_SCHEMA, CREATE)
    members = described["properties"]
    image = members["image"] = {**_explained(members["image"], IMAGE), "description": CREATE["image"]}
    further = image["properties"]["properties"]
    further["propertyNames"] = {"minLength": 1, "not": {"enum": sorted(parsing.RESERVED)}}
    members["digests"]["properties"] = {name: _hexadecimal(name, "0-9a-fA-F") for name in OF_IMAGES}
    members["size"]["maximum"] = parsing.SAFE_INTEGER
    return {"description": "An upload that is to be. Other members are refused.", **described}


def _stores() -> Json:
    store = _object(
        "A store.",
        {
            "id": _text("Its name, for `store` and `stores`."),
            "description": {"type": ["string", "null"]},
            "default": {"type": "boolean", "description": "Images go here if nobody says where."},
            "read_only": {"type": "boolean", "description": "It takes no images."},
        },
    )
    return _object(
        "What the cloud's Glance offers.",
        {
            "stores": _array("None where there is one place, which has no name.", store),
            "import_methods": _array("As in Glance. `method` import takes glance-direct.", TEXT),
        },
    )


def _receipt() -> Json:
    digests = {name: _hexadecimal(name) for name in ("md5", "sha512")}
    same = {"size": _bytes("Bytes of the image."), **digests}
    return _object(
        "That the image is the file. `jws` says the same, signed; its payload is this document without it.",
        {
            "iss": {"const": attestation.ISSUER},
            "upload_id": _ref("Id"),
            "project_id": _text("Whose it is."),
            "user_id": _text("Who created it."),
            "image_id": _text("In Glance."),
            "replaced": _array("The ids that it had before.", TEXT),
            **same,
            "ours": _object("What we computed over all bytes.", same),
            "glance": _object("What Glance showed when it was compared.", same),
            "created_at": MOMENT,
            "verified_at": MOMENT,
            "request_ids": _object(
                "In the logs.", {"creation": {"type": ["string", "null"]}, "handoff": {"type": ["string", "null"]}}
            ),
            "jws": {"type": "string", "pattern": "^[A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]+$"},
        },
    )


def _capabilities() -> Json:
    of_chunks = {
        "Content-Digest": _array("Algorithms of RFC 9530.", {"enum": list(parsing.RFC9530)}),
        "Content-MD5": _array("Always md5.", {"enum": ["md5"]}),
    }
    chunks = {
        "content_type": {"const": native.ACCEPTED},
        "max_size": _bytes("Largest chunk."),
        "any_order": {"const": True},
        "parallel": {"const": True},
        "digests": _object("The headers for a chunk's digest, and the algorithms in them.", of_chunks),
    }
    return _object(
        "What can be done here.",
        {
            "href": {"type": "string", "format": "uri", "description": "The address of this dialect."},
            "chunks": _object("What a chunk may be.", chunks),
            "zeros": _object("How a run of zeros is declared.", {"content_type": {"const": native.ZEROS}}),
            "max_size": _bytes("Largest upload."),
            "whole_image_digests": _array("What `digests` may have.", {"enum": list(OF_IMAGES)}),
            "expiry": {**NUMBER, "description": "Seconds without a new byte until an upload is removed."},
            "record_retention": {**NUMBER, "description": "Seconds until the record of an ended upload is removed."},
        },
    )


_SUMMARY: Json = {
    "id": _ref("Id"),
    "href": {"type": "string", "format": "uri", "description": "The upload's address."},
    "state": _ref("State"),
    "size": _or_null(_bytes("Bytes of the whole image; null while the client has not told them.")),
    "offset": _bytes("Bytes from the first one on that are durable without a gap. Never decreases."),
    "received": _bytes("Durable bytes, wherever they lie."),
    "image": _or_null(
        _object(
            "The image in Glance; null where the upload is a part of another one's.",
            {
                "id": _text("From the first moment on."),
                "name": {"type": ["string", "null"]},
                "store": {"type": ["string", "null"]},
                "replaced": _array("The ids that it had before: of images that could not be filled any more.", TEXT),
            },
        )
    ),
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "expires_at": _or_null({**MOMENT, "description": "When it will be removed; null unless receiving."}),
}
_OWNER = _object(
    "Whose it is, in a list of everybody's.", {"project_id": _text("In Keystone."), "user_id": _text("In Keystone.")}
)
_FURTHER: Json = {
    "method": {"enum": ["upload", "import", None], "description": "How Glance gets it; null for a part."},
    "stores": _array("The Glance stores that were asked for; empty: Glance's default one.", TEXT),
    "parts": _array("The uploads that were joined into this one (tus: concatenation), in order.", _ref("Id")),
    "joined_into": _or_null({**_ref("Id"), "description": "A part: the upload that has its bytes now."}),
    "ranges": _array(
        "Durable ranges in bytes, [first, last], inclusive, in order, with a gap between any two.",
        {"type": "array", "prefixItems": [BYTES, BYTES], "items": False, "minItems": 2},
    ),
    "digests": {
        "type": "object",
        "description": "The declared digests of the whole image.",
        "properties": {name: _hexadecimal(name) for name in OF_IMAGES},
        "additionalProperties": False,
    },
    "format": _or_null(
        _object(
            "What the bytes are; null where nobody looks into them.",
            {
                "declared": _or_null(_text("The disk_format that was declared; null: it is found out.")),
                "detected": _or_null(_text("What was found, as oslo.utils calls it; null before.")),
                "virtual_size": _or_null(_bytes("Bytes of the disk in the image; null where that is not known.")),
                "min_disk": _or_null({**NUMBER, "description": "GiB of the smallest disk that it fits on."}),
            },
        )
    ),
    "hashes": _or_null(
        _object(
            "What we computed over all bytes, as read back from scratch; null before.",
            {name: _hexadecimal(name) for name in ("md5", "sha512")},
        )
    ),
    "handoff": _object(
        "How the bytes come into Glance.",
        {
            "attempts": {**NUMBER, "description": "How often it was begun."},
            "delivered": _bytes("Bytes that this attempt has read and passed on so far. Starts again with each."),
            "next_attempt_at": _or_null({**MOMENT, "description": "If it waits: until when."}),
            "trouble": _or_null(
                _object(
                    "Why it waits or has failed.",
                    {"reason": {"enum": [each.value for each in FailureReason]}, "detail": _text("For people.")},
                )
            ),
        },
    ),
}
