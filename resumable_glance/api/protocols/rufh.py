"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload, the revision after -11, interop version 8).

Chunks come in order; a HEAD, GET or PATCH supersedes an older request of the same upload. An upload is complete when
Upload-Complete says so, not when it has a certain size. ASGI can't send 104, so clients learn the URL of an upload only
from the response.

    POST /v1/rufh -> Create     HEAD, GET /v1/rufh/{id} -> Get     PATCH -> Append     DELETE -> Cancel

Older interop versions differ only in `_completes` and `_append`; the responses suit all of them.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import http_sf

from resumable_glance.api.protocols import image_metadata, parsing, problems
from resumable_glance.api.protocols.base import Reply, RequestContext, RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model import commands
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Upload

MOUNT = "/v1/rufh"
ASPECTS: tuple[str, ...] = ()
MAX_DOCUMENT_SIZE = 0  # a POST's body is the first chunk
CONTENT = "application/partial-upload"
REQUEST_HEADERS = (
    "Content-Digest Content-Disposition Content-MD5 Content-Type Idempotency-Key Repr-Digest Upload-Complete "
    "Upload-Draft-Interop-Version Upload-Incomplete Upload-Length Upload-Offset Want-Repr-Digest"
)
RESPONSE_HEADERS = (
    "Accept-Patch Allow Location Repr-Digest Upload-Complete Upload-Incomplete Upload-Length Upload-Limit "
    "Upload-Offset Upload-State"
)
VERSIONS = (8, 7, 6, 5, 4, 3)
WITH_INCOMPLETE = frozenset({3})  # interop versions with Upload-Incomplete
WITHOUT_MEDIA_TYPE = frozenset({3, 4, 5})  # interop versions without a media type for PATCH
METHODS = {True: ("HEAD", "GET", "PATCH", "DELETE", "OPTIONS"), False: ("POST", "OPTIONS")}
MAX_INTEGER = 10**15 - 1  # of structured fields
_REGISTRY = "https://iana.org/assignments/http-problem-types#"
# Reasons with a type and a status of their own in the draft; the last one until revision 11
_TYPES: Mapping[Reason, tuple[int, str, str]] = {
    Reason.WRONG_OFFSET: (409, "mismatching-upload-offset", "Mismatching Upload Offset"),
    Reason.WRONG_TOTAL: (400, "inconsistent-upload-length", "Inconsistent Upload Length Values"),
    Reason.SEALED: (400, "completed-upload", "Upload Is Completed"),
}
_MEMBERS = {
    ("mismatching-upload-offset", "offset"): "expected-offset",
    ("mismatching-upload-offset", "provided"): "provided-offset",
}


def parse(head: RequestHead, document: bytes, context: RequestContext) -> commands.Command:
    """Return the command of a request.

    Raises Refused: MALFORMED, METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING, UNSUPPORTED_DIGEST,
    WRONG_TOTAL.
    """
    parsing.check_encoding(head)
    match head.method, head.upload_id:
        case "POST", None:
            return _create(head)
        case "PATCH", str(upload_id):
            return _append(head, upload_id)
        case "HEAD" | "GET", str(upload_id):
            return commands.Get(upload_id, taking_over=True, full_is_complete=False)
        case "DELETE", str(upload_id):
            return commands.Cancel(upload_id)
        case _:
            raise parsing.method_not_allowed(head.method, METHODS[head.upload_id is not None])


def options(head: RequestHead, context: RequestContext) -> Reply:
    """Return the reply to OPTIONS."""
    allow = ", ".join(METHODS[head.upload_id is not None])
    limits = _limits(context, min(context.upload_expiry, context.first_byte_expiry))
    return Reply(204, {"Allow": allow, "Accept-Patch": CONTENT, "Upload-Limit": limits})


def render(outcome: commands.Outcome, context: RequestContext) -> Reply:
    """Return the reply to a command that was carried out."""
    match outcome:
        case commands.Appended(upload) if not is_complete(upload):
            return Reply(204, _headers(upload, context))
        case commands.Created(upload) | commands.Appended(upload):  # the last append: as if the creation had all bytes
            return Reply(201, {**_headers(upload, context), "Location": f"{context.base}{MOUNT}/{upload.id}"})
        case commands.UploadFound(upload):
            error = upload.delivery.last_error
            if error is not None and error.reason is FailureReason.SCRATCH_LOST:
                return problems.refuse(Refused(Reason.LOST, error.detail), context)
            headers = _headers(upload, context) | {"Cache-Control": "no-store"}
            if upload.size is not None:
                headers["Upload-Length"] = str(upload.size)
            return Reply(204, headers)
        case _:
            return Reply(204)


def refuse(refusal: Refused, method: str, context: RequestContext) -> Reply:
    """Return the reply to a refused request: a problem document, with the types of the draft where it has one.

    Upload-Complete: ?0 tells the sender of bytes that the response is about the upload, not from the final resource.
    """
    reply = problems.refuse(refusal, context)
    if method not in {"POST", "PATCH"}:
        return reply
    headers = {**reply.headers, **_completeness(False)}
    # A body that exceeds the upload contradicts its length; any other long body exceeds our limit.
    exceeds = refusal.reason is Reason.BODY_TOO_LONG and "size" in refusal.facts
    own = _TYPES.get(Reason.WRONG_TOTAL if exceeds else refusal.reason)
    if own is None:
        if reply.status == 413:
            headers["Upload-Limit"] = _limits(context, None, append=refusal.reason is Reason.BODY_TOO_LONG)
        return Reply(reply.status, headers, reply.document)
    status, name, title = own
    document = {**(reply.document or {}), "type": _REGISTRY + name, "title": title, "status": status}
    return Reply(status, headers, {_MEMBERS.get((name, key), key): value for key, value in document.items()})


def is_complete(upload: Upload) -> bool:
    """Return whether nothing more can be appended. For parts, which tus creates, only their bytes tell."""
    return upload.state is not State.RECEIVING or (upload.image is None and upload.filled)


def _create(head: RequestHead) -> commands.Create:
    parsing.check_not_form(head)
    last, length, size = _completes(head), _length(head), _natural(head, "Upload-Length")
    if size is not None and length is not None and (length != size if last else length > size):
        raise Refused(Reason.WRONG_TOTAL, f"The body has {length} bytes, but Upload-Length says {size}.")
    if size is None and last:
        size = length
    first, key = _chunk(head, 0, length, last), parsing.idempotency_key(head)
    image = image_metadata.requested(_image(head))
    return commands.Create(size, image, parsing.image_digests(head), first=first, key=key)


def _image(head: RequestHead) -> dict[str, str]:
    """Return the image metadata in the query, and the file name in Content-Disposition. Raises Refused: MALFORMED."""
    unknown = [key for key in head.query if not image_metadata.is_key(key)]
    if unknown:
        parsing.malformed(f"Unknown query parameter {unknown[0][:50]!r}.")
    filename = parsing.filename(head)
    return {**({} if filename is None else {"filename": filename}), **head.query}


def _append(head: RequestHead, upload_id: str) -> commands.Append:
    if parsing.media_type(head) != CONTENT and _version(head) not in WITHOUT_MEDIA_TYPE:
        raise parsing.unsupported_media_type(CONTENT, CONTENT)
    offset = _natural(head, "Upload-Offset")
    if offset is None:
        parsing.malformed("Send Upload-Offset, the offset of the chunk: a number such as 1048576.")
    chunk = _chunk(head, offset, _length(head), _completes(head))
    return commands.Append(upload_id, chunk, _natural(head, "Upload-Length"), parsing.image_digests(head))


def _chunk(head: RequestHead, start: int, length: int | None, last: bool) -> commands.Chunk:
    return commands.Chunk(start, length, parsing.chunk_digests(head), in_order=True, last=last)


def _version(head: RequestHead) -> int | None:
    return parsing.item(head, "Upload-Draft-Interop-Version", int)


def _completes(head: RequestHead) -> bool:
    """Return whether the upload is complete with this body. Raises Refused: MALFORMED where the request does not tell.

    Interop version 3 has the opposite, Upload-Incomplete; a PATCH without it is the last one.
    """
    if _version(head) in WITH_INCOMPLETE:
        incomplete = parsing.item(head, "Upload-Incomplete", bool)
        if incomplete is None and head.method == "PATCH" and "upload-incomplete" not in head.headers:
            return True
        complete = None if incomplete is None else not incomplete
    else:
        complete = parsing.item(head, "Upload-Complete", bool)
    if complete is None:
        parsing.malformed("Send Upload-Complete: ?1 if the upload is complete with this body, else ?0.")
    return complete


def _natural(head: RequestHead, name: str) -> int | None:
    """Return a number of bytes; any other value counts as absent, as the draft requires."""
    value = parsing.item(head, name, int)
    return None if value is None or value < 0 else value


def _length(head: RequestHead) -> int | None:
    """Return the bytes of the body; None if only its end tells (RFC 9112, section 6.3)."""
    length = parsing.number(head, "Content-Length")
    return 0 if length is None and "transfer-encoding" not in head.headers else length


def _headers(upload: Upload, context: RequestContext) -> dict[str, str]:
    """Return the headers of every reply about an upload. Interop versions before 7 expect the offset in each."""
    left = None if upload.expiry is None else max(0, int(upload.expiry - context.now))
    headers = _completeness(is_complete(upload)) | {
        "Upload-Offset": str(upload.offset),
        "Upload-State": upload.state.value,
        "Upload-Limit": _limits(context, left, append=upload.size is None),
    }
    if (proof := upload.delivery.proof) is not None:
        hashes = {"md5": proof.md5, "sha-512": proof.sha512}
        headers["Repr-Digest"] = http_sf.ser({name: binascii.unhexlify(text) for name, text in hashes.items()})
    return headers


def _completeness(complete: bool) -> dict[str, str]:
    """Return both spellings: a client looks for that of its interop version."""
    return {"Upload-Complete": http_sf.ser(complete), "Upload-Incomplete": http_sf.ser(not complete)}


def _limits(context: RequestContext, lifetime: int | None, append: bool = False) -> str:
    """Return Upload-Limit. `lifetime` in seconds; `append` includes the limit of one append."""
    limits = {"max-size": context.max_upload_size, "min-size": 0}
    if append:
        limits["max-append-size"] = context.max_chunk_size
    if lifetime is not None:
        limits["max-age"] = lifetime
    return http_sf.ser({name: min(limit, MAX_INTEGER) for name, limit in limits.items()})
