"""The native API in OpenAPI 3.1, made from the service's own tables: docs/openapi.json.

What the source has no table of (which operation refuses what) is written here. Whether answers really are so,
test_openapi.py asks the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from resumable_glance import __version__
from resumable_glance.api.protocols import native, parsing, problems
from resumable_glance.errors import Reason
from tests.openapi_schemas import BYTES, FACTS, NUMBER, TEXT, Json, Meanings, schemas

HTTP_DATE: Json = {"type": "string", "pattern": "^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$"}

# Headers of answers
HEADERS: Mapping[str, tuple[str, Json]] = {
    "X-Openstack-Request-Id": (
        "The id of this request, as the service's log has it.",
        {"type": "string", "pattern": "^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
    ),
    "Accept-Patch": ("What a chunk's Content-Type is.", {"const": native.ACCEPT_PATCH}),
    "Allow": ("The methods of this address.", TEXT),
    "Cache-Control": ("Do not keep the answer.", {"const": "no-store"}),
    "Location": ("The upload's address.", {"type": "string", "format": "uri"}),
    "Retry-After": ("Seconds to wait.", NUMBER),
    "Upload-Expires": ("When the upload will be removed; only while it is receiving.", HTTP_DATE),
    "Upload-Length": ("Bytes of the whole image.", BYTES),
    "Upload-Offset": ("Bytes from the first one on that are durable without a gap.", BYTES),
    "Upload-Ranges": (
        f"The durable ranges, at most {native.MOST_RANGES_IN_HEADER}. Absent if there are none.",
        {"type": "string", "pattern": "^bytes=[0-9]+-[0-9]+(,[0-9]+-[0-9]+)*$"},
    ),
    "Upload-State": ("The upload's state.", {"$ref": "#/components/schemas/State"}),
    "WWW-Authenticate": ("How to show who you are.", {"enum": list(problems.CHALLENGES.values())}),
}
OF_AN_UPLOAD = {"Upload-Offset": True, "Upload-State": True, "Upload-Length": False, "Upload-Expires": False}

# Which operation refuses what
_ANY = (Reason.MALFORMED, Reason.HEAD_TOO_LARGE, Reason.OVER_LIMIT, Reason.BUSY, Reason.UNSUPPORTED_ENCODING,
        Reason.UNAUTHENTICATED, Reason.FORBIDDEN,
        Reason.IDENTITY_UNAVAILABLE, Reason.NO_SPACE, Reason.SCRATCH_FAILED, Reason.INTERNAL)  # fmt: skip
_OF_ONE = (*_ANY, Reason.NOT_FOUND, Reason.UNKNOWN_UPLOAD, Reason.EXPIRED, Reason.TICKET_EXPIRED)
_CREATE = (*_ANY, Reason.KEY_REUSED, Reason.UNSUPPORTED_MEDIA_TYPE, Reason.BODY_TOO_LONG, Reason.UPLOAD_TOO_LARGE,
           Reason.IMAGE_UNKNOWN,
           Reason.IMAGE_NOT_QUEUED, Reason.IMAGE_REFUSED, Reason.OVER_QUOTA, Reason.IMAGE_SERVICE_UNAVAILABLE,
           Reason.STALLED, Reason.CLOSING)  # fmt: skip
_APPEND = (*_OF_ONE, Reason.CANCELLED, Reason.SEALED, Reason.LOST, Reason.UNSUPPORTED_MEDIA_TYPE,
           Reason.UNSUPPORTED_DIGEST, Reason.WRONG_TOTAL, Reason.WRONG_DIGEST, Reason.JOINED,
           Reason.UPLOAD_TOO_LARGE, Reason.BODY_TOO_LONG, Reason.BODY_TOO_SHORT,
           Reason.CHUNK_TOO_LARGE, Reason.CHUNK_DIGEST_MISMATCH, Reason.DIFFERENT_BYTES, Reason.STALLED,
           Reason.FORMAT_MISMATCH, Reason.UNSAFE_IMAGE, Reason.DISK_TOO_LARGE,
           Reason.SUPERSEDED, Reason.CLOSING)  # fmt: skip
_SHOW = (*_OF_ONE, Reason.CANCELLED)
_RECEIPT = (*_OF_ONE, Reason.CANCELLED, Reason.UNFINISHED)
_RETRY = (*_OF_ONE, Reason.CANCELLED, Reason.UNFINISHED, Reason.JOINED, Reason.USELESS,
          Reason.BODY_TOO_LONG, Reason.STALLED)  # fmt: skip
_CANCEL = (*_OF_ONE, Reason.SEALED, Reason.JOINED)
_WATCH = (*_SHOW, Reason.OVER_LIMIT, Reason.CLOSING)
_RENEW = (*_OF_ONE, Reason.CANCELLED, Reason.BODY_TOO_LONG, Reason.STALLED)


def document(states: Meanings, reasons: Meanings) -> Json:
    """The whole description. `states` and `reasons` tell what these mean."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "resumable-glance, native protocol",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Resumable uploads of images into OpenStack Glance. Sizes and offsets are in bytes, times "
            "in seconds. What an upload does when requests overlap, repeat or break: docs/native-protocol.md.",
        },
        "servers": [{"url": "{endpoint}", "variables": {"endpoint": {"default": "http://127.0.0.1:8970"}}}],
        "security": [{"token": []}, {"ticket": []}],
        "paths": {
            "/": {"get": _root("showRoot"), "head": _bodiless(_root("headRoot")), "options": _root("rootOptions")},
            "/v1/keys": {
                "get": _keys("showKeys"),
                "head": _bodiless(_keys("headKeys")),
                "options": _keys("keysOptions"),
            },
            f"/v1/{native.STORES}": {
                "get": _stores(reasons),
                "head": _bodiless({**_stores(reasons), "operationId": "headStores"}),
                "options": _options("storesOptions"),
            },
            native.MOUNT: {each.lower(): _OF_ALL[each](reasons) for each in native.METHODS[False]},
            native.MOUNT + "/{upload_id}": {
                "parameters": [_parameter("path", "upload_id", "The upload's id.", _ID, required=True)],
                **{each.lower(): _OF_ONE_UPLOAD[each](reasons) for each in native.METHODS[True]},
            },
            **{
                f"{native.MOUNT}/{{upload_id}}/{aspect}": {
                    "parameters": [_parameter("path", "upload_id", "The upload's id.", _ID, required=True)],
                    **{each.lower(): _OF_ASPECTS[aspect][each](reasons) for each in methods if each != "OPTIONS"},
                    "options": _options(f"{aspect}Options", [_NOT_LOOKED_AT]),
                }
                for aspect, methods in native.ASPECTS.items()
            },
        },
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey", "in": "header", "name": "X-Auth-Token",
                    "description": "A Keystone token, scoped to a project. An upload belongs to the user and project "
                    "of the token that created it; for anybody else it does not exist.",
                },
                "ticket": {
                    "type": "http", "scheme": "bearer",
                    "description": "A ticket, which its creation or its owner has got for the upload: it sends, shows "
                    "and cancels that one, and nothing else.",
                },
            },
            "headers": {
                name + suffix: {"description": meaning, "required": required, "schema": schema}
                for name, (meaning, schema) in HEADERS.items()
                for required, suffix in _SUFFIX.items()
            },
            "schemas": schemas(states, reasons),
        },
    }  # fmt: skip


# Operations


def _root(name: str) -> Json:
    return {
        **_operation(name, "What this service is and can do", {"200": _answer("What it is.", "Root", {"Allow": True})}),
        **_OPEN,
    }


def _options(name: str, parameters: Iterable[Json] = ()) -> Json:
    told = _answer("The limits of this dialect.", "Capabilities", {"Allow": True, "Accept-Patch": True})
    return {**_operation(name, "The limits of this dialect", {"200": told}, parameters), **_OPEN}


def _list(reasons: Meanings) -> Json:
    parameters = [
        _parameter("query", "limit", f"How many at most; never more than {native.MOST_LISTED}.",
                   {**BYTES, "default": native.MOST_LISTED}),
        _parameter("query", "marker", "An upload's id: those after it.", TEXT),
        _parameter("query", "all_projects", "1: those of everybody, for who may see them.", {"enum": ["0", "1"]}),
    ]  # fmt: skip
    answers = {"200": _answer("Your own, newest first.", "List", {"Cache-Control": True}), **_refusals(_ANY, reasons)}
    return {**_operation("listUploads", "List your uploads", answers, parameters), **_OF_OWNERS}


def _create(reasons: Meanings) -> Json:
    created = _answer("The upload's address and description.", "Created", {"Location": True, **OF_AN_UPLOAD})
    created["links"] = {
        "show": _link("showUpload", "Where it is."),
        "head": _link("headUpload", "Where it is, in headers."),
        "revoke": _link("revokeTickets", "Its tickets are good no more."),
        "renew": _link("renewTicket", "A fresh ticket for it."),
        "begin": _link("sendChunk", "Its first byte; the rest goes the same way.",
                       {"header.Content-Range": "bytes 0-0/{$response.body#/size}"}),
        "prove": _link("showReceipt", "Its receipt, in the end."),
        "proven": _link("headReceipt", "Whether there is one."),
        "retry": _link("retryUpload", "Hand it over once more."),
        "cancel": _link("cancelUpload", "Give it up."),
    }  # fmt: skip
    example = {"size": 1, "image": {"name": "first", "disk_format": "raw", "container_format": "bare"}}
    body = {"schema": {"$ref": "#/components/schemas/Create"}, "example": example}
    key = _parameter("header", "Idempotency-Key",
                     f"A string in quotes, at most {parsing.LONGEST_KEY} characters; the same creation with the same "
                     "key gives the same upload, until that has ended.",
                     {"type": "string", "pattern": f'^"[ !#-[\\]-~]{{1,{parsing.LONGEST_KEY}}}"$'})  # fmt: skip
    answers = {"201": created, **_refusals(_CREATE, reasons)}
    return {
        **_operation("createUpload", "Create an upload", answers, [key]),
        **_OF_OWNERS,
        "requestBody": {
            "description": f"At most {native.LARGEST_DOCUMENT} bytes.",
            "required": True,
            "content": {"application/json": body},
        },
    }


def _show(reasons: Meanings) -> Json:
    headers = {**OF_AN_UPLOAD, "Upload-Ranges": False, "Cache-Control": True}
    answers = {"200": _answer("Where it is.", "Upload", headers), **_refusals(_SHOW, reasons)}
    return _operation("showUpload", "Where is the upload, and everything else", answers)


def _append(reasons: Meanings) -> Json:
    parameters = [
        _parameter("header", "Content-Range",
                   "Where the body belongs: bytes FIRST-LAST/TOTAL. LAST is inclusive, TOTAL is the upload's size.",
                   {"type": "string", "pattern": f"^{parsing.CONTENT_RANGE.pattern}$"}, required=True),
        _parameter("header", "Content-Digest",
                   f"Of this body (RFC 9530): {', '.join(parsing.RFC9530)}. Example: md5=:XUFAKrxLKna5cZ2REBfFkg==:",
                   TEXT),
        _parameter("header", "Content-MD5", "The md5 of this body, in base64.",
                   {"type": "string", "pattern": "^[A-Za-z0-9+/]{21}[AQgw]==$"}),
        _parameter("header", "Repr-Digest", "Of the whole image, as Content-Digest. With any chunk, the last one too.",
                   TEXT),
    ]  # fmt: skip
    sealed = "Every byte of the chunk is durable. The state is sealed (or later) if it was the last one missing."
    answers = {"204": _answer(sealed, None, OF_AN_UPLOAD), **_refusals(_APPEND, reasons)}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        **_operation("sendChunk", "Send a chunk", answers, parameters),
        "requestBody": {
            "description": "The bytes alone, as many as the range has. A run of zeros has none, and may be longer.",
            "required": True,
            "content": {native.ACCEPTED: binary, native.ZEROS: {"schema": {"const": ""}}},
        },
    }


def _cancel(reasons: Meanings) -> Json:
    answers = {"204": _answer("It is cancelled, and its bytes are gone.", None), **_refusals(_CANCEL, reasons)}
    return _operation("cancelUpload", "Cancel the upload", answers)


def _watch(reasons: Meanings) -> Json:
    told = _answer("The upload, now and whenever it changes.", None, {"Cache-Control": True})
    members: Json = {
        "event": {"enum": ["upload", "problem"]},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "An Upload, or a Problem."},
    }
    each = {"type": "object", "description": "Each of the events.", "properties": members, "required": list(members)}
    told["content"] = {"text/event-stream": {"schema": each}}
    return _operation("watchUpload", "Watch the upload", {"200": told, **_refusals(_WATCH, reasons)})


def _renew(reasons: Meanings) -> Json:
    answers = {"201": _answer("A ticket.", "Ticket", {"Cache-Control": True}), **_refusals(_RENEW, reasons)}
    return {
        **_operation("renewTicket", "A fresh ticket; and the handoff goes on with this token", answers),
        **_OF_OWNERS,
    }


def _revoke(reasons: Meanings) -> Json:
    answers = {"204": _answer("No ticket of this upload is good any more.", None), **_refusals(_OF_ONE, reasons)}
    return {**_operation("revokeTickets", "Revoke all tickets of the upload", answers), **_OF_OWNERS}


def _receipt(reasons: Meanings) -> Json:
    answers = {"200": _answer("The receipt.", "Receipt", {"Cache-Control": True}), **_refusals(_RECEIPT, reasons)}
    return _operation("showReceipt", "The proof that the image is the file, signed", answers)


def _stores(reasons: Meanings) -> Json:
    answers = {
        "200": _answer("Which ones there are.", "Stores", {"Cache-Control": True}),
        **_refusals((*_ANY, Reason.TICKET_EXPIRED, Reason.IMAGE_SERVICE_UNAVAILABLE), reasons),
    }
    return {**_operation("showStores", "The stores and import methods of this cloud", answers), **_OF_OWNERS}


def _keys(name: str) -> Json:
    told = _answer("Those that sign, and those that have signed.", "Keys", {"Allow": True})
    return {**_operation(name, "The public keys of receipts", {"200": told}), **_OPEN}


def _retry(reasons: Meanings) -> Json:
    headers = {**OF_AN_UPLOAD, "Upload-Ranges": False, "Cache-Control": True}
    answers = {"200": _answer("It is tried again.", "Upload", headers), **_refusals(_RETRY, reasons)}
    return {**_operation("retryUpload", "Try the handoff once more", answers), **_OF_OWNERS}


_ID: Json = {"$ref": "#/components/schemas/Id"}
_NOT_LOOKED_AT: Json = {
    "name": "upload_id", "in": "path", "required": True, "description": "Not looked at.", "schema": TEXT,
}  # fmt: skip
_OPEN: Json = {"security": []}
_OF_OWNERS: Json = {"security": [{"token": []}]}
_SUFFIX = {True: "", False: "-sometimes"}  # of a header that an answer always has, or not
_OF_ALL: Mapping[str, Callable[[Meanings], Json]] = {
    "GET": _list,
    "HEAD": lambda reasons: _bodiless({**_list(reasons), "operationId": "headUploads"}),
    "POST": _create,
    "OPTIONS": lambda _: _options("uploadsOptions"),
}
_OF_ONE_UPLOAD: Mapping[str, Callable[[Meanings], Json]] = {
    "GET": _show,
    "HEAD": lambda reasons: _bodiless({**_show(reasons), "operationId": "headUpload"}),
    "PATCH": _append,
    "DELETE": _cancel,
    "OPTIONS": lambda _: _options("uploadOptions", [_NOT_LOOKED_AT]),
}
_OF_ASPECTS: Mapping[str, Mapping[str, Callable[[Meanings], Json]]] = {
    "ticket": {"POST": _renew, "DELETE": _revoke},
    "retry": {"POST": _retry},
    "receipt": {
        "GET": lambda reasons: _receipt(reasons),
        "HEAD": lambda reasons: _bodiless({**_receipt(reasons), "operationId": "headReceipt"}),
    },
    "events": {"GET": _watch},
}


def _operation(name: str, summary: str, answers: Json, parameters: Iterable[Json] = ()) -> Json:
    theirs = _parameter("header", "X-Openstack-Request-Id", "An id of your own. It is logged next to ours.", TEXT)
    return {"operationId": name, "summary": summary, "parameters": [*parameters, theirs], "responses": answers}


def _bodiless(operation: Json) -> Json:
    """As it answers to HEAD."""
    answers = {
        status: {name: value for name, value in answer.items() if name != "content"}
        for status, answer in operation["responses"].items()
    }
    return {**operation, "responses": answers}


def _parameter(place: str, name: str, meaning: str, schema: Json, required: bool = False) -> Json:
    return {"name": name, "in": place, "required": required, "description": meaning, "schema": schema}


def _link(operation: str, meaning: str, parameters: Mapping[str, str] | None = None) -> Json:
    named = {"path.upload_id": "$response.body#/id", **(parameters or {})}
    return {"operationId": operation, "description": meaning, "parameters": named}


def _answer(meaning: str, schema: str | None, headers: Mapping[str, bool] | None = None) -> Json:
    """An answer with JSON, or without a body. `headers` tells which it always has."""
    described: Json = {"description": meaning, "headers": _headers(headers or {})}
    if schema is not None:
        described["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return described


def _headers(always: Mapping[str, bool]) -> Json:
    named = {"X-Openstack-Request-Id": True, **always}
    return {name: {"$ref": f"#/components/headers/{name}{_SUFFIX[required]}"} for name, required in named.items()}


def _refusals(reasons: Iterable[Reason], meanings: Meanings) -> Json:
    """The problems among these, by status."""
    found: dict[int, list[Reason]] = {}
    for each in reasons:
        found.setdefault(problems.STATUS[each], []).append(each)
    return {str(status): _refusal(status, found[status], meanings) for status in sorted(found)}


def _refusal(status: int, reasons: list[Reason], meanings: Meanings) -> Json:
    headers = {"Cache-Control": True}
    for fact, header in problems.HEADERS.items():
        telling = FACTS[fact][1].intersection(reasons)
        if telling:
            headers[header] = fact == "retry_after" and len(telling) == len(reasons)
    if problems.CHALLENGES.keys() & set(reasons):
        headers["WWW-Authenticate"] = True
    types = {"enum": [problems.TYPE_PREFIX + each.value for each in reasons]}
    schema = {"$ref": "#/components/schemas/Problem", "properties": {"type": types, "status": {"const": status}}}
    return {
        "description": "\n".join(f"- `{each.value}`: {meanings[each][0]}" for each in reasons),
        "headers": _headers(headers),
        "content": {"application/problem+json": {"schema": schema}},
    }
