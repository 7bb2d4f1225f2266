"""Requests byte by byte, and answers in one form for all protocols."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

TIMEOUT = 60  # seconds
_PROBLEM = "urn:problem-type:resumable-glance:"
_REGISTRY = "https://iana.org/assignments/http-problem-types#"
_OF_THE_DRAFT = {
    "mismatching-upload-offset": "wrong-offset",
    "inconsistent-upload-length": "wrong-total",
    "completed-upload": "upload-sealed",
}


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
    content: bytes = field(default=b"", repr=False)

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
        kind = str(self.document["type"])
        if kind.startswith(_REGISTRY):
            return _OF_THE_DRAFT[kind.removeprefix(_REGISTRY)]
        assert kind.startswith(_PROBLEM)
        return kind.removeprefix(_PROBLEM)

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
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def send_file(self, file: BinaryIO, start: int, length: int) -> None:
        """Send a part of a file without a copy of it in this process."""
        self.socket.sendfile(file, start, length)

    def try_to_send(self, text: bytes) -> None:
        """Send what nobody may want any more."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(text)

    def answer(self, method: str) -> Answer:
        """The next answer. ConnectionError if none comes."""
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            content = response.read()
        except http.client.IncompleteRead as problem:
            raise ConnectionError("the answer is cut") from problem
        headers = {name.lower(): value for name, value in response.getheaders()}
        known = headers.get("content-type", "").endswith("json") and content
        self.ends = response.will_close
        return Answer(response.status, headers, json.loads(content) if known else None, content)

    def end_sending(self) -> None:
        """Close our half, and wait until the service closes its own, whatever it says before."""
        with contextlib.suppress(ConnectionError):
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(65536):
                pass

    def close(self, reset: bool = False) -> None:
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
