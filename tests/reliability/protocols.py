"""The protocols as raw requests, for tests that cut, stall and corrupt what they send.

A protocol builds requests and nothing else; model.py decides which answers are right.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tests.support.raw import Request

IMAGE = {"disk_format": "raw", "container_format": "bare"}
_NAMES: Mapping[str, str] = {"md5": "md5", "sha256": "sha-256", "sha512": "sha-512"}  # as RFC 9530 has them


@dataclass(frozen=True)
class Chunk:
    """The bytes of a range. `stop` is the end of the announced range; the body may be shorter or longer.

    `declared` are digests by hashlib's algorithm names. `total` is the announced size of the upload, `last` whether
    the chunk completes it; None if the request does not say.
    """

    start: int
    stop: int
    body: bytes = field(repr=False)
    declared: tuple[tuple[str, bytes], ...] = ()
    chunked: bool = False
    total: int | None = None
    in_order: bool = False
    last: bool | None = None
    zeros: bool = False  # declared as zeros: `body` is not sent

    def __repr__(self) -> str:
        algorithms = ",".join(name for name, _ in self.declared)
        how = f"{self.chunked=} {self.in_order=} {self.last=} {self.zeros=}"
        return f"[{self.start}, {self.stop}) of {self.total}, body {len(self.body)} {algorithms} {how}"

    def holds(self) -> bool:
        """Return whether all declared digests are those of the body."""
        return all(digest(name, self.body) == value for name, value in self.declared)


def digest(algorithm: str, content: bytes) -> bytes:
    return hashlib.new(algorithm, content, usedforsecurity=False).digest()


class WireProtocol(Protocol):
    """A protocol of uploads over HTTP."""

    @property
    def name(self) -> str: ...

    @property
    def in_order(self) -> bool:
        """Whether a chunk must begin at the offset; a question ends a running request then."""

    @property
    def completes(self) -> bool:
        """Whether a question completes an upload that has all of its bytes."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms of chunk digests, by hashlib's names."""

    def create(self, size: int | None, first: Chunk | None = None) -> Request: ...

    def append(self, upload_id: str, chunk: Chunk) -> Request: ...

    def inspect(self, upload_id: str) -> Request: ...

    def cancel(self, upload_id: str) -> Request: ...


class Native:
    name = "native"
    in_order = False
    completes = True
    algorithms = ("md5", "sha256", "sha512")

    def __repr__(self) -> str:
        return "NATIVE"

    def create(self, size: int | None, first: Chunk | None = None, **more: object) -> Request:
        document = json.dumps({"size": size, "image": IMAGE, **more}).encode()
        return Request("POST", "/v1/uploads", (("Content-Type", "application/json"),), document)

    def append(self, upload_id: str, chunk: Chunk) -> Request:
        headers = [("Content-Range", f"bytes {chunk.start}-{chunk.stop - 1}/{chunk.total}")]
        if chunk.zeros:
            headers.append(("Content-Type", "application/vnd.resumable-glance.zeros"))
            return Request("PATCH", self._path(upload_id), tuple(headers))
        if chunk.declared:
            headers.append(("Content-Digest", _dictionary(chunk.declared)))
        return Request("PATCH", self._path(upload_id), tuple(headers), chunk.body, chunk.chunked)

    def inspect(self, upload_id: str) -> Request:
        return Request("GET", self._path(upload_id))

    def cancel(self, upload_id: str) -> Request:
        return Request("DELETE", self._path(upload_id))

    def list_uploads(self, query: str = "") -> Request:
        return Request("GET", "/v1/uploads" + query)

    def _path(self, upload_id: str) -> str:
        return f"/v1/uploads/{upload_id}"


class Tus:
    name = "tus"
    in_order = True
    completes = True
    algorithms = ("sha1", "md5", "sha256", "sha512")
    _TUS = (("Tus-Resumable", "1.0.0"),)
    _BYTES = (*_TUS, ("Content-Type", "application/offset+octet-stream"))
    _CREATED: tuple[tuple[str, str], ...] = ()  # more header fields of a creation

    def __repr__(self) -> str:
        return "TUS"

    def create(self, size: int | None, first: Chunk | None = None) -> Request:
        length = ("Upload-Defer-Length", "1") if size is None else ("Upload-Length", str(size))
        headers = (*self._CREATED, length)
        if first is None:
            return Request("POST", "/v1/tus", (*self._TUS, *headers))
        headers = (*self._BYTES, *headers, *self._checksum(first))
        return Request("POST", "/v1/tus", headers, first.body, chunked=first.chunked)

    def join(self, upload_ids: Iterable[str]) -> Request:
        urls = " ".join(map(self._path, upload_ids))
        return Request("POST", "/v1/tus", (*self._TUS, ("Upload-Concat", f"final;{urls}")))

    def append(self, upload_id: str, chunk: Chunk) -> Request:
        headers = (*self._BYTES, ("Upload-Offset", str(chunk.start)), *_length(chunk.total), *self._checksum(chunk))
        return Request("PATCH", self._path(upload_id), headers, chunk.body, chunk.chunked)

    def inspect(self, upload_id: str) -> Request:
        return Request("HEAD", self._path(upload_id), self._TUS)

    def cancel(self, upload_id: str) -> Request:
        return Request("DELETE", self._path(upload_id), self._TUS)

    def read(self, upload_id: str) -> Request:
        return Request("GET", self._path(upload_id))

    def _path(self, upload_id: str) -> str:
        return f"/v1/tus/{upload_id}"

    def _checksum(self, chunk: Chunk) -> tuple[tuple[str, str], ...]:
        return tuple(
            ("Upload-Checksum", f"{name} {base64.b64encode(value).decode()}") for name, value in chunk.declared[:1]
        )


class TusInParts(Tus):
    """tus with the concatenation extension: each upload is a part, to be joined with others."""

    _CREATED = (("Upload-Concat", "partial"),)

    def __repr__(self) -> str:
        return "PARTS"


class Rufh:
    name = "rufh"
    in_order = True
    completes = False
    algorithms = ("md5", "sha256", "sha512")

    def __repr__(self) -> str:
        return "RUFH"

    def create(self, size: int | None, first: Chunk | None = None) -> Request:
        chunk = first or Chunk(0, 0, b"", last=False)
        return Request("POST", "/v1/rufh", (*_length(size), *self._said(chunk)), chunk.body, chunk.chunked)

    def append(self, upload_id: str, chunk: Chunk) -> Request:
        headers = (
            ("Content-Type", "application/partial-upload"),
            ("Upload-Offset", str(chunk.start)),
            *_length(chunk.total),
            *self._said(chunk),
        )
        return Request("PATCH", self._path(upload_id), headers, chunk.body, chunk.chunked)

    def inspect(self, upload_id: str) -> Request:
        return Request("HEAD", self._path(upload_id))

    def cancel(self, upload_id: str) -> Request:
        return Request("DELETE", self._path(upload_id))

    def _path(self, upload_id: str) -> str:
        return f"/v1/rufh/{upload_id}"

    def _said(self, chunk: Chunk) -> tuple[tuple[str, str], ...]:
        said = (("Upload-Complete", "?1" if chunk.last else "?0"),)
        return (*said, ("Content-Digest", _dictionary(chunk.declared))) if chunk.declared else said


def _length(size: int | None) -> tuple[tuple[str, str], ...]:
    return () if size is None else (("Upload-Length", str(size)),)


def _dictionary(declared: Iterable[tuple[str, bytes]]) -> str:
    return ", ".join(f"{_NAMES[name]}=:{base64.b64encode(value).decode()}:" for name, value in declared)


NATIVE, TUS, RUFH, PARTS = Native(), Tus(), Rufh(), TusInParts()
PROTOCOLS: tuple[WireProtocol, ...] = (NATIVE, TUS, RUFH)
CREATORS: tuple[WireProtocol, ...] = (*PROTOCOLS, PARTS)
