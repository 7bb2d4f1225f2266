"""The service at its public address, asked as clients ask it, and what comes back from there.

Its one rule: a request is sent once, as it was given. Who answered, the service or somebody in between, is to be seen.
"""

from __future__ import annotations

import email.message
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from resumable_glance.cli.verdicts import Failed

TIMEOUT = 30.0  # seconds for an answer, but for those that must come at once
_PROBLEM = "urn:problem-type:resumable-glance:"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: email.message.Message
    content: bytes
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def reason(self) -> str:
        """The service's own reason; empty if it was not the service that answered, or if it did not refuse."""
        kind = str(self.document.get("type", ""))
        return kind.removeprefix(_PROBLEM) if kind.startswith(_PROBLEM) else ""

    def __str__(self) -> str:
        server = self.headers.get("Server", "")
        return f"{self.status} {http.client.responses.get(self.status, '')}" + (f" of {server}" if server else "")


class Public:
    """The service at an address, as clients reach it. `authorities` is a file with certificates to believe, too."""

    def __init__(self, url: str, authorities: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Failed(f"{url!r} is not an address", "Write https://HOST[:PORT][/PATH].")
        self.url = url.rstrip("/")
        self.host, self.port = parts.hostname, parts.port
        self.secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._context = ssl.create_default_context()
        if authorities:
            self._context.load_verify_locations(authorities)

    def connection(self, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
        if self.secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        return self.begin(method, path, {**(headers or {}), **_length(method, body)}, body or b"", TIMEOUT)

    def begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes, patience: float) -> Answer:
        """The answer to a request of which these bytes of its body are sent, and no more. OSError if none comes."""
        connection = self.connection()
        try:
            start = time.monotonic()
            connection.putrequest(method, self._path + path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            connection.sock.settimeout(patience)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read(), time.monotonic() - start)
        except http.client.HTTPException as problem:
            raise ConnectionError(f"the connection ended without an answer ({type(problem).__name__})") from problem
        finally:
            connection.close()


def _length(method: str, body: bytes | None) -> dict[str, str]:
    return {"Content-Length": str(len(body or b""))} if body is not None or method in {"POST", "PATCH"} else {}
