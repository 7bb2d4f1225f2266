"""Parsers of header fields and JSON, by exactly their grammar. Anything else is refused, never guessed.

Python's int() accepts "+1", "1_0" and Arabic digits, and its base64 skips unknown characters, so that neither is used
as it is.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import urllib.parse
from collections.abc import Sequence
from typing import NoReturn, TypeVar

import http_sf

from resumable_glance.api.protocols.base import RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.digests import Digest, declared
from resumable_glance.model.ranges import Range
from resumable_glance.model.upload import Upload

T = TypeVar("T")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
CONTENT_RANGE = re.compile(r"bytes (0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})/(0|[1-9][0-9]{0,15})", re.ASCII)
# RFC 6266, section 4.1, with the tokens and quoted strings of RFC 9110; filename* as RFC 8187, section 3.2.1 has it
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_PARAMETER = re.compile(rf"[ \t]*;[ \t]*({_TOKEN})=({_TOKEN}|{_QUOTED})", re.ASCII)
_DISPOSITION = re.compile(rf"{_TOKEN}(?:{_PARAMETER.pattern})*", re.ASCII)
_EXTENDED = re.compile(r"utf-8'[A-Za-z0-9-]*'((?:%[0-9A-F]{2}|[!#$&+.^_`|~0-9A-Z-])*)", re.ASCII | re.IGNORECASE)
MAX_VALUE_LENGTH = 8192  # characters of a header, unless it may be longer
MAX_QUERY_LENGTH = 16 * 1024  # characters: an image with all properties that it may have
MAX_KEY_LENGTH = 255  # characters of an idempotency key
# As in Glance, by default: image_property_quota and image_tag_quota
MAX_PROPERTIES = 128
MAX_TAGS = 128
SAFE_INTEGER = 2**53 - 1  # the largest that JavaScript represents exactly
# The algorithms of RFC 9530, section 5, by our names
RFC9530 = {"md5": "md5", "sha-256": "sha256", "sha-512": "sha512"}

# Properties of images that Glance sets itself, or that a creation has as members of their own
RESERVED = frozenset(
    (
        "checksum created_at direct_url file id locations os_hash_algo os_hash_value os_hidden owner schema self size "
        "status stores updated_at virtual_size name disk_format container_format visibility min_disk min_ram protected "
        "tags backend"
    ).split()
)


def malformed(detail: str) -> NoReturn:
    """Raise Refused(MALFORMED)."""
    raise Refused(Reason.MALFORMED, detail)


def single(head: RequestHead, name: str, longest: int = MAX_VALUE_LENGTH) -> str | None:
    """Return the value of a header that may come once, with up to `longest` characters. Raises Refused: MALFORMED."""
    values = head.headers.get(name.lower(), ())
    if len(values) > 1:
        malformed(f"The header {name} came {len(values)} times. Send it once.")
    if values and len(values[0]) > longest:
        malformed(f"The header {name} has more than {longest} characters.")
    return values[0] if values else None


def number(head: RequestHead, name: str) -> int | None:
    """Return the decimal number in a header. Raises Refused: MALFORMED."""
    text = single(head, name)
    return None if text is None else integer(text, name)


def item(head: RequestHead, name: str, kind: type[T]) -> T | None:
    """Return the value of a header that is an Item of this kind (RFC 9651, section 4.2.3), without parameters.

    Any other value counts as absent: None.
    """
    text = single(head, name)
    if text is None:
        return None
    try:
        parsed = http_sf.parse(text.encode("ascii"), tltype="item")
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        return None
    value = parsed[0] if isinstance(parsed, tuple) else parsed
    return value if type(value) is kind else None


def idempotency_key(head: RequestHead) -> str | None:
    """Return the value of Idempotency-Key, a String (RFC 9651) of 1 to 255 characters. Raises Refused: MALFORMED."""
    if single(head, "Idempotency-Key") is None:
        return None
    key = item(head, "Idempotency-Key", str)
    if key is None or not 0 < len(key) <= MAX_KEY_LENGTH:
        malformed(f'Idempotency-Key must be a string of 1 to {MAX_KEY_LENGTH} characters in quotes: "8e03978e-40d5"')
    return key


def media_type(head: RequestHead) -> str | None:
    """Return Content-Type without parameters, in lower case (RFC 9110, section 8.3.1)."""
    text = single(head, "Content-Type")
    return None if text is None else text.partition(";")[0].strip().lower()


def check_not_form(head: RequestHead, **facts: str) -> None:
    """Check that no browser form was sent as an image. Raises Refused: UNSUPPORTED_MEDIA_TYPE, with these facts."""
    if media_type(head) == "multipart/form-data":
        raise Refused(
            Reason.UNSUPPORTED_MEDIA_TYPE,
            "A form is not an image: its header lines would become part of the image. Send only the bytes as the body; "
            f"in a browser: fetch(url, {{method: '{head.method}', body: file.slice(start, end)}}).",
            **facts,
        )


def unsupported_media_type(accepted: str, accept_patch: str) -> Refused:
    """Return the refusal of a chunk whose Content-Type is not `accepted`."""
    sentence = f"Send only the bytes, with Content-Type: {accepted}."
    return Refused(Reason.UNSUPPORTED_MEDIA_TYPE, sentence, accept_patch=accept_patch)


def check_encoding(head: RequestHead) -> None:
    """Check that the body is not encoded. Raises Refused: UNSUPPORTED_ENCODING."""
    if (single(head, "Content-Encoding") or "").lower() not in {"", "identity"}:
        raise Refused(Reason.UNSUPPORTED_ENCODING, "Send the bytes without a Content-Encoding.")
    # Of `gzip, chunked` the server decodes only chunked, without saying so.
    if (single(head, "Transfer-Encoding") or "").lower() not in {"", "chunked"}:
        raise Refused(Reason.UNSUPPORTED_ENCODING, "Send the bytes without a Transfer-Encoding other than chunked.")


def method_not_allowed(method: str, allowed: Sequence[str]) -> Refused:
    """Return the refusal of a method, which names those that are allowed."""
    allow = ", ".join(allowed)
    return Refused(Reason.METHOD_NOT_ALLOWED, f"{method[:20]} can't be used here. Use {allow}.", allow=allow)


def integer(text: str, what: str) -> int:
    """Return a decimal number from 0 to 2^53-1. Raises Refused: MALFORMED, naming `what` it is."""
    if not _INTEGER.fullmatch(text) or int(text) > SAFE_INTEGER:
        malformed(f"{what} must be a decimal number from 0 to 2^53-1.")
    return int(text)


def content_range(text: str) -> tuple[Range, int]:
    """Return the range and the total of `bytes first-last/total` (RFC 9110, section 14.4), in bytes."""
    match = CONTENT_RANGE.fullmatch(text)
    if not match:
        malformed("Content-Range must be 'bytes FIRST-LAST/TOTAL', with decimal numbers: bytes 0-1048575/4194304")
    first, last, total = (integer(each, "A number in Content-Range") for each in match.groups())
    if not first <= last < total:
        malformed("In Content-Range: bytes FIRST-LAST/TOTAL, FIRST <= LAST < TOTAL must hold. LAST is the last byte.")
    return Range(first, last + 1), total


def chunk_digests(head: RequestHead) -> tuple[Digest, ...]:
    """Return the digests of a chunk: Content-Digest (RFC 9530) and Content-MD5 (RFC 1864)."""
    digests = _digests(head, "Content-Digest")
    text = single(head, "Content-MD5")
    return digests if text is None else (*digests, declared("md5", strict_base64(text, "Content-MD5")))


def image_digests(head: RequestHead) -> tuple[Digest, ...]:
    """Return the digests of the whole image: Repr-Digest (RFC 9530)."""
    return _digests(head, "Repr-Digest")


def _digests(head: RequestHead, name: str) -> tuple[Digest, ...]:
    text = single(head, name)
    return () if text is None else tuple(structured_digests(text, name))


def structured_digests(text: str, name: str) -> list[Digest]:
    """Return the digests in a dictionary of byte sequences: `md5=:XUFAKrxLKna5cZ2REBfFkg==:` (RFC 9530, section 2)."""
    try:
        members = http_sf.parse(text.encode("ascii"), tltype="dictionary")
    except (http_sf.StructuredFieldError, UnicodeEncodeError, ValueError) as problem:
        malformed(f"{name} must be a dictionary of byte sequences, as in md5=:XUFAKrxLKna5cZ2REBfFkg==: ({problem})")
    if not isinstance(members, dict) or not members:
        malformed(f"{name} names no digest.")
    found = []
    for algorithm, member in members.items():
        value = member[0] if isinstance(member, tuple) else member
        if not isinstance(value, bytes):
            malformed(f"{name} must have base64 between colons: {algorithm}=:...:")
        if algorithm not in RFC9530:
            raise Refused(Reason.UNSUPPORTED_DIGEST, f"{name} names an unknown algorithm. Use: {', '.join(RFC9530)}.")
        found.append(declared(RFC9530[algorithm], value))
    return found


def strict_base64(text: str, what: str) -> bytes:
    """Return the bytes of canonical base64 (RFC 4648). Raises Refused: MALFORMED, naming `what` it is."""
    try:
        value = base64.b64decode(text)
    except ValueError:
        malformed(f"{what} is not base64.")
    if base64.b64encode(value).decode() != text:  # skipped characters, or unused bits that are not zero
        malformed(f"{what} is not base64 in its canonical form.")
    return value


def filename(head: RequestHead) -> str | None:
    """Return the file name in Content-Disposition: filename* if present, else filename (RFC 6266, section 4.3)."""
    text = single(head, "Content-Disposition")
    if text is None:
        return None
    if not _DISPOSITION.fullmatch(text):
        malformed('Content-Disposition must be as in RFC 6266: inline; filename="disk.raw"')
    parameters = [(name.lower(), value) for name, value in _PARAMETER.findall(text)]
    found = dict(parameters)
    if len(found) < len(parameters):
        malformed("Content-Disposition has two parameters of the same name.")
    if "filename*" in found:
        return _extended(found["filename*"])
    value = found.get("filename")
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value and value.startswith('"') else value


def _extended(text: str) -> str:
    if match := _EXTENDED.fullmatch(text):
        with contextlib.suppress(UnicodeDecodeError):
            return urllib.parse.unquote(match[1], errors="strict")
    malformed("filename* in Content-Disposition must be as in RFC 8187: filename*=UTF-8''disk%20image.raw")


def downloaded(upload: Upload) -> dict[str, str]:
    """Return the headers of a download: an attachment that browsers never display (RFC 6266, RFC 8187)."""
    name = (upload.image and upload.image.name) or upload.id
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(upload.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{urllib.parse.quote(name, safe='')}",
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def check_spelling(document: bytes) -> None:
    """Check that a JSON document has no number like -0, and no two members of the same name. Raises Refused: MALFORMED.

    Decoders read such documents in different ways.
    """
    json.loads(
        document,
        parse_int=lambda text: integer(text, f"The number {text[:20]}"),
        object_pairs_hook=_without_duplicates,
    )


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        malformed("The body has two members of the same name.")
    return members


def custom_property(name: str) -> str:
    """Return the name of an additional property of an image. Raises Refused: MALFORMED for one that Glance reserves."""
    if not name or name in RESERVED:
        malformed(f"{name!r} can't be an additional property of an image: Glance reserves the name.")
    return name
