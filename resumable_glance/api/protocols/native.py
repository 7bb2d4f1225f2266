"""The native protocol, which Horizon uses: chunks in any order, several at once, placed by Content-Range.

    POST   /v1/uploads             -> Create        GET    /v1/uploads              -> List
    PATCH  /v1/uploads/{id}        -> Append        GET, HEAD /v1/uploads/{id}      -> Get
    DELETE /v1/uploads/{id}        -> Cancel        POST   /v1/uploads/{id}/retry   -> Retry
    POST   /v1/uploads/{id}/ticket -> IssueTicket   DELETE /v1/uploads/{id}/ticket  -> RevokeTickets
    GET    /v1/uploads/{id}/events -> Watch         GET    /v1/uploads/{id}/receipt -> GetReceipt
    GET    /v1/stores              -> ListStores    GET    /v1/identity             -> Identify

PATCH follows RFC 9110, section 14.5 (partial PUT) and draft-ietf-httpapi-patch-byterange; errors are those of RFC 9457.
"""

from __future__ import annotations

import dataclasses
import email.utils
from collections.abc import Callable, Mapping, Sequence

from resumable_glance.api.protocols import native_json, parsing, problems
from resumable_glance.api.protocols.base import Reply, RequestContext, RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model import commands
from resumable_glance.model.digests import IMAGE_ALGORITHMS
from resumable_glance.model.upload import Upload

MOUNT = "/v1/uploads"
ACCEPTED = "application/octet-stream"
ZEROS = "application/vnd.resumable-glance.zeros"
ACCEPT_PATCH = f"{ACCEPTED}, {ZEROS}"
REQUEST_HEADERS = "Content-Digest Content-MD5 Content-Range Content-Type Idempotency-Key Repr-Digest"
RESPONSE_HEADERS = "Accept-Patch Allow Location Upload-Expires Upload-Length Upload-Offset Upload-Ranges Upload-State"
METHODS = {True: ("GET", "HEAD", "PATCH", "DELETE", "OPTIONS"), False: ("GET", "HEAD", "POST", "OPTIONS")}
STORES, IDENTITY = "stores", "identity"  # aspects of the cloud and of the caller, not of an upload
CALLERS_ASPECTS = (STORES, IDENTITY)
_OF_ASPECTS: Mapping[str, Mapping[str, Callable[[str], commands.Command]]] = {  # commands, by method
    "ticket": {"POST": commands.IssueTicket, "DELETE": commands.RevokeTickets},
    "retry": {"POST": commands.Retry},
    "receipt": dict.fromkeys(("GET", "HEAD"), commands.GetReceipt),
    "events": {"GET": commands.Watch},
    STORES: dict.fromkeys(("GET", "HEAD"), lambda _: commands.ListStores()),
    IDENTITY: dict.fromkeys(("GET", "HEAD"), lambda _: commands.Identify()),
}
ASPECTS = tuple(each for each in _OF_ASPECTS if each not in CALLERS_ASPECTS)
MAX_DOCUMENT_SIZE = 64 * 1024  # bytes of JSON
MAX_RANGES_IN_HEADER = 100  # the document has more; proxies limit headers
MAX_LISTED = 1000
_NO_STORE = {"Cache-Control": "no-store"}


def parse(head: RequestHead, document: bytes, context: RequestContext) -> commands.Command:
    """Return the command of a request. `document` is the body of a POST, empty otherwise.

    Raises Refused: MALFORMED, METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING, UNSUPPORTED_DIGEST; and
    CHUNK_TOO_LARGE, BODY_TOO_LONG for a body that is too large by its head.
    """
    parsing.check_encoding(head)
    if head.aspect is not None:
        return _of_aspect(head, head.aspect, document)
    match head.method, head.upload_id:
        case "POST", None:
            return _create(head, document)
        case "GET" | "HEAD", None:
            return _list(head.query)
        case "PATCH", str(upload_id):
            return _append(head, upload_id, context.max_chunk_size)
        case "GET" | "HEAD", str(upload_id):
            return commands.Get(upload_id)
        case "DELETE", str(upload_id):
            return commands.Cancel(upload_id)
        case _:
            raise parsing.method_not_allowed(head.method, _methods(head))


def render(outcome: commands.Outcome, context: RequestContext) -> Reply:
    """Return the reply to a command that was carried out."""
    match outcome:
        case commands.Created(upload, ticket):
            href = _href(upload, context)
            document = native_json.upload_document(commands.UploadFound(upload, (), 0), href)
            document["ticket"] = native_json.ticket_document(ticket)
            return Reply(201, {**_upload_headers(upload), "Location": href}, document)
        case commands.Appended(upload):
            return Reply(204, _upload_headers(upload))
        case commands.UploadFound(upload, durable):
            headers = {**_upload_headers(upload), **_NO_STORE}
            if durable:
                ranges = (f"{each.start}-{each.stop - 1}" for each in durable[:MAX_RANGES_IN_HEADER])
                headers["Upload-Ranges"] = f"bytes={','.join(ranges)}"  # as in Range: RFC 9110, section 14.1.2
            return Reply(200, headers, native_json.upload_document(outcome, _href(upload, context)))
        case commands.Listed(uploads, all_projects):
            listed = [native_json.summary(each, _href(each, context), with_owner=all_projects) for each in uploads]
            return Reply(200, _NO_STORE, {"uploads": listed})
        case commands.StoresListed(offer):
            return Reply(200, _NO_STORE, native_json.stores_document(offer))
        case commands.Identified(digest):
            return Reply(200, _NO_STORE, {"identity": digest})
        case commands.ReceiptSigned(statement, jws):
            return Reply(200, _NO_STORE, {**statement, "jws": jws})
        case commands.TicketIssued(ticket):
            return Reply(201, _NO_STORE, native_json.ticket_document(ticket))
        case _:
            return Reply(204)


def options(head: RequestHead, context: RequestContext) -> Reply:
    """Return the reply to OPTIONS."""
    allow = ", ".join(_methods(head))
    return Reply(200, {"Allow": allow, "Accept-Patch": ACCEPT_PATCH}, capabilities(context))


def refuse(refusal: Refused, method: str, context: RequestContext) -> Reply:
    """Return the reply to a refused request."""
    return problems.refuse(refusal, context)


def capabilities(context: RequestContext) -> Mapping[str, object]:
    """Return what the protocol offers, for OPTIONS and GET /. Sizes in bytes, times in seconds."""
    return {
        "href": f"{context.base}{MOUNT}",
        "chunks": {
            "content_type": ACCEPTED,
            "max_size": context.max_chunk_size,
            "any_order": True,
            "parallel": True,
            "digests": {"Content-Digest": list(parsing.RFC9530), "Content-MD5": ["md5"]},
        },
        "zeros": {"content_type": ZEROS},
        "max_size": context.max_upload_size,
        "whole_image_digests": list(IMAGE_ALGORITHMS),
        "expiry": context.upload_expiry,
        "first_byte_expiry": context.first_byte_expiry,
        "waiting_retention": context.waiting_retention,
        "record_retention": context.record_retention,
    }


def _methods(head: RequestHead) -> Sequence[str]:
    return METHODS[head.upload_id is not None] if head.aspect is None else (*_OF_ASPECTS[head.aspect], "OPTIONS")


def _of_aspect(head: RequestHead, aspect: str, document: bytes) -> commands.Command:
    command = _OF_ASPECTS[aspect].get(head.method)
    if command is None:
        raise parsing.method_not_allowed(head.method, _methods(head))
    if document:
        parsing.malformed("This request takes no body. Send it without one.")
    return command(str(head.upload_id))


def _create(head: RequestHead, document: bytes) -> commands.Create:
    if parsing.media_type(head) != "application/json":
        sentence = "Describe the upload in JSON, with Content-Type: application/json."
        raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE, sentence)
    return dataclasses.replace(native_json.creation(document), key=parsing.idempotency_key(head))


def _append(head: RequestHead, upload_id: str, max_size: int) -> commands.Append:
    parsing.check_not_form(head, accept_patch=ACCEPT_PATCH)
    media_type = parsing.media_type(head) or ACCEPTED
    if media_type not in {ACCEPTED, ZEROS}:
        raise parsing.unsupported_media_type(ACCEPTED, ACCEPT_PATCH)
    text = parsing.single(head, "Content-Range")
    if text is None:
        parsing.malformed("Give the place of the chunk: Content-Range: bytes FIRST-LAST/TOTAL.")
    range_, total = parsing.content_range(text)
    zeros = media_type == ZEROS
    if range_.length > max_size and not zeros:
        sentence = f"A chunk may have at most {max_size} bytes. Send smaller ones."
        raise Refused(Reason.CHUNK_TOO_LARGE, sentence, limit=max_size)
    length, expected = parsing.number(head, "Content-Length"), 0 if zeros else range_.length
    if length is not None and length > expected:
        raise Refused(Reason.BODY_TOO_LONG, f"The body has {length} bytes, but should have {expected}.")
    chunk = commands.Chunk(range_.start, range_.length, parsing.chunk_digests(head), zeros=zeros)
    return commands.Append(upload_id, chunk, total, parsing.image_digests(head))


def _list(query: Mapping[str, str]) -> commands.List:
    limit = parsing.integer(query.get("limit", str(MAX_LISTED)), "limit")
    all_projects = query.get("all_projects", "0")
    if all_projects not in {"0", "1"}:
        parsing.malformed("all_projects is either 0 or 1.")
    return commands.List(min(limit, MAX_LISTED), query.get("marker"), all_projects == "1")


def _href(upload: Upload, context: RequestContext) -> str:
    return f"{context.base}{MOUNT}/{upload.id}"


def _upload_headers(upload: Upload) -> dict[str, str]:
    headers = {"Upload-Offset": str(upload.offset), "Upload-State": upload.state.value}
    if upload.size is not None:
        headers["Upload-Length"] = str(upload.size)
    if upload.expiry is not None:
        headers["Upload-Expires"] = email.utils.formatdate(upload.expiry, usegmt=True)
    return headers
