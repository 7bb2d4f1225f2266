"""What is wrong with the head of a request, before anybody acts on it. Pure.

The one rule: what two programs could read in two ways is refused, for one of the two may be the proxy that decides who
may ask. httptools refuses most of it by itself (two lengths, a length beside a coding, bare line feeds, folded lines).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from resumable_glance.errors import Reason, Refused

_HOST = re.compile(rb"([A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")
_VERSIONS = {"1.0", "1.1"}


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How much a head may be: bytes of its request line and fields, number of fields."""

    size: int
    fields: int

    def check(self, size: int, fields: int) -> None:
        """Refused: HEAD_TOO_LARGE."""
        if size > self.size:
            sentence = f"The request's head has more than {self.size} bytes. Send fewer or shorter headers."
            raise Refused(Reason.HEAD_TOO_LARGE, sentence, limit=self.size)
        if fields > self.fields:
            raise Refused(Reason.HEAD_TOO_LARGE, f"The request has more than {self.fields} headers. Send fewer.")


def check(version: str, method: str, target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse (MALFORMED) what can be read in two ways. Field names in lower case."""
    if version not in _VERSIONS:
        raise _malformed("Speak HTTP/1.1.")
    if method == "CONNECT":
        raise _malformed("This is no proxy.")
    names = [name for name, _ in fields]
    if version == "1.0" and b"transfer-encoding" in names:  # RFC 9112, section 6.1
        raise _malformed("HTTP/1.0 has no Transfer-Encoding. Speak HTTP/1.1.")
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (version == "1.1" and not hosts):  # RFC 9112, section 3.2
        raise _malformed("Send one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise _malformed("The Host header is not a host with a port.")
    if not target.startswith(b"/") and target != b"*" and hosts != [_authority(target)]:
        raise _malformed("The address of the request names another host than its Host header.")


def _authority(target: bytes) -> bytes | None:
    try:
        return urlsplit(target).netloc
    except ValueError:
        return None


def _malformed(sentence: str) -> Refused:
    return Refused(Reason.MALFORMED, sentence)
