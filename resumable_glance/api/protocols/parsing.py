"""Header fields and JSON, parsed by exactly their grammar. Anything else is refused, never guessed.

Python's own int() takes "+1", "1_0" and Arabic digits, and its base64 skips what it does not know: neither is
used here as it is.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeVar

import http_sf

from resumable_glance.api.protocols.base import Head
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
LONGEST_KEY = 255  # characters
SAFE_INTEGER = 2**53 - 1  # what JSON and JavaScript agree on
# RFC 9530, section 5, and the names that people know from md5sum and sha256sum
RFC9530 = {"md5": "md5", "sha-256": "sha256", "sha-512": "sha512"}

# What Glance sets itself, or takes elsewhere: none of it is a further property.
RESERVED = frozenset(
    (
        "checksum created_at direct_url file id locations os_hash_algo os_hash_value os_hidden owner schema self size "
        "status stores updated_at virtual_size name disk_format container_format visibility min_disk min_ram protected "
        "tags backend"
    ).split()
)


def malformed(detail: str) -> NoReturn:
    raise Refused(Reason.MALFORMED, detail)


def single(head: Head, name: str) -> str | None:
    """The value of a header that may come once. Refused: MALFORMED if it came twice."""
    values = head.headers.get(name, ())
    if len(values) > 1:
        malformed(f"The header {name} came {len(values)} times. Send it once.")
    return values[0] if values else None


def item(head: Head, name: str, kind: type[T]) -> T | None:
    """The value of a header that is an Item of this kind (RFC 9651, section 4.2.3), its parameters left aside.

    None without the header, or where it is anything else: then it counts as absent.
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


def idempotency_key(head: Head) -> str | None:
    """The value of Idempotency-Key, a String of RFC 9651 with 1 to 255 characters. Refused: MALFORMED."""
    if single(head, "idempotency-key") is None:
        return None
    key = item(head, "idempotency-key", str)
    if key is None or not 0 < len(key) <= LONGEST_KEY:
        malformed(f'Idempotency-Key is a string of 1 to {LONGEST_KEY} characters, in quotes: "8e03978e-40d5"')
    return key


def media_type(head: Head) -> str | None:
    """Content-Type without parameters, in lower case (RFC 9110, section 8.3.1)."""
    text = single(head, "content-type")
    return None if text is None else text.partition(";")[0].strip().lower()


def check_encoding(head: Head) -> None:
    """Refused: UNSUPPORTED_ENCODING for anything but the bytes as they are."""
    if (single(head, "content-encoding") or "").lower() not in {"", "identity"}:
        raise Refused(Reason.UNSUPPORTED_ENCODING, "Send the bytes as they are, without a Content-Encoding.")
    # Of `gzip, chunked` the server below us undoes chunked alone, and does not say so.
    if (single(head, "transfer-encoding") or "").lower() not in {"", "chunked"}:
        raise Refused(
            Reason.UNSUPPORTED_ENCODING, "Send the bytes as they are, without a Transfer-Encoding other than chunked."
        )


def method_not_allowed(method: str, allowed: Sequence[str]) -> Refused:
    allow = ", ".join(allowed)
    return Refused(Reason.METHOD_NOT_ALLOWED, f"{method[:20]} can't be used here. Use {allow}.", allow=allow)


def integer(text: str, what: str) -> int:
    """A decimal number of bytes or things, at most 2^53-1."""
    if not _INTEGER.fullmatch(text) or int(text) > SAFE_INTEGER:
        malformed(f"{what} is not a decimal number from 0 to 2^53-1.")
    return int(text)


def content_range(text: str) -> tuple[Range, int]:
    """`bytes first-last/total` (RFC 9110, section 14.4) as a range and the total, in bytes."""
    match = CONTENT_RANGE.fullmatch(text)
    if not match:
        malformed("Content-Range must be 'bytes FIRST-LAST/TOTAL', with decimal numbers: bytes 0-1048575/4194304")
    first, last, total = (integer(each, "A number in Content-Range") for each in match.groups())
    if not first <= last < total:
        malformed("In Content-Range: bytes FIRST-LAST/TOTAL, FIRST <= LAST < TOTAL must hold; LAST is inclusive.")
    return Range(first, last + 1), total


def chunk_digests(head: Head) -> tuple[Digest, ...]:
    """The digests of a chunk: Content-Digest (RFC 9530) and Content-MD5 (RFC 1864)."""
    text = single(head, "content-digest")
    found = [] if text is None else structured_digests(text, "Content-Digest")
    text = single(head, "content-md5")
    if text is not None:
        found.append(declared("md5", strict_base64(text, "Content-MD5")))
    return tuple(found)


def structured_digests(text: str, name: str) -> list[Digest]:
    """A dictionary of byte sequences: `md5=:XUFAKrxLKna5cZ2REBfFkg==:` (RFC 9530, sections 2 and 3)."""
    try:
        members = http_sf.parse(text.encode("ascii"), tltype="dictionary")
    except (http_sf.StructuredFieldError, UnicodeEncodeError, ValueError) as problem:
        malformed(f"{name} is not a dictionary of byte sequences, such as md5=:XUFAKrxLKna5cZ2REBfFkg==: ({problem})")
    if not isinstance(members, dict) or not members:
        malformed(f"{name} names no digest.")
    found = []
    for algorithm, member in members.items():
        value = member[0] if isinstance(member, tuple) else member
        if not isinstance(value, bytes):
            malformed(f"{name} must give a byte sequence between colons: {algorithm}=:...:")
        if algorithm not in RFC9530:
            raise Refused(
                Reason.UNSUPPORTED_DIGEST,
                f"{name} names an algorithm that is not known here. Use: {', '.join(RFC9530)}.",
            )
        found.append(declared(RFC9530[algorithm], value))
    return found


def strict_base64(text: str, what: str) -> bytes:
    try:
        value = base64.b64decode(text)
    except ValueError:
        malformed(f"{what} is not base64.")
    if base64.b64encode(value).decode() != text:  # characters that were skipped, or unused bits that are not zero
        malformed(f"{what} is not base64 in its canonical form.")
    return value


def filename(head: Head) -> str | None:
    """The file's name in Content-Disposition: filename* if there is one, else filename (RFC 6266, section 4.3)."""
    text = single(head, "content-disposition")
    if text is None:
        return None
    if not _DISPOSITION.fullmatch(text):
        malformed('Content-Disposition is not as in RFC 6266: inline; filename="disk.raw"')
    parameters = [(name.lower(), value) for name, value in _PARAMETER.findall(text)]
    found = dict(parameters)
    if len(found) < len(parameters):
        malformed("Content-Disposition has two parameters of the same name.")
    if "filename*" in found:
        return _extended(found["filename*"])
    value = found.get("filename")
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value and value.startswith('"') else value


def _extended(text: str) -> str:
    match = _EXTENDED.fullmatch(text)
    try:
        if match:
            return urllib.parse.unquote(match[1], errors="strict")
    except UnicodeDecodeError:
        pass
    malformed("filename* in Content-Disposition is not as in RFC 8187: filename*=UTF-8''disk%20image.raw")


def downloaded(upload: Upload) -> dict[str, str]:
    """The headers of an upload's bytes: a file to be kept, whatever it looks like (RFC 6266, RFC 8187)."""
    name = (upload.image and upload.image.name) or upload.id
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(upload.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{urllib.parse.quote(name, safe='')}",
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def json_object(body: bytes) -> Mapping[str, object]:
    """A JSON object without duplicate names, fractions, NaN or numbers that JavaScript can't hold."""
    try:
        document = json.loads(
            body.decode(),
            parse_int=lambda text: integer(text, f"The number {text[:20]}"),
            parse_float=lambda text: malformed(f"The number {text[:20]} is not a whole one."),
            parse_constant=lambda text: malformed(f"{text} is not JSON."),
            object_pairs_hook=_without_duplicates,
        )
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair can be written as \\ud800
    except (UnicodeError, json.JSONDecodeError, RecursionError):
        malformed("The body is not JSON in UTF-8.")
    if not isinstance(document, dict):
        malformed("The body must be a JSON object.")
    return document


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        malformed("The body has two members of the same name.")
    return members


def further_property(name: str) -> str:
    """The name of a further property of an image, as it is. Refused: MALFORMED for what Glance has as its own."""
    if not name or name in RESERVED:
        malformed(f"{name!r} can't be given as a further property of an image.")
    return name
