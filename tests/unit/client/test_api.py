"""The client's requests, and what it takes from answers."""

from __future__ import annotations

import io
import os
import ssl
import threading
import types
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, cast

import pytest
import requests
from keystoneauth1.exceptions import DiscoveryFailure
from keystoneauth1.plugin import FixedEndpointPlugin
from keystoneauth1.session import Session

from resumable_glance.client import ClientError, find_service
from resumable_glance.client.api import ApiClient
from resumable_glance.client.cloud import Cloud
from resumable_glance.client.image_file import ImageFile
from resumable_glance.client.plan import (
    ApiResponse,
)
from resumable_glance.client.retry import RetryPolicy
from resumable_glance.model.ranges import Range


class Renewing(FixedEndpointPlugin):
    """Credentials whose first token has been revoked."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "old"

    def get_token(self, session: Session) -> str:
        return self.token

    def invalidate(self) -> bool:
        self.token = "new"
        return True


class Picky(BaseHTTPRequestHandler):
    """Takes the new token only; remembers bodies that came with it."""

    bodies: ClassVar[list[bytes]] = []

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fresh = self.headers["X-Auth-Token"] == "new"
        if fresh:
            self.bodies.append(body)
        self.send_response(204 if fresh else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_chunk_is_sent_again_with_a_new_token(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    file = image(tmp_path, content)
    with ThreadingHTTPServer(("127.0.0.1", 0), Picky) as server:
        threading.Thread(target=server.serve_forever).start()
        cloud = Cloud(Session(Renewing()), authenticated=True)
        service = ApiClient(cloud, f"http://127.0.0.1:{server.server_port}")
        assert service.send("a-1", file, Range(0, 300_000)).status == 204
        cloud.close()
        server.shutdown()
    assert Picky.bodies == [content]
    file.close()


def answered(body: bytes, headers: Mapping[str, str]) -> ApiResponse:
    """What the client makes of an answer with status 503."""
    response = requests.Response()
    response.status_code = 503
    response.raw = io.BytesIO(body)
    response.headers.update(headers)
    session = types.SimpleNamespace(request=lambda *_, **__: response)
    return ApiClient(
        cast(Cloud, types.SimpleNamespace(session=session, authenticated=True)), "http://service"
    ).describe()


@pytest.mark.parametrize("wish", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "soon", "-1", "\xb2", ""])
def test_an_invalid_retry_after_is_ignored(wish: str) -> None:
    assert answered(b"", {"Retry-After": wish}).retry_after is None


def test_deeply_nested_json_is_no_document() -> None:
    assert answered(b"[" * 1_000_000, {"Content-Type": "application/json"}).document == {}


def test_an_untrusted_certificate_of_keystone_is_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESUMABLE_GLANCE_URL", raising=False)

    def get_endpoint(**_: object) -> str:
        raise DiscoveryFailure from ssl.SSLCertVerificationError("self-signed certificate")

    session = types.SimpleNamespace(get_endpoint=get_endpoint)
    cloud = Cloud(cast(Session, session), authenticated=True)
    with pytest.raises(ClientError, match="--os-cacert"):
        find_service(cloud, retries=RetryPolicy(lambda sentence: None, give_up_after=0))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8970", "ftp://host", "http://", "file:///etc/passwd"])
def test_an_invalid_service_url_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="URL"):
        ApiClient(Cloud(Session(), authenticated=False), url)


def image(directory: Path, content: bytes | bytearray) -> ImageFile:
    path = directory / "disk.raw"
    path.write_bytes(content)
    return ImageFile(path)
