"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload, the revision after -11, interop version 8).

Chunks come in order; whoever asks or sends takes over from an older request of the same upload. Not the size but
Upload-Complete says whether an upload is complete. ASGI can't send 104, so nobody is told an upload's address early.

    POST /v1/rufh -> Create     HEAD, GET /v1/rufh/{id} -> Inspect     PATCH -> Append     DELETE -> Discard

What older interop versions say otherwise is in `_completes` and `_append`; answers suit all of them.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import http_sf

from resumable_glance.api.protocols import image_metadata, parsing, problems
from resumable_glance.api.protocols.base import Head, Reply, RequestContext
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import (
    Append,
    Appended,
    Cancel,
    Chunk,
    Command,
    Create,
    Created,
    Get,
    Outcome,
    UploadFound,
)
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Upload

MOUNT = "/v1/rufh"
ASPECTS: Mapping[str, tuple[str, ...]] = {}
LARGEST_DOCUMENT = 0  # a POST's body is the first chunk
CONTENT = "application/partial-upload"
VERSIONS = (8, 7, 6, 5, 4, 3)
WITH_INCOMPLETE = frozenset({3})  # interop versions that say Upload-Incomplete
OF_ANY_TYPE = frozenset({3, 4, 5})  # interop versions without a media type for PATCH
METHODS = {True: ("HEAD", "GET", "PATCH", "DELETE", "OPTIONS"), False: ("POST", "OPTIONS")}
LARGEST_INTEGER = 10**15 - 1  # of structured fields
_REGISTRY = "https://iana.org/assignments/http-problem-types#"
# Reasons that have a type and a status of their own in the draft; the last one until revision 11.
_TYPES: Mapping[Reason, tuple[int, str, str]] = {
    Reason.WRONG_OFFSET: (409, "mismatching-upload-offset", "Mismatching Upload Offset"),
    Reason.WRONG_TOTAL: (400, "inconsistent-upload-length", "Inconsistent Upload Length Values"),
    Reason.SEALED: (400, "completed-upload", "Upload Is Completed"),
}
_MEMBERS = {
    ("mismatching-upload-offset", "offset"): "expected-offset",
    ("mismatching-upload-offset", "provided"): "provided-offset",
}


def parse(head: Head, document: bytes, place: RequestContext) -> Command:
    """The command of a request.

    Refused: MALFORMED, METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING, UNSUPPORTED_DIGEST,
    WRONG_TOTAL.
    """
    parsing.check_encoding(head)
    match head.method, head.upload_id:
        case "POST", None:
            return _create(head)
        case "PATCH", str(upload_id):
            return _append(head, upload_id)
        case "HEAD" | "GET", str(upload_id):
            return Get(upload_id, taking_over=True, full_is_complete=False)
        case "DELETE", str(upload_id):
            return Cancel(upload_id)
        case _:
            raise parsing.method_not_allowed(head.method, METHODS[head.upload_id is not None])


def options(head: Head, place: RequestContext) -> Reply:
    allow = ", ".join(METHODS[head.upload_id is not None])
    return Reply(204, {"Allow": allow, "Accept-Patch": CONTENT, "Upload-Limit": _limits(place, place.upload_expiry)})


def render(outcome: Outcome, place: RequestContext) -> Reply:
    match outcome:
        case Created(upload):
            return Reply(201, _headers(upload, place) | _location(upload, place))
        case Appended(upload) if is_complete(upload):  # as if all had come with the creation
            return Reply(201, _headers(upload, place) | _location(upload, place))
        case Appended(upload):
            return Reply(204, _headers(upload, place))
        case UploadFound(upload) if (
            upload.delivery.last_error is not None and upload.delivery.last_error.reason is FailureReason.SCRATCH_LOST
        ):
            return problems.refuse(Refused(Reason.LOST, upload.delivery.last_error.detail), place)
        case UploadFound(upload):
            headers = _headers(upload, place) | {"Cache-Control": "no-store"}
            if upload.size is not None:
                headers["Upload-Length"] = str(upload.size)
            return Reply(204, headers)
        case _:
            return Reply(204)


def refuse(refusal: Refused, method: str, place: RequestContext) -> Reply:
    """As everywhere, but for what the draft has types of its own for.

    Whoever sent bytes is told that it is the upload that speaks, and not what becomes of it: Upload-Complete: ?0.
    """
    reply = problems.refuse(refusal, place)
    if method not in {"POST", "PATCH"}:
        return reply
    headers = {**reply.headers, **_completeness(False)}
    # More bytes than the upload has are a length that does not fit; else it is the body that is too long for us.
    exceeds = refusal.reason is Reason.BODY_TOO_LONG and "size" in refusal.facts
    own = _TYPES.get(Reason.WRONG_TOTAL if exceeds else refusal.reason)
    if own is None:
        if reply.status == 413:
            headers["Upload-Limit"] = _limits(place, None, append=refusal.reason is Reason.BODY_TOO_LONG)
        return Reply(reply.status, headers, reply.document)
    status, name, title = own
    document = {**(reply.document or {}), "type": _REGISTRY + name, "title": title, "status": status}
    return Reply(status, headers, {_MEMBERS.get((name, key), key): value for key, value in document.items()})


def is_complete(upload: Upload) -> bool:
    """Whether nothing can be appended any more. A part, which another dialect has begun, never says so itself."""
    return upload.state is not State.RECEIVING or (upload.image is None and upload.filled)


def _create(head: Head) -> Create:
    if parsing.media_type(head) == "multipart/form-data":
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE,
            "A form is not an image: its header lines would become part of it. Send the bytes alone as the body (in a "
            "browser: fetch(url, {method: 'POST', body: file})).",
        )
    last, length, size = _completes(head), _length(head), _natural(head, "upload-length")
    if size is not None and length is not None and (length != size if last else length > size):
        raise Refused(Reason.WRONG_TOTAL, f"The body has {length} bytes, but Upload-Length says {size}.")
    if size is None and last:
        size = length
    first, key = _chunk(head, 0, length, last), parsing.idempotency_key(head)
    return Create(size, image_metadata.requested(_image(head)), _of_the_whole(head), first=first, key=key)


def _image(head: Head) -> dict[str, str]:
    """What the query says of the image, and the name of its file in Content-Disposition. Refused: MALFORMED."""
    unknown = [key for key in head.query if not image_metadata.is_key(key)]
    if unknown:
        parsing.malformed(f"{unknown[0][:50]!r} in the query means nothing here.")
    filename = parsing.filename(head)
    return {**({} if filename is None else {"filename": filename}), **head.query}


def _append(head: Head, upload_id: str) -> Append:
    if (
        parsing.media_type(head) != CONTENT
        and parsing.item(head, "upload-draft-interop-version", int) not in OF_ANY_TYPE
    ):
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE, f"Send the bytes alone, with Content-Type: {CONTENT}.", accept_patch=CONTENT
        )
    offset = _natural(head, "upload-offset")
    if offset is None:
        parsing.malformed("Say where the bytes belong: Upload-Offset, a number such as 1048576.")
    chunk = _chunk(head, offset, _length(head), _completes(head))
    return Append(upload_id, chunk, _natural(head, "upload-length"), _of_the_whole(head))


def _chunk(head: Head, start: int, length: int | None, last: bool) -> Chunk:
    return Chunk(start, length, parsing.chunk_digests(head), in_order=True, last=last)


def _of_the_whole(head: Head) -> tuple[Digest, ...]:
    text = parsing.single(head, "repr-digest")
    return () if text is None else tuple(parsing.structured_digests(text, "Repr-Digest"))


def _completes(head: Head) -> bool:
    """Whether the upload is complete with this body. Refused: MALFORMED where the request does not say so.

    Interop version 3 says the opposite, in Upload-Incomplete; a PATCH without it is the last one.
    """
    if parsing.item(head, "upload-draft-interop-version", int) in WITH_INCOMPLETE:
        incomplete = parsing.item(head, "upload-incomplete", bool)
        if incomplete is None and head.method == "PATCH" and "upload-incomplete" not in head.headers:
            return True
        complete = None if incomplete is None else not incomplete
    else:
        complete = parsing.item(head, "upload-complete", bool)
    if complete is None:
        parsing.malformed("Say whether the upload is complete with this body: Upload-Complete: ?1, or ?0.")
    return complete


def _natural(head: Head, name: str) -> int | None:
    """A number of bytes; anything else counts as absent, as the draft demands."""
    value = parsing.item(head, name, int)
    return None if value is None or value < 0 else value


def _length(head: Head) -> int | None:
    """The bytes of the body; None where only its end tells (RFC 9112, section 6.3)."""
    length = parsing.single(head, "content-length")
    if length is None:
        return None if "transfer-encoding" in head.headers else 0
    return parsing.integer(length, "Content-Length")


def _headers(upload: Upload, place: RequestContext) -> dict[str, str]:
    """What every answer about an upload tells. Interop versions before 7 want the offset in each."""
    left = max(0, int(upload.expires_at - place.now)) if upload.state is State.RECEIVING else None
    headers = _completeness(is_complete(upload)) | {
        "Upload-Offset": str(upload.offset),
        "Upload-State": upload.state.value,
        "Upload-Limit": _limits(place, left, append=upload.size is None),
    }
    if upload.delivery.proof is not None:
        hashes = {"md5": upload.delivery.proof.md5, "sha-512": upload.delivery.proof.sha512}
        headers["Repr-Digest"] = http_sf.ser({name: binascii.unhexlify(text) for name, text in hashes.items()})
    return headers


def _location(upload: Upload, place: RequestContext) -> dict[str, str]:
    return {"Location": f"{place.base}{MOUNT}/{upload.id}"}


def _completeness(complete: bool) -> dict[str, str]:
    """Both spellings: a client looks for that of its interop version."""
    return {"Upload-Complete": http_sf.ser(complete), "Upload-Incomplete": http_sf.ser(not complete)}


def _limits(place: RequestContext, lifetime: int | None, append: bool = False) -> str:
    """Upload-Limit. `lifetime` in seconds; `append`: a body that does not tell its length can't be of any length."""
    limits = {"max-size": place.max_upload_size, "min-size": 0}
    if append:
        limits["max-append-size"] = place.max_chunk_size
    if lifetime is not None:
        limits["max-age"] = lifetime
    return http_sf.ser({name: min(limit, LARGEST_INTEGER) for name, limit in limits.items()})
