"""The native dialect, Horizon's: chunks in any order, several at once, placed by Content-Range.

    POST   /v1/uploads        -> Create      GET  /v1/uploads      -> Survey
    PATCH  /v1/uploads/{id}   -> Append      HEAD, GET, DELETE on /v1/uploads/{id} -> Inspect, Discard
    POST   /v1/uploads/{id}/ticket -> Renew  DELETE /v1/uploads/{id}/ticket -> Revoke
    POST   /v1/uploads/{id}/retry  -> Retry  GET    /v1/uploads/{id}/receipt -> Attest
    GET    /v1/uploads/{id}/events -> Watch  GET    /v1/stores       -> Explore

RFC 9110, section 14.5 (partial PUT) and draft-ietf-httpapi-patch-byterange inspired the PATCH, RFC 9457 the errors.
"""

from __future__ import annotations

import dataclasses
import email.utils
from collections.abc import Mapping, Sequence

from resumable_glance.api.protocols import native_json, parsing, problems
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
    GetReceipt,
    IssueTicket,
    List,
    Listed,
    ListStores,
    Outcome,
    ReceiptSigned,
    Retry,
    RevokeTickets,
    StoresListed,
    TicketIssued,
    UploadFound,
    Watch,
)
from resumable_glance.model.digests import OF_IMAGES
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Upload

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


def parse(head: Head, document: bytes, place: RequestContext) -> Command:
    """The command of a request. `document` is the body of a POST, empty otherwise.

    Refused: MALFORMED, METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING, UNSUPPORTED_DIGEST, and of a
    body that its head already shows to be too large CHUNK_TOO_LARGE, BODY_TOO_LONG.
    """
    parsing.check_encoding(head)
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
            return Get(upload_id)
        case "DELETE", str(upload_id):
            return Cancel(upload_id)
        case _:
            raise parsing.method_not_allowed(head.method, _methods(head))


def render(outcome: Outcome, place: RequestContext) -> Reply:
    match outcome:
        case Created(upload, ticket):
            href = _href(upload, place)
            told = {**native_json.described(UploadFound(upload, (), 0), href), "ticket": native_json.shown(ticket)}
            return Reply(201, {**_headers(upload), "Location": href}, told)
        case Appended(upload):
            return Reply(204, _headers(upload))
        case UploadFound(upload, durable):
            headers = {**_headers(upload), "Cache-Control": "no-store"}
            if durable:
                headers["Upload-Ranges"] = _range_set(durable[:MOST_RANGES_IN_HEADER])
            return Reply(200, headers, native_json.described(outcome, _href(upload, place)))
        case Listed(uploads, all_projects):
            listed = [
                native_json.summary(each, _href(each, place)) | (native_json.whose(each) if all_projects else {})
                for each in uploads
            ]
            return Reply(200, {"Cache-Control": "no-store"}, {"uploads": listed})
        case StoresListed(offer):
            return Reply(200, {"Cache-Control": "no-store"}, native_json.offered(offer))
        case ReceiptSigned(said, jws):
            return Reply(200, {"Cache-Control": "no-store"}, {**said, "jws": jws})
        case TicketIssued(ticket):
            return Reply(201, {"Cache-Control": "no-store"}, native_json.shown(ticket))
        case _:
            return Reply(204)


def options(head: Head, place: RequestContext) -> Reply:
    allow = ", ".join(_methods(head))
    return Reply(200, {"Allow": allow, "Accept-Patch": ACCEPT_PATCH}, capabilities(place))


def refuse(refusal: Refused, method: str, place: RequestContext) -> Reply:
    return problems.refuse(refusal, place)


def capabilities(place: RequestContext) -> Mapping[str, object]:
    """What can be done here, for OPTIONS and GET /. Sizes in bytes, times in seconds."""
    return {
        "href": f"{place.base}{MOUNT}",
        "chunks": {
            "content_type": ACCEPTED,
            "max_size": place.max_chunk_size,
            "any_order": True,
            "parallel": True,
            "digests": {"Content-Digest": list(parsing.RFC9530), "Content-MD5": ["md5"]},
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
                parsing.malformed("A new ticket is asked for without a body.")
            return IssueTicket(str(head.upload_id))
        case "DELETE", "ticket":
            return RevokeTickets(str(head.upload_id))
        case "POST", "retry":
            if document:
                parsing.malformed("Another try is asked for without a body.")
            return Retry(str(head.upload_id))
        case "GET" | "HEAD", "receipt":
            return GetReceipt(str(head.upload_id))
        case "GET" | "HEAD", "stores":
            return ListStores()
        case "GET", "events":
            return Watch(str(head.upload_id))
        case _:
            raise parsing.method_not_allowed(head.method, _methods(head))


def _create(head: Head, document: bytes) -> Create:
    if parsing.media_type(head) != "application/json":
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE, "Describe the upload in JSON, with Content-Type: application/json."
        )
    return dataclasses.replace(native_json.creation(document), key=parsing.idempotency_key(head))


def _append(head: Head, upload_id: str, largest: int) -> Append:
    media_type = parsing.media_type(head) or ACCEPTED
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
    text = parsing.single(head, "content-range")
    if text is None:
        parsing.malformed("Say where the chunk belongs: Content-Range: bytes FIRST-LAST/TOTAL.")
    range_, total = parsing.content_range(text)
    zeros = media_type == ZEROS
    if range_.length > largest and not zeros:
        raise Refused(
            Reason.CHUNK_TOO_LARGE,
            f"A chunk may have at most {largest} bytes. Cut it into smaller ones.",
            limit=largest,
        )
    length, room = parsing.single(head, "content-length"), 0 if zeros else range_.length
    if length is not None and parsing.integer(length, "Content-Length") > room:
        has = "a run of zeros has none" if zeros else f"its range only {room}"
        raise Refused(Reason.BODY_TOO_LONG, f"The body has {length} bytes, {has}.")
    whole = parsing.single(head, "repr-digest")
    declared = () if whole is None else tuple(parsing.structured_digests(whole, "Repr-Digest"))
    chunk = Chunk(range_.start, range_.length, parsing.chunk_digests(head), zeros=zeros)
    return Append(upload_id, chunk, total, declared)


def _survey(query: Mapping[str, str]) -> List:
    limit = parsing.integer(query.get("limit", str(MOST_LISTED)), "limit")
    everybodys = query.get("all_projects", "0")
    if everybodys not in {"0", "1"}:
        parsing.malformed("all_projects is 1, for the uploads of everybody, or 0.")
    return List(min(limit, MOST_LISTED), query.get("marker"), everybodys == "1")


def _href(upload: Upload, place: RequestContext) -> str:
    return f"{place.base}{MOUNT}/{upload.id}"


def _headers(upload: Upload) -> dict[str, str]:
    headers = {"Upload-Offset": str(upload.offset), "Upload-State": upload.state.value}
    if upload.size is not None:
        headers["Upload-Length"] = str(upload.size)
    if upload.state is State.RECEIVING:
        headers["Upload-Expires"] = email.utils.formatdate(upload.expires_at, usegmt=True)
    return headers


def _range_set(ranges: Sequence[Range]) -> str:
    """As in a Range field (RFC 9110, section 14.1.2): bytes=0-1048575,4194304-5242879"""
    return "bytes=" + ",".join(f"{each.start}-{each.stop - 1}" for each in ranges)
