"""A client of the native protocol that is small, and can send what no good client would."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

TIMEOUT = 60  # seconds
RAW = {"name": "test", "disk_format": "raw", "container_format": "bare"}


@dataclass(frozen=True)
class Client:
    """Somebody who speaks to a service, with the headers that make them who they are."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> requests.Response:
        return requests.request(method, url, headers={**self.headers, **(headers or {})}, timeout=TIMEOUT, **more)

    def create(self, size: int, **more: Any) -> requests.Response:
        """Create an upload; a raw image, unless `more` says otherwise."""
        described = {"size": size, **({} if "image_id" in more else {"image": RAW}), **more}
        return self.request("POST", f"{self.url}/v1/uploads", json=described)

    def created(self, size: int, **more: Any) -> str:
        """The URL of a new upload."""
        answer = self.create(size, **more)
        assert answer.status_code == 201, answer.text
        return f"{self.url}/v1/uploads/{answer.json()['id']}"

    def send(
        self,
        url: str,
        content: bytes,
        start: int,
        stop: int,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> requests.Response:
        """Send the bytes start up to stop of `content` (or something else as if it were these)."""
        place = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        return self.request(
            "PATCH", url, {**place, **(headers or {})}, data=content[start:stop] if body is None else body
        )

    def show(self, url: str) -> dict[str, Any]:
        answer = self.request("GET", url)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def wait(self, url: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """What the upload is once it is in one of these states."""
        deadline = time.monotonic() + seconds
        while (upload := self.show(url))["state"] not in states:
            assert time.monotonic() < deadline, f"still {upload['state']}: {upload}"
            time.sleep(0.05)
        return upload

    @contextlib.contextmanager
    def stalled(
        self, url: str, content: bytes, start: int, stop: int, sent: int
    ) -> Iterator[http.client.HTTPConnection]:
        """A PATCH that sends the first `sent` bytes of its range, and then nothing until the block ends."""
        host = url.removeprefix("http://").partition("/")[0]
        connection = http.client.HTTPConnection(host, timeout=TIMEOUT)
        connection.putrequest("PATCH", url.removeprefix(f"http://{host}"))
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        connection.putheader("Content-Length", str(stop - start))
        connection.endheaders(content[start : start + sent])
        try:
            yield connection
        finally:
            connection.close()


def md5(content: bytes) -> dict[str, str]:
    """The header that declares a chunk's md5."""
    return {"Content-MD5": base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()}


def bearer(ticket: str) -> dict[str, str]:
    """The header that shows a ticket."""
    return {"Authorization": f"Bearer {ticket}"}


def reason(answer: requests.Response) -> str:
    """Why a request was refused."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Openstack-Request-Id"]
    kind, _, name = problem["type"].rpartition(":")
    assert kind == "urn:problem-type:resumable-glance"
    return str(name)


def raw_request(url: str, text: bytes) -> bytes:
    """What comes back for exactly these bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
    return answer
