"""The native dialect, Horizon's: chunks in any order, several at once, placed by Content-Range.

    POST   /v1/uploads        -> Create      GET  /v1/uploads      -> Survey
    PATCH  /v1/uploads/{id}   -> Append      HEAD, GET, DELETE on /v1/uploads/{id} -> Inspect, Discard
    POST   /v1/uploads/{id}/ticket -> Renew  DELETE /v1/uploads/{id}/ticket -> Revoke
    POST   /v1/uploads/{id}/retry  -> Retry  GET    /v1/uploads/{id}/receipt -> Attest
    GET    /v1/uploads/{id}/events -> Watch  GET    /v1/stores       -> Explore

RFC 9110, section 14.5 (partial PUT) and draft-ietf-httpapi-patch-byterange inspired the PATCH, RFC 9457 the errors.
"""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Mapping, Sequence
from typing import TypedDict, TypeVar

import jsonschema

from resumable_glance.dialects import Head, Place, Reply, fields, problems
from resumable_glance.errors import Reason, Refused
from resumable_glance.protocol.commands import (
    Append,
    Appended,
    Attest,
    Attested,
    Chunk,
    Command,
    Create,
    Created,
    Discard,
    Explore,
    Explored,
    Inspect,
    Inspected,
    Outcome,
    Renew,
    Renewed,
    Retry,
    Revoke,
    Survey,
    Surveyed,
    Ticket,
    Watch,
)
from resumable_glance.protocol.digests import OF_IMAGES, declared_hex
from resumable_glance.protocol.offers import Offer
from resumable_glance.protocol.ranges import Range
from resumable_glance.protocol.upload import WITH_HANDOFF, Image, ImageRequest, State, Upload

T = TypeVar("T")


class _Way(TypedDict):
    """As in ImageRequest."""

    store: str | None
    stores: tuple[str, ...] | None
    all_stores: bool


MOUNT = "/v1/uploads"
ACCEPTED = "application/octet-stream"
ZEROS = "application/vnd.resumable-glance.zeros"
ACCEPT_PATCH = f"{ACCEPTED}, {ZEROS}"
METHODS = {True: ("GET", "HEAD", "PATCH", "DELETE", "OPTIONS"), False: ("GET", "HEAD", "POST", "OPTIONS")}
ASPECTS: Mapping[str, tuple[str, ...]] = {
    "ticket": ("POST", "DELETE", "OPTIONS"),
    "retry": ("POST", "OPTIONS"),
    "receipt": ("GET", "HEAD", "OPTIONS"),
    "events": ("GET", "OPTIONS"),
}
STORES = "stores"  # the aspect of no upload: what the cloud offers to all of them
OF_STORES = ("GET", "HEAD", "OPTIONS")
LARGEST_DOCUMENT = 64 * 1024  # bytes of JSON
MOST_RANGES_IN_HEADER = 100  # GET tells more; a header must stay small for proxies
MOST_LISTED = 1000
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


def parse(head: Head, document: bytes, place: Place) -> Command:
    """The command of a request. `document` is the body of a POST, empty otherwise.

    Refused: MALFORMED, METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING, UNSUPPORTED_DIGEST, and of a
    body that its head already shows to be too large CHUNK_TOO_LARGE, BODY_TOO_LONG.
    """
    fields.check_encoding(head)
    if head.aspect is not None:
        return _of_aspect(head, document)
    match head.method, head.upload_id:
        case "POST", None:
            return _create(head, document)
        case "GET" | "HEAD", None:
            return _survey(head.query)
        case "PATCH", str(upload_id):
            return _append(head, upload_id, place.max_chunk_size)
        case "GET" | "HEAD", str(upload_id):
            return Inspect(upload_id)
        case "DELETE", str(upload_id):
            return Discard(upload_id)
        case _:
            raise fields.method_not_allowed(head.method, _methods(head))


def render(outcome: Outcome, place: Place) -> Reply:
    match outcome:
        case Created(upload, ticket):
            headers = {**_headers(upload), "Location": f"{place.base}{MOUNT}/{upload.id}"}
            return Reply(201, headers, {**_described(Inspected(upload, (), 0), place), "ticket": _shown(ticket)})
        case Appended(upload):
            return Reply(204, _headers(upload))
        case Inspected(upload, durable):
            headers = {**_headers(upload), "Cache-Control": "no-store"}
            if durable:
                headers["Upload-Ranges"] = _range_set(durable[:MOST_RANGES_IN_HEADER])
            return Reply(200, headers, _described(outcome, place))
        case Surveyed(uploads, all_projects):
            listed = [_summary(each, place) | (_whose(each) if all_projects else {}) for each in uploads]
            return Reply(200, {"Cache-Control": "no-store"}, {"uploads": listed})
        case Explored(offer):
            return Reply(200, {"Cache-Control": "no-store"}, _offered(offer))
        case Attested(said, jws):
            return Reply(200, {"Cache-Control": "no-store"}, {**said, "jws": jws})
        case Renewed(ticket):
            return Reply(201, {"Cache-Control": "no-store"}, _shown(ticket))
        case _:
            return Reply(204)


def options(head: Head, place: Place) -> Reply:
    allow = ", ".join(_methods(head))
    return Reply(200, {"Allow": allow, "Accept-Patch": ACCEPT_PATCH}, capabilities(place))


def refuse(refusal: Refused, method: str, place: Place) -> Reply:
    return problems.refuse(refusal, place)


def capabilities(place: Place) -> Mapping[str, object]:
    """What can be done here, for OPTIONS and GET /. Sizes in bytes, times in seconds."""
    return {
        "href": f"{place.base}{MOUNT}",
        "chunks": {
            "content_type": ACCEPTED,
            "max_size": place.max_chunk_size,
            "any_order": True,
            "parallel": True,
            "digests": {"Content-Digest": list(fields.RFC9530), "Content-MD5": ["md5"]},
        },
        "zeros": {"content_type": ZEROS},
        "max_size": place.max_upload_size,
        "whole_image_digests": list(OF_IMAGES),
        "expiry": place.upload_expiry,
        "record_retention": place.record_retention,
    }


def _methods(head: Head) -> Sequence[str]:
    if head.aspect is None:
        return METHODS[head.upload_id is not None]
    return OF_STORES if head.aspect == STORES else ASPECTS[head.aspect]


def _of_aspect(head: Head, document: bytes) -> Command:
    match head.method, head.aspect:
        case "POST", "ticket":
            if document:
                fields.malformed("A new ticket is asked for without a body.")
            return Renew(str(head.upload_id))
        case "DELETE", "ticket":
            return Revoke(str(head.upload_id))
        case "POST", "retry":
            if document:
                fields.malformed("Another try is asked for without a body.")
            return Retry(str(head.upload_id))
        case "GET" | "HEAD", "receipt":
            return Attest(str(head.upload_id))
        case "GET" | "HEAD", "stores":
            return Explore()
        case "GET", "events":
            return Watch(str(head.upload_id))
        case _:
            raise fields.method_not_allowed(head.method, _methods(head))


def _create(head: Head, document: bytes) -> Create:
    if fields.media_type(head) != "application/json":
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE, "Describe the upload in JSON, with Content-Type: application/json."
        )
    described = fields.json_object(document)
    problem = jsonschema.exceptions.best_match(_VALIDATOR.iter_errors(described))
    if problem is not None:
        where = problem.absolute_path
        fields.malformed(f"In {'/'.join(map(str, where)) or 'the document'}: {problem.message[:300]}")
    return Create(
        size=_typed(described["size"], int),
        image=_image(described),
        declared=tuple(declared_hex(name, text) for name, text in _typed(described.get("digests", {}), dict).items()),
        key=fields.idempotency_key(head),
    )


def _image(described: Mapping[str, object]) -> ImageRequest:
    properties = dict(_typed(described.get("image", {}), dict))
    further = properties.pop("properties", {})
    return ImageRequest(
        properties | {fields.further_property(name): value for name, value in further.items()},
        None if "image_id" not in described else str(described["image_id"]),
        **_way(described),
    )


def _way(described: Mapping[str, object]) -> _Way:
    """How the bytes get into which stores: plainly, unless there is more than one."""
    every = described.get("all_stores") is True
    stores = tuple(map(str, _typed(described.get("stores", []), list)))
    if "store" in described:
        if stores:
            fields.malformed("Say either store or stores.")
        stores = (str(described["store"]),)
    if every and stores:
        fields.malformed("Say either all_stores or which.")
    method = described.get("method", "import" if every or len(stores) > 1 else "upload")
    if method == "import":
        return {"store": None, "stores": None if every else stores, "all_stores": every}
    if every or len(stores) > 1:
        fields.malformed("An upload fills one store. Several take the method import.")
    return {"store": stores[0] if stores else None, "stores": None, "all_stores": False}


def _append(head: Head, upload_id: str, largest: int) -> Append:
    media_type = fields.media_type(head) or ACCEPTED
    if media_type == "multipart/form-data":
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE,
            "A form is not an image: its header lines would become part of it. Send the chunk's bytes alone as the "
            f"body (in a browser: fetch(url, {{method: 'PATCH', body: file.slice(first, last + 1)}})), as {ACCEPTED}.",
            accept_patch=ACCEPT_PATCH,
        )
    if media_type not in {ACCEPTED, ZEROS}:
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE,
            f"Send the chunk's bytes alone, with Content-Type: {ACCEPTED}.",
            accept_patch=ACCEPT_PATCH,
        )
    text = fields.single(head, "content-range")
    if text is None:
        fields.malformed("Say where the chunk belongs: Content-Range: bytes FIRST-LAST/TOTAL.")
    range_, total = fields.content_range(text)
    zeros = media_type == ZEROS
    if range_.length > largest and not zeros:
        raise Refused(
            Reason.CHUNK_TOO_LARGE,
            f"A chunk may have at most {largest} bytes. Cut it into smaller ones.",
            limit=largest,
        )
    length, room = fields.single(head, "content-length"), 0 if zeros else range_.length
    if length is not None and fields.integer(length, "Content-Length") > room:
        has = "a run of zeros has none" if zeros else f"its range only {room}"
        raise Refused(Reason.BODY_TOO_LONG, f"The body has {length} bytes, {has}.")
    whole = fields.single(head, "repr-digest")
    declared = () if whole is None else tuple(fields.structured_digests(whole, "Repr-Digest"))
    chunk = Chunk(range_.start, range_.length, fields.chunk_digests(head), zeros=zeros)
    return Append(upload_id, chunk, total, declared)


def _survey(query: Mapping[str, str]) -> Survey:
    limit = fields.integer(query.get("limit", str(MOST_LISTED)), "limit")
    everybodys = query.get("all_projects", "0")
    if everybodys not in {"0", "1"}:
        fields.malformed("all_projects is 1, for the uploads of everybody, or 0.")
    return Survey(min(limit, MOST_LISTED), query.get("marker"), everybodys == "1")


def _headers(upload: Upload) -> dict[str, str]:
    headers = {"Upload-Offset": str(upload.offset), "Upload-State": upload.state.value}
    if upload.size is not None:
        headers["Upload-Length"] = str(upload.size)
    if upload.state is State.RECEIVING:
        headers["Upload-Expires"] = email.utils.formatdate(upload.expires_at, usegmt=True)
    return headers


def _described(inspected: Inspected, place: Place) -> dict[str, object]:
    upload = inspected.upload
    waits = upload.trouble is not None and upload.state in WITH_HANDOFF
    return {
        **_summary(upload, place),
        "ranges": [[each.start, each.stop - 1] for each in inspected.durable],
        **_chosen(upload.image),
        "parts": list(upload.parts),
        "joined_into": upload.joined_into,
        "digests": {each.algorithm: each.value.hex() for each in upload.declared},
        "format": None if upload.format is None
        else {"declared": upload.format.declared, "detected": upload.format.detected,
              "virtual_size": upload.format.virtual_size, "min_disk": upload.format.min_disk},
        "hashes": None if upload.proof is None else {"md5": upload.proof.md5, "sha512": upload.proof.sha512},
        "handoff": {
            "attempts": upload.attempts,
            "delivered": upload.size if upload.state in {State.VERIFYING, State.ACTIVE} else inspected.delivered,
            "next_attempt_at": _iso(upload.next_attempt_at) if waits else None,
            "trouble": None if upload.trouble is None
            else {"reason": upload.trouble.hitch.value, "detail": upload.trouble.detail},
        },
    }  # fmt: skip


def _summary(upload: Upload, place: Place) -> dict[str, object]:
    return {
        "id": upload.id,
        "href": f"{place.base}{MOUNT}/{upload.id}",
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


def _offered(offer: Offer) -> dict[str, object]:
    stores = [
        {"id": each.id, "description": each.description, "default": each.default, "read_only": each.read_only}
        for each in offer.stores
    ]
    return {"stores": stores, "import_methods": list(offer.import_methods)}


def _whose(upload: Upload) -> dict[str, object]:
    return {"owner": {"project_id": upload.owner.project_id, "user_id": upload.owner.user_id}}


def _shown(ticket: Ticket) -> dict[str, object]:
    return {"value": ticket.value, "expires_at": _iso(ticket.expires_at)}


def _range_set(ranges: Sequence[Range]) -> str:
    """As in a Range field (RFC 9110, section 14.1.2): bytes=0-1048575,4194304-5242879"""
    return "bytes=" + ",".join(f"{each.start}-{each.stop - 1}" for each in ranges)


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _typed(value: object, kind: type[T]) -> T:
    """`value`, which the schema has found to be of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not {kind}")
    return value
