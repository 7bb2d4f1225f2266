"""Checks of a request's head before the application sees it. Pure.

A head that two programs could read in two ways is refused: one of the two may be the proxy that decides which requests
get through. httptools refuses most of them itself (two lengths, a length beside a transfer coding, bare line feeds,
folded lines).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from resumable_glance.api.protocols.parsing import malformed

_HOST = re.compile(rb"([A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")


def check(version: str, method: str, target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse (MALFORMED) a head that can be read in two ways. Field names are in lower case."""
    if version not in {"1.0", "1.1"}:
        malformed("Use HTTP/1.1.")
    if method == "CONNECT":
        malformed("This server is not a proxy.")
    names = [name for name, _ in fields]
    if version == "1.0" and b"transfer-encoding" in names:  # RFC 9112, section 6.1
        malformed("HTTP/1.0 has no Transfer-Encoding. Use HTTP/1.1.")
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (version == "1.1" and not hosts):  # RFC 9112, section 3.2
        malformed("Send one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        malformed("The Host header is not a host with an optional port.")
    if not target.startswith(b"/") and target != b"*" and hosts != [_authority(target)]:
        malformed("The request target and the Host header name different hosts.")


def _authority(target: bytes) -> bytes | None:
    try:
        return urlsplit(target).netloc
    except ValueError:
        return None
