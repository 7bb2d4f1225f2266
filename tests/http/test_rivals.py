"""Requests that are cut, stalled, taken over or race each other: what counts afterwards, and what everybody is told."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.chaos import BadLink
from tests.support.service import Service, development
from tests.support.tus_wire import BYTES, TUS, checksum, created, native, offset, send
from tests.support.wire import Client, reason

MIB = 1024 * 1024
CONTENT = random.Random(31).randbytes(3 * MIB + 17)
SIZE = len(CONTENT)
OTHER = bytes(byte ^ 0xFF for byte in CONTENT)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """No idle time-out ends anything here: what ends does so for another reason."""
    with development(tmp_path_factory.mktemp("service"), idle_timeout=600) as running:
        yield running


@pytest.fixture
def client(shared: Service) -> Client:
    return Client(shared.url)


def assert_is_content(service: Service, client: Client, url: str) -> None:
    upload = client.wait(native(client, url), "active", "failed")
    assert (service.directory / "images" / upload["image"]["id"]).read_bytes() == CONTENT
    assert upload["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()


def until(client: Client, url: str, received: int) -> None:
    """Wait until so many bytes were committed."""
    deadline = time.monotonic() + 30
    while client.show(native(client, url))["received"] < received:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tus_patch(service: Service, url: str, start: int, length: int) -> socket.socket:
    """A PATCH whose body is waited for: that is what 100 says. The body is the test's business."""
    connection = socket.create_connection(("127.0.0.1", service.port), 30)
    head = {**BYTES, "Host": "x", "Upload-Offset": str(start), "Content-Length": str(length), "Expect": "100-continue"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    connection.sendall(f"PATCH {url.removeprefix(service.url)} HTTP/1.1\r\n{lines}\r\n".encode())
    assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


def answer_of(connection: socket.socket) -> tuple[int, str | None, bytes]:
    """Status, Upload-Offset and body."""
    answer = http.client.HTTPResponse(connection, method="PATCH")
    answer.begin()
    return answer.status, answer.getheader("Upload-Offset"), answer.read()


@pytest.mark.parametrize("declared", [True, False])
def test_of_two_equal_chunks_at_once_one_is_taken(client: Client, declared: bool) -> None:
    headers = checksum("sha1", CONTENT[:1000]) if declared else {}
    with ThreadPoolExecutor(2) as threads:
        for _ in range(12):
            url = created(client, SIZE)
            together = threading.Barrier(2)

            def racing(url: str = url, together: threading.Barrier = together) -> requests.Response:
                together.wait()
                return send(client, url, 0, CONTENT[:1000], headers)

            answers = [each.result() for each in [threads.submit(racing), threads.submit(racing)]]
            assert sorted(each.status_code for each in answers) == [204, 409]
            refused = next(each for each in answers if each.status_code == 409)
            assert reason(refused) in {"wrong-offset", "superseded"}
            assert refused.headers["Upload-Offset"] in {"0", "1000"}
            assert offset(client, url) == 1000


def test_a_race_of_chunks_takes_none_twice(shared: Service, client: Client) -> None:
    url = created(client, SIZE)
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: send(client, url, 0, CONTENT), range(3)))
    statuses = sorted(each.status_code for each in answers)
    assert statuses in ([204, 409, 409], [409, 409, 409])  # whoever is taken over leaves what it had to the others
    assert all("Upload-Offset" in each.headers for each in answers)
    where = offset(client, url)
    assert where == max(int(each.headers["Upload-Offset"]) for each in answers)
    if where < SIZE:
        assert send(client, url, where, CONTENT[where:]).status_code == 204
    assert_is_content(shared, client, url)


def test_a_superseded_request_writes_nothing_more(shared: Service, client: Client) -> None:
    url = created(client, SIZE)
    with tus_patch(shared, url, 0, SIZE) as older:
        older.sendall(CONTENT[:MIB])
        where = offset(client, url)
        assert where <= MIB
        assert send(client, url, where, CONTENT[where : 2 * MIB]).status_code == 204
        older.sendall(OTHER[MIB : 2 * MIB])
        assert send(client, url, 2 * MIB, CONTENT[2 * MIB :]).status_code == 204
        status, told, body = answer_of(older)
    assert (status, told) == (409, str(where))
    assert b":superseded" in body
    assert_is_content(shared, client, url)


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_cut_connection_keeps_its_bytes_and_holds_no_lock(shared: Service, client: Client, how: str) -> None:
    url = created(client, SIZE)
    with tus_patch(shared, url, 0, SIZE) as connection:
        connection.sendall(CONTENT[: 2 * MIB])
        if how == "RST":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.3)  # a reset also discards what has not been read there
    until(client, url, 1)
    where = offset(client, url)
    assert 0 < where <= 2 * MIB
    assert send(client, url, where, CONTENT[where:]).status_code == 204
    assert_is_content(shared, client, url)


def test_terminating_ends_a_running_chunk_and_leaves_no_file(shared: Service, client: Client) -> None:
    url = created(client, SIZE)
    image_id = client.show(native(client, url))["image"]["id"]
    with tus_patch(shared, url, 0, SIZE) as running:
        running.sendall(CONTENT[:MIB])
        assert client.request("DELETE", url, TUS).status_code == 204
        status, _, body = answer_of(running)
    assert (status, b":upload-cancelled" in body) == (410, True)
    assert not list((shared.directory / "scratch").rglob(f"*{url.rpartition('/')[2]}*"))
    assert not list((shared.directory / "images").glob(f"{image_id}*"))


def test_the_offset_never_goes_back_and_no_byte_counts_twice(shared: Service, client: Client) -> None:
    ended = threading.Event()
    seen: list[int] = []
    url = created(client, SIZE)

    def watching() -> None:
        while not ended.is_set():
            with contextlib.suppress(requests.ConnectionError):  # killed just now
                seen.append(int(client.request("HEAD", native(client, url)).headers["Upload-Offset"]))
            ended.wait(0.02)

    with BadLink(shared.port, cuts=4, patience=(100_000, MIB), seed=5) as link, ThreadPoolExecutor(1) as threads:
        watcher = threads.submit(watching)
        try:
            told = going_on(shared, link, client, url)
        finally:
            ended.set()
        watcher.result()
    for answers in (told, seen):
        assert answers == sorted(answers)
    assert link.cuts_made == 4
    assert_is_content(shared, client, url)


def going_on(service: Service, link: BadLink, client: Client, url: str) -> list[int]:
    """Send everything through a link that breaks, to a service that is killed once; all offsets that we were told."""
    told = [0]
    while told[-1] < SIZE:
        where = told[-1]
        try:
            answer = send(client, url.replace(service.url, link.url), where, CONTENT[where : where + MIB])
            told.append(int(answer.headers["Upload-Offset"]))
        except requests.ConnectionError:
            if link.cuts_made == 3:
                service.kill()
                service.start()
            told.append(offset(client, url))
    return told
