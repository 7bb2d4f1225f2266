"""Answers that come before the request has been sent to its end: how the connection goes on."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator

import pytest
import requests

from tests.support.service import Service, development
from tests.support.wire import TIMEOUT

MIB = 1024 * 1024
SIZE = 1024 * MIB
TUS = {"Tus-Resumable": "1.0.0"}
AT_A_WRONG_OFFSET = {**TUS, "Upload-Offset": "5", "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def path(service: Service) -> str:
    """Of a new upload."""
    answer = requests.post(f"{service.url}/v1/tus", headers={**TUS, "Upload-Length": str(2 * SIZE)}, timeout=TIMEOUT)
    return answer.headers["Location"].removeprefix(service.url)


@pytest.mark.parametrize("framing", [f"Content-Length: {SIZE}", "Transfer-Encoding: chunked"])
def test_the_rest_of_a_long_body_is_not_taken(service: Service, path: str, framing: str) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in AT_A_WRONG_OFFSET.items())
    piece = bytes(MIB) if framing.startswith("Content") else b"%x\r\n%b\r\n" % (MIB, bytes(MIB))
    taken = 0
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT) as connection:
        connection.sendall(f"PATCH {path} HTTP/1.1\r\nHost: here\r\n{headers}{framing}\r\n\r\n".encode())
        answer = connection.recv(65536).lower()
        assert answer.startswith(b"http/1.1 409")
        assert b"\r\nconnection: close\r\n" in answer
        with contextlib.suppress(ConnectionError):
            while taken < SIZE // MIB:
                connection.sendall(piece)
                taken += 1
    assert taken < 64


def test_a_client_that_reads_late_gets_the_early_answer(service: Service, path: str) -> None:
    answer = requests.patch(service.url + path, headers=AT_A_WRONG_OFFSET, data=bytes(128 * MIB), timeout=TIMEOUT)
    assert answer.status_code == 409
    assert answer.json()["offset"] == 0


def test_after_a_short_rest_the_connection_can_be_used_again(service: Service, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT)
    try:
        connection.request("PATCH", path, bytes(MIB), AT_A_WRONG_OFFSET)
        assert connection.getresponse().read()
        used = connection.sock
        connection.request("HEAD", path, headers=TUS)
        assert connection.getresponse().status == 200
        assert used is not None
        assert connection.sock is used
    finally:
        connection.close()
