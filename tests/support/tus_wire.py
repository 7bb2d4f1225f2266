"""A client of tus, beside that of wire.py."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import requests

from tests.support.wire import Client

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


def created(client: Client, size: int, headers: Mapping[str, str] | None = None) -> str:
    """The URL of a new upload."""
    answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, "Upload-Length": str(size), **(headers or {})})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def send(
    client: Client, url: str, offset: int, body: object, headers: Mapping[str, str] | None = None
) -> requests.Response:
    return client.request("PATCH", url, {**BYTES, "Upload-Offset": str(offset), **(headers or {})}, data=body)


def offset(client: Client, url: str) -> int:
    answer = client.request("HEAD", url, TUS)
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


def native(client: Client, url: str) -> str:
    """The same upload in the native protocol."""
    return f"{client.url}/v1/uploads/{url.rpartition('/')[2]}"


def checksum(algorithm: str, content: bytes) -> dict[str, str]:
    value = base64.b64encode(hashlib.new(algorithm, content).digest()).decode()
    return {"Upload-Checksum": f"{algorithm} {value}"}
