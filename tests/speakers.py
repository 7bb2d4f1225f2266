"""The dialects as raw requests, and answers in one form: for tests that cut, stall and spoil what they send.

A speaker knows the wire and nothing else; what is right to answer, tests/model.py says.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import http.client
import json
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

TIMEOUT = 60  # seconds
IMAGE = {"disk_format": "raw", "container_format": "bare"}
_PROBLEM = "urn:problem-type:resumable-glance:"


@dataclass(frozen=True)
class Request:
    """A request, byte by byte. Header values may be any text; a header may come twice."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    chunked: bool = False

    def plus(self, headers: Mapping[str, str]) -> Request:
        return Request(self.method, self.path, (*self.headers, *headers.items()), self.body, self.chunked)

    def wire(self) -> bytes:
        return self._before() + self.body + (b"\r\n0\r\n\r\n" if self.chunked and self.body else b"")

    def carried(self, length: int) -> int:
        """How many bytes of the body are among the first `length` bytes on the wire."""
        return min(max(0, length - len(self._before())), len(self.body))

    def head_length(self) -> int:
        return self._before().index(b"\r\n\r\n") + 4

    def _before(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: test", *(f"{name}: {of}" for name, of in self.headers)]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif (self.body or self.method in {"POST", "PATCH"}) and "Content-Length" not in dict(self.headers):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([*lines, "", ""]).encode()
        if self.chunked:
            head += f"{len(self.body):x}\r\n".encode() if self.body else b"0\r\n\r\n"
        return head


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    document: Any = field(repr=False)

    @property
    def reason(self) -> str:
        """Why it was refused; empty if it was not."""
        if self.status < 400:
            return ""
        if self.headers.get("content-type") != "application/problem+json":
            return f"status {self.status}"  # a HEAD without a document, or the HTTP parser spoke
        if not self.document:
            return f"status {self.status}"
        assert self.document["status"] == self.status
        assert self.document["request_id"] == self.headers["x-openstack-request-id"]
        assert self.document["type"].startswith(_PROBLEM)
        return str(self.document["type"].removeprefix(_PROBLEM))

    def number(self, name: str) -> int | None:
        text = self.headers.get(name)
        return None if text is None else int(text)

    @property
    def offset(self) -> int | None:
        return self.number("upload-offset")

    @property
    def expires(self) -> float | None:
        text = self.headers.get("upload-expires")
        return None if text is None else email.utils.parsedate_to_datetime(text).timestamp()

    @property
    def created(self) -> str:
        """The id of the upload that was created."""
        return self.headers["location"].rpartition("/")[2]


class Line:
    """A connection to the service."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, text: bytes) -> None:
        self._socket.sendall(text)

    def try_to_send(self, text: bytes) -> None:
        """Send what nobody may want any more."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(text)

    def answer(self, method: str) -> Answer:
        """The next answer. ConnectionError if none comes."""
        response = http.client.HTTPResponse(self._socket, method=method)
        try:
            response.begin()
            content = response.read()
        except http.client.IncompleteRead as problem:
            raise ConnectionError("the answer is cut") from problem
        headers = {name.lower(): value for name, value in response.getheaders()}
        known = headers.get("content-type", "").endswith("json") and content
        self.ends = response.will_close
        return Answer(response.status, headers, json.loads(content) if known else None)

    def close(self, reset: bool = False) -> None:
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


@dataclass(frozen=True)
class Chunk:
    """Bytes and where they belong. `stop` is where their range ends, be the body shorter or longer. `declared` are
    digests by algorithm as hashlib names it."""

    start: int
    stop: int
    body: bytes = field(repr=False)
    declared: tuple[tuple[str, bytes], ...] = ()
    chunked: bool = False
    total: int = 0

    def __repr__(self) -> str:
        algorithms = ",".join(name for name, _ in self.declared)
        return f"[{self.start}, {self.stop}) of {self.total}, body {len(self.body)} {algorithms} {self.chunked=}"

    def holds(self) -> bool:
        """Whether all declared digests are those of the body."""
        return all(digest(name, self.body) == value for name, value in self.declared)


def digest(algorithm: str, content: bytes) -> bytes:
    return hashlib.new(algorithm, content, usedforsecurity=False).digest()


class Speaker(Protocol):
    """What the machine asks of a dialect."""

    @property
    def name(self) -> str: ...

    @property
    def in_order(self) -> bool:
        """Whether a chunk must begin at the offset, and a question takes over from a chunk that runs."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Of chunks' digests, as hashlib names them."""

    def create(self, size: int, first: Chunk | None = None) -> Request: ...

    def append(self, upload_id: str, chunk: Chunk) -> Request: ...

    def inspect(self, upload_id: str) -> Request: ...

    def discard(self, upload_id: str) -> Request: ...


class Native:
    name = "native"
    in_order = False
    algorithms = ("md5", "sha256", "sha512")
    _NAMES: Mapping[str, str] = {"md5": "md5", "sha256": "sha-256", "sha512": "sha-512"}

    def __repr__(self) -> str:
        return "NATIVE"

    def create(self, size: int, first: Chunk | None = None, **more: object) -> Request:
        document = json.dumps({"size": size, "image": IMAGE, **more}).encode()
        return Request("POST", "/v1/uploads", (("Content-Type", "application/json"),), document)

    def append(self, upload_id: str, chunk: Chunk) -> Request:
        headers = [("Content-Range", f"bytes {chunk.start}-{chunk.stop - 1}/{chunk.total}")]
        if chunk.declared:
            headers.append(("Content-Digest", self._dictionary(chunk.declared)))
        return Request("PATCH", self._path(upload_id), tuple(headers), chunk.body, chunk.chunked)

    def inspect(self, upload_id: str) -> Request:
        return Request("GET", self._path(upload_id))

    def discard(self, upload_id: str) -> Request:
        return Request("DELETE", self._path(upload_id))

    def survey(self, query: str = "") -> Request:
        return Request("GET", "/v1/uploads" + query)

    def _path(self, upload_id: str) -> str:
        return f"/v1/uploads/{upload_id}"

    def _dictionary(self, declared: Iterable[tuple[str, bytes]]) -> str:
        return ", ".join(f"{self._NAMES[name]}=:{base64.b64encode(value).decode()}:" for name, value in declared)


class Tus:
    name = "tus"
    in_order = True
    algorithms = ("sha1", "md5", "sha256", "sha512")
    _TUS = (("Tus-Resumable", "1.0.0"),)
    _BYTES = (*_TUS, ("Content-Type", "application/offset+octet-stream"))

    def __repr__(self) -> str:
        return "TUS"

    def create(self, size: int, first: Chunk | None = None) -> Request:
        length = ("Upload-Length", str(size))
        if first is None:
            return Request("POST", "/v1/tus", (*self._TUS, length))
        return Request(
            "POST", "/v1/tus", (*self._BYTES, length, *self._checksum(first)), first.body, chunked=first.chunked
        )

    def append(self, upload_id: str, chunk: Chunk) -> Request:
        headers = (*self._BYTES, ("Upload-Offset", str(chunk.start)), *self._checksum(chunk))
        return Request("PATCH", self._path(upload_id), headers, chunk.body, chunk.chunked)

    def inspect(self, upload_id: str) -> Request:
        return Request("HEAD", self._path(upload_id), self._TUS)

    def discard(self, upload_id: str) -> Request:
        return Request("DELETE", self._path(upload_id), self._TUS)

    def _path(self, upload_id: str) -> str:
        return f"/v1/tus/{upload_id}"

    def _checksum(self, chunk: Chunk) -> tuple[tuple[str, str], ...]:
        return tuple(
            ("Upload-Checksum", f"{name} {base64.b64encode(value).decode()}") for name, value in chunk.declared[:1]
        )


NATIVE, TUS = Native(), Tus()
SPEAKERS: tuple[Speaker, ...] = (NATIVE, TUS)
