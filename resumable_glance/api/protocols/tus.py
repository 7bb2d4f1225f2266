"""The tus resumable upload protocol, version 1.0.0 (https://tus.io/protocols/resumable-upload).

Core, and all extensions but checksum-trailer. Chunks come in order; whoever asks or sends takes over from an older
request of the same upload.

    POST  /v1/tus -> Create, Join    HEAD /v1/tus/{id} -> Inspect    PATCH -> Append    DELETE -> Discard    GET -> Read
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping

from resumable_glance.api.protocols import image_metadata, parsing, problems
from resumable_glance.api.protocols.base import Head, Reply, RequestContext
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import (
    Append,
    Appended,
    Cancel,
    Chunk,
    Command,
    Content,
    Create,
    Created,
    Get,
    Join,
    Outcome,
    Read,
    UploadFound,
)
from resumable_glance.model.digests import LENGTHS, Digest, declared
from resumable_glance.model.states import State
from resumable_glance.model.upload import ImageRequest, Upload

MOUNT = "/v1/tus"
ASPECTS: Mapping[str, tuple[str, ...]] = {}
LARGEST_DOCUMENT = 0  # a POST's body is the first chunk
VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "termination",
              "concatenation")  # fmt: skip
ALGORITHMS = tuple(sorted(LENGTHS))  # the specification demands sha1
CONTENT = "application/offset+octet-stream"
METHODS = {True: ("HEAD", "PATCH", "GET", "DELETE", "OPTIONS"), False: ("POST", "OPTIONS")}
LARGEST_METADATA = 4096  # bytes of the header
MOST_PARTS = 1000
_PART = re.compile(rf"(?:https?://[^/?# ]+(?:/[^?# ]*)?)?{MOUNT}/([^/?# ]+)", re.ASCII)
_KEY = re.compile(r"[!-+\--~]+", re.ASCII)  # printable, without space and comma


def parse(head: Head, document: bytes, place: RequestContext) -> Command:
    """The command of a request.

    Refused: UNSUPPORTED_VERSION, MALFORMED, METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING,
    UNSUPPORTED_DIGEST.
    """
    method = parsing.single(head, "x-http-method-override") or head.method
    if method == "GET" and head.upload_id is not None:  # tus has no GET: whoever sends one need not know tus
        return Read(head.upload_id)
    if parsing.single(head, "tus-resumable") != VERSION:
        raise Refused(
            Reason.UNSUPPORTED_VERSION, f"Say which tus this is: Tus-Resumable: {VERSION}. No other is spoken."
        )
    parsing.check_encoding(head)
    match method, head.upload_id:
        case "POST", None:
            return _create(head)
        case "PATCH", str(upload_id):
            return _append(head, upload_id)
        case "HEAD", str(upload_id):
            return Get(upload_id, taking_over=True)
        case "DELETE", str(upload_id):
            return Cancel(upload_id)
        case _:
            raise parsing.method_not_allowed(method, METHODS[head.upload_id is not None])


def options(head: Head, place: RequestContext) -> Reply:
    announced = {
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(place.max_upload_size),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        "Allow": ", ".join(METHODS[head.upload_id is not None]),
    }
    return Reply(204, {"Tus-Resumable": VERSION, **announced})


def render(outcome: Outcome, place: RequestContext) -> Reply:
    match outcome:
        case Created(upload):
            return Reply(201, _headers(upload) | {"Location": _url(upload.id, place)})
        case Appended(upload):
            return Reply(204, _headers(upload))
        case UploadFound(upload):
            headers = _headers(upload) | {"Cache-Control": "no-store"}
            headers |= {"Upload-Defer-Length": "1"} if upload.size is None else {"Upload-Length": str(upload.size)}
            if upload.metadata is not None:
                headers["Upload-Metadata"] = upload.metadata
            if upload.image is None:
                headers["Upload-Concat"] = "partial"
            elif upload.parts:
                headers["Upload-Concat"] = "final;" + " ".join(_url(each, place) for each in upload.parts)
            return Reply(200, headers)
        case Content(upload):
            return Reply(200, _headers(upload) | parsing.downloaded(upload))
        case _:
            return Reply(204, {"Tus-Resumable": VERSION})


def refuse(refusal: Refused, method: str, place: RequestContext) -> Reply:
    """As everywhere, but for two statuses.

    460 is what the specification has for a checksum that does not hold. And a HEAD that fails for the moment gets
    423: at any other failure of it clients take the upload for lost, and begin a new one at the first byte.
    """
    reply = problems.refuse(refusal, place)
    status = reply.status
    if refusal.reason is Reason.CHUNK_DIGEST_MISMATCH:
        status = 460
    elif method == "HEAD" and status >= 500:
        status = 423
    headers = {"Tus-Resumable": VERSION}
    if refusal.reason is Reason.UNSUPPORTED_VERSION:
        headers["Tus-Version"] = VERSION
    return Reply(status, {**reply.headers, **headers}, {**(reply.document or {}), "status": status})


def _create(head: Head) -> Create | Join:
    metadata = parsing.single(head, "upload-metadata") or ""
    image = _image(_metadata(metadata))
    concat = parsing.single(head, "upload-concat")
    if concat is not None and concat.startswith("final;"):
        return Join(_parts(head, concat.removeprefix("final;")), image, metadata or None)
    if concat not in {None, "partial"}:
        parsing.malformed("Upload-Concat is either partial, or final; and the URLs of the parts.")
    size = _size(head)
    announced = _content_length(head)
    if announced is None and parsing.single(head, "content-type") is None:
        announced = 0
    checksum = parsing.single(head, "upload-checksum")  # of no bytes it can be right or wrong, too
    first = None if announced == 0 and checksum is None else _chunk(head, 0)  # some name a type for no body at all
    if first is not None and size is not None and (first.length or 0) > size:
        raise Refused(Reason.BODY_TOO_LONG, f"The body has {first.length} bytes, the upload only {size}.")
    key = parsing.idempotency_key(head)
    return Create(size, image if concat is None else None, metadata=metadata or None, first=first, key=key)


def _size(head: Head) -> int | None:
    """The size of a new upload; None: it will be told later."""
    length, deferred = parsing.single(head, "upload-length"), parsing.single(head, "upload-defer-length")
    if deferred not in {None, "1"}:
        parsing.malformed("Upload-Defer-Length can only be 1.")
    if (length is None) == (deferred is None):
        parsing.malformed("Say how many bytes the upload will have: Upload-Length; or Upload-Defer-Length: 1.")
    return None if length is None else parsing.integer(length, "Upload-Length")


def _parts(head: Head, urls: str) -> tuple[str, ...]:
    """The ids in `/v1/tus/a https://host/v1/tus/b`. Refused: MALFORMED."""
    if parsing.single(head, "upload-length") is not None or parsing.single(head, "upload-defer-length") is not None:
        parsing.malformed("The parts tell how long the upload is: leave Upload-Length away.")
    if _content_length(head):
        parsing.malformed("Parts are joined without a body.")
    found = [_PART.fullmatch(each) for each in urls.split(" ")]
    if len(found) > MOST_PARTS:
        parsing.malformed(f"At most {MOST_PARTS} parts can be joined.")
    ids = [each[1] for each in found if each]
    if len(ids) < len(found):
        parsing.malformed(f"After final; come the URLs of the parts, with one space between: {MOUNT}/...")
    return tuple(ids)


def _append(head: Head, upload_id: str) -> Append:
    offset = parsing.single(head, "upload-offset")
    if offset is None:
        parsing.malformed("Say where the bytes belong: Upload-Offset.")
    length = parsing.single(head, "upload-length")  # of an upload whose length was deferred
    total = None if length is None else parsing.integer(length, "Upload-Length")
    return Append(upload_id, _chunk(head, parsing.integer(offset, "Upload-Offset")), total)


def _chunk(head: Head, start: int) -> Chunk:
    if parsing.media_type(head) != CONTENT:
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE,
            f"Send the bytes alone, with Content-Type: {CONTENT}.",
            accept_patch=CONTENT,
        )
    return Chunk(start, _content_length(head), _checksum(parsing.single(head, "upload-checksum")), in_order=True)


def _content_length(head: Head) -> int | None:
    length = parsing.single(head, "content-length")
    return None if length is None else parsing.integer(length, "Content-Length")


def _checksum(text: str | None) -> tuple[Digest, ...]:
    if text is None:
        return ()
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Refused(Reason.UNSUPPORTED_DIGEST, f"Upload-Checksum can be one of: {', '.join(ALGORITHMS)}.")
    return (declared(algorithm, parsing.strict_base64(value, "Upload-Checksum")),)


def _metadata(text: str) -> dict[str, bytes]:
    """Upload-Metadata: `key base64,key base64`; a value may be missing. Refused: MALFORMED."""
    if len(text) > LARGEST_METADATA:
        parsing.malformed(f"Upload-Metadata has more than {LARGEST_METADATA} bytes.")
    found: dict[str, bytes] = {}
    for pair in text.split(",") if text else ():
        key, _, value = pair.strip(" ").partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            parsing.malformed("Upload-Metadata is not 'key base64,key base64' with each key once.")
        found[key] = parsing.strict_base64(value, "A value of Upload-Metadata")
    return found


def _image(metadata: Mapping[str, bytes]) -> ImageRequest:
    """The image that metadata asks for.

    Keys that mean nothing here are the client's own business: tus lets it send what it likes, and shows it again.
    """
    return image_metadata.requested(
        {key: _text(key, value) for key, value in metadata.items() if image_metadata.is_key(key)}
    )


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        parsing.malformed(f"{key} in Upload-Metadata is not UTF-8.")


def _headers(upload: Upload) -> dict[str, str]:
    headers = {"Tus-Resumable": VERSION, "Upload-Offset": str(upload.offset)}
    if upload.state is State.RECEIVING:
        headers["Upload-Expires"] = email.utils.formatdate(upload.expires_at, usegmt=True)
    return headers


def _url(upload_id: str, place: RequestContext) -> str:
    return f"{place.base}{MOUNT}/{upload_id}"
