"""The tus resumable upload protocol, version 1.0.0 (https://tus.io/protocols/resumable-upload).

Core, and all extensions but checksum-trailer. Chunks come in order; a HEAD or PATCH supersedes an older request of the
same upload.

    POST /v1/tus -> Create, Join    HEAD /v1/tus/{id} -> Get    PATCH -> Append    DELETE -> Cancel    GET -> Read
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping

from resumable_glance.api.protocols import image_metadata, parsing, problems
from resumable_glance.api.protocols.base import Reply, RequestContext, RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model import commands
from resumable_glance.model.digests import LENGTHS, Digest, declared
from resumable_glance.model.upload import ImageRequest, Upload

MOUNT = "/v1/tus"
ASPECTS: tuple[str, ...] = ()
MAX_DOCUMENT_SIZE = 0  # a POST's body is the first chunk
VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "termination",
              "concatenation")  # fmt: skip
ALGORITHMS = tuple(sorted(LENGTHS))  # the specification requires sha1
CONTENT = "application/offset+octet-stream"
REQUEST_HEADERS = (
    "Content-Type Idempotency-Key Tus-Resumable Upload-Checksum Upload-Concat Upload-Defer-Length Upload-Length "
    "Upload-Metadata Upload-Offset X-HTTP-Method-Override"
)
RESPONSE_HEADERS = (
    "Allow Content-Disposition Location Tus-Checksum-Algorithm Tus-Extension Tus-Max-Size Tus-Resumable Tus-Version "
    "Upload-Concat Upload-Defer-Length Upload-Expires Upload-Length Upload-Metadata Upload-Offset"
)
METHODS = {True: ("HEAD", "PATCH", "GET", "DELETE", "OPTIONS"), False: ("POST", "OPTIONS")}
MAX_METADATA_SIZE = 4096  # bytes of the header
MAX_PARTS = 1000
MAX_CONCAT_LENGTH = 128 * 1024  # characters: the addresses of all parts
_PART = re.compile(rf"(?:https?://[^/?# ]+(?:/[^?# ]*)?)?{MOUNT}/([^/?# ]+)", re.ASCII)
_KEY = re.compile(r"[!-+\--~]+", re.ASCII)  # printable, without space and comma


def parse(head: RequestHead, document: bytes, context: RequestContext) -> commands.Command:
    """Return the command of a request.

    Raises Refused: UNSUPPORTED_VERSION, MALFORMED, METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING,
    UNSUPPORTED_DIGEST.
    """
    method = parsing.single(head, "X-HTTP-Method-Override") or head.method
    if method == "GET" and head.upload_id is not None:  # not of tus: a client that downloads need not know tus
        return commands.Read(head.upload_id)
    if parsing.single(head, "Tus-Resumable") != VERSION:
        raise Refused(Reason.UNSUPPORTED_VERSION, f"Send Tus-Resumable: {VERSION}, the only supported version.")
    parsing.check_encoding(head)
    match method, head.upload_id:
        case "POST", None:
            return _create(head)
        case "PATCH", str(upload_id):
            return _append(head, upload_id)
        case "HEAD", str(upload_id):
            return commands.Get(upload_id, taking_over=True)
        case "DELETE", str(upload_id):
            return commands.Cancel(upload_id)
        case _:
            raise parsing.method_not_allowed(method, METHODS[head.upload_id is not None])


def options(head: RequestHead, context: RequestContext) -> Reply:
    """Return the reply to OPTIONS."""
    headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(context.max_upload_size),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        "Allow": ", ".join(METHODS[head.upload_id is not None]),
    }
    return Reply(204, headers)


def render(outcome: commands.Outcome, context: RequestContext) -> Reply:
    """Return the reply to a command that was carried out."""
    match outcome:
        case commands.Created(upload):
            return Reply(201, _headers(upload) | {"Location": _url(upload.id, context)})
        case commands.Appended(upload):
            return Reply(204, _headers(upload))
        case commands.UploadFound(upload):
            headers = _headers(upload) | {"Cache-Control": "no-store"}
            headers |= {"Upload-Defer-Length": "1"} if upload.size is None else {"Upload-Length": str(upload.size)}
            if upload.metadata is not None:
                headers["Upload-Metadata"] = upload.metadata
            if upload.image is None:
                headers["Upload-Concat"] = "partial"
            elif upload.parts:
                headers["Upload-Concat"] = "final;" + " ".join(_url(each, context) for each in upload.parts)
            return Reply(200, headers)
        case commands.Content(upload):
            return Reply(200, _headers(upload) | parsing.downloaded(upload))
        case _:
            return Reply(204, {"Tus-Resumable": VERSION})


def refuse(refusal: Refused, method: str, context: RequestContext) -> Reply:
    """Return the reply to a refused request: a problem document, with two statuses of tus.

    460 is the specification's status for a wrong checksum. A HEAD that fails for a moment gets 423, since clients take
    an upload for lost after any other failure of HEAD, and begin a new one at the first byte.
    """
    reply = problems.refuse(refusal, context)
    status = reply.status
    if refusal.reason is Reason.CHUNK_DIGEST_MISMATCH:
        status = 460
    elif method == "HEAD" and status >= 500:
        status = 423
    headers = {"Tus-Resumable": VERSION}
    if refusal.reason is Reason.UNSUPPORTED_VERSION:
        headers["Tus-Version"] = VERSION
    return Reply(status, {**reply.headers, **headers}, {**(reply.document or {}), "status": status})


def _create(head: RequestHead) -> commands.Create | commands.Join:
    metadata = parsing.single(head, "Upload-Metadata") or ""
    image = _image(_metadata(metadata))
    concat = parsing.single(head, "Upload-Concat", MAX_CONCAT_LENGTH)
    if concat is not None and concat.startswith("final;"):
        return commands.Join(_parts(head, concat.removeprefix("final;")), image, metadata or None)
    if concat not in {None, "partial"}:
        parsing.malformed("Upload-Concat must be partial, or final; and the URLs of the parts.")
    size, length = _size(head), parsing.number(head, "Content-Length")
    if length is None and parsing.single(head, "Content-Type") is None:
        length = 0
    # An empty body is no chunk, even with a type; but its checksum can be wrong.
    empty = length == 0 and parsing.single(head, "Upload-Checksum") is None
    first = None if empty else _chunk(head, 0)
    if first is not None and size is not None and (first.length or 0) > size:
        raise Refused(Reason.BODY_TOO_LONG, f"The body has {first.length} bytes, but the upload only {size}.")
    key = parsing.idempotency_key(head)
    return commands.Create(size, image if concat is None else None, metadata=metadata or None, first=first, key=key)


def _size(head: RequestHead) -> int | None:
    """Return the size of a new upload, None if it is deferred."""
    size, deferred = parsing.number(head, "Upload-Length"), parsing.single(head, "Upload-Defer-Length")
    if deferred not in {None, "1"}:
        parsing.malformed("Upload-Defer-Length must be 1.")
    if (size is None) == (deferred is None):
        parsing.malformed("Send either Upload-Length, the number of bytes of the upload, or Upload-Defer-Length: 1.")
    return size


def _parts(head: RequestHead, urls: str) -> tuple[str, ...]:
    """Return the ids in `/v1/tus/a https://host/v1/tus/b`. Raises Refused: MALFORMED."""
    if any(parsing.single(head, name) is not None for name in ("Upload-Length", "Upload-Defer-Length")):
        parsing.malformed("The parts determine the size of the upload. Send no Upload-Length.")
    if parsing.number(head, "Content-Length"):
        parsing.malformed("Parts are joined by a request without a body.")
    found = [_PART.fullmatch(each) for each in urls.split(" ")]
    if len(found) > MAX_PARTS:
        parsing.malformed(f"At most {MAX_PARTS} parts can be joined.")
    ids = [each[1] for each in found if each]
    if len(ids) < len(found):
        parsing.malformed(f"After final; list the URLs of the parts ({MOUNT}/...), separated by one space.")
    return tuple(ids)


def _append(head: RequestHead, upload_id: str) -> commands.Append:
    offset = parsing.number(head, "Upload-Offset")
    if offset is None:
        parsing.malformed("Send Upload-Offset, the offset of the chunk.")
    total = parsing.number(head, "Upload-Length")  # of an upload whose length was deferred
    return commands.Append(upload_id, _chunk(head, offset), total)


def _chunk(head: RequestHead, start: int) -> commands.Chunk:
    if parsing.media_type(head) != CONTENT:
        raise parsing.unsupported_media_type(CONTENT, CONTENT)
    checksum = _checksum(parsing.single(head, "Upload-Checksum"))
    return commands.Chunk(start, parsing.number(head, "Content-Length"), checksum, in_order=True)


def _checksum(text: str | None) -> tuple[Digest, ...]:
    if text is None:
        return ()
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        sentence = f"Upload-Checksum names an unknown algorithm. Use: {', '.join(ALGORITHMS)}."
        raise Refused(Reason.UNSUPPORTED_DIGEST, sentence)
    return (declared(algorithm, parsing.strict_base64(value, "Upload-Checksum")),)


def _metadata(text: str) -> dict[str, bytes]:
    """Return the pairs of Upload-Metadata: `key base64,key`, where values are optional. Raises Refused: MALFORMED."""
    if len(text) > MAX_METADATA_SIZE:
        parsing.malformed(f"Upload-Metadata has more than {MAX_METADATA_SIZE} bytes.")
    found: dict[str, bytes] = {}
    for pair in text.split(",") if text else ():
        key, _, value = pair.strip(" ").partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            parsing.malformed("Upload-Metadata must be 'key base64,key base64', with each key once.")
        found[key] = parsing.strict_base64(value, "A value of Upload-Metadata")
    return found


def _image(metadata: Mapping[str, bytes]) -> ImageRequest:
    """Return the image that metadata requests. Other keys are the client's own (tus allows any), and are ignored."""
    return image_metadata.requested(
        {key: _text(key, value) for key, value in metadata.items() if image_metadata.is_key(key)}
    )


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        parsing.malformed(f"{key} in Upload-Metadata must be UTF-8.")


def _headers(upload: Upload) -> dict[str, str]:
    headers = {"Tus-Resumable": VERSION, "Upload-Offset": str(upload.offset)}
    if upload.expiry is not None:
        headers["Upload-Expires"] = email.utils.formatdate(upload.expiry, usegmt=True)
    return headers


def _url(upload_id: str, context: RequestContext) -> str:
    return f"{context.base}{MOUNT}/{upload_id}"
