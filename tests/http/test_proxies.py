"""Behind the real nginx and HAProxy, with the configuration of docs/examples: nothing is lost, kept back or changed."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support import proxies
from tests.support.service import Service, development
from tests.support.tus_wire import BYTES, TUS, created, native, send
from tests.support.wire import Client, reason

MIB = 1024 * 1024
CONTENT = random.Random(5).randbytes(3 * MIB + 5)
SIZE = len(CONTENT)
PROXY_BUFFER = 128 * 1024  # bytes: tune.bufsize of the HAProxy
ORIGIN = "https://dashboard.example"
NOBODYS = "/v1/uploads/a-" + "0" * 32
IETF = {"Upload-Draft-Interop-Version": "8"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """The instances a and b."""
    directory = tmp_path_factory.mktemp("services")
    groups: dict[str, dict[str, object]] = {"cors": {"allowed_origin": ORIGIN}, "scratch": {"commit_size": MIB}}
    a, b = (development(directory / each, groups, instance=each, trusted_proxies="127.0.0.1") for each in "ab")
    with a, b:
        yield a, b


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> proxies.Authority:
    return proxies.authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def url(
    request: pytest.FixtureRequest,
    services: tuple[Service, Service],
    authority: proxies.Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    directory = tmp_path_factory.mktemp(request.param)
    ports = {8970: services[0].port, 8971: services[1].port}
    with proxies.running(request.param, directory / "run", ports, authority.certify(directory)) as found:
        yield found


@pytest.fixture
def client(url: str, authority: proxies.Authority, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    return Client(url)


@contextlib.contextmanager
def stalled(
    client: Client, authority: proxies.Authority, path: str, headers: dict[str, str], length: int, sent: bytes
) -> Iterator[http.client.HTTPConnection]:
    """A PATCH whose body has `length` bytes, of which only these come."""
    host = client.url.removeprefix("https://")
    context = ssl.create_default_context(cafile=authority.file)
    connection = http.client.HTTPSConnection(host, timeout=60, context=context)
    connection.putrequest("PATCH", path)
    for name, value in {**headers, "Content-Length": str(length)}.items():
        connection.putheader(name, value)
    connection.endheaders(sent)
    try:
        yield connection
    finally:
        connection.close()


def is_active(client: Client, services: tuple[Service, Service], url: str) -> bool:
    upload = client.wait(native(client, url), "active", "failed")
    image = str(upload["image"]["id"])
    found = [each.directory / "images" / image for each in services if (each.directory / "images" / image).exists()]
    return str(upload["state"]) == "active" and found[0].read_bytes() == CONTENT


def test_each_protocol_works_through_the_proxy(client: Client, services: tuple[Service, Service]) -> None:
    made = client.created(SIZE)
    assert made.startswith(f"{client.url}/v1/uploads/")
    for start, stop in ((2 * MIB, SIZE), (0, 2 * MIB)):
        assert client.send(made, CONTENT, start, stop).status_code == 204
    assert is_active(client, services, made)

    made = created(client, SIZE)
    assert made.startswith(f"{client.url}/v1/tus/")
    pieces = iter([CONTENT[:MIB], CONTENT[MIB:]])  # of a length that nobody tells
    assert send(client, made, 0, pieces).status_code == 204
    assert is_active(client, services, made)

    headers = {**IETF, "Upload-Complete": "?1", "Content-Type": "application/octet-stream"}
    answer = client.request("POST", f"{client.url}/v1/rufh", headers, data=CONTENT)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"].startswith(f"{client.url}/v1/rufh/")
    assert is_active(client, services, answer.headers["Location"])


def test_the_proxy_streams_and_a_stalled_client_is_superseded(client: Client, authority: proxies.Authority) -> None:
    took = []
    for _ in range(3):
        made = created(client, 64 * MIB)
        path = made.removeprefix(client.url)
        sent = CONTENT[: 3 * MIB]
        with stalled(client, authority, path, {**BYTES, "Upload-Offset": "0"}, 64 * MIB, sent) as connection:
            deadline = time.monotonic() + 30
            while client.show(native(client, made))["received"] < 2 * MIB:
                assert time.monotonic() < deadline, "the proxy collects the body"
                time.sleep(0.02)
            time.sleep(0.1)
            start = time.monotonic()
            answer = client.request("HEAD", made, TUS)
            took.append(time.monotonic() - start)
            assert answer.status_code == 200, answer.text
            # What a busy proxy has not passed on by then was never acknowledged, and is no more than its buffer.
            assert 3 * MIB - PROXY_BUFFER <= int(answer.headers["Upload-Offset"]) <= 3 * MIB
            assert connection.getresponse().status == 409
        assert client.request("DELETE", made, TUS).status_code == 204
    assert min(took) < 1


def test_a_large_body_is_refused_before_it_is_sent(client: Client, authority: proxies.Authority) -> None:
    headers = {"Content-Range": f"bytes 0-{512 * MIB - 1}/{MIB * MIB}", "Origin": ORIGIN}
    with stalled(client, authority, NOBODYS, headers, 512 * MIB, b"") as connection:
        answer = connection.getresponse()
        assert answer.status == 404
        assert answer.getheader("Access-Control-Allow-Origin") == ORIGIN
        assert b"unknown-upload" in answer.read()


def test_cors_is_the_same_through_the_proxy(client: Client) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "upload-offset",
    }
    answer = client.request("OPTIONS", f"{client.url}/v1/tus", asked)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    url = created(client, SIZE)
    answer = client.request("HEAD", url, {**TUS, "Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Upload-Offset" in answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert answer.headers["Upload-Offset"] == "0"
    assert "Access-Control-Allow-Origin" not in client.request("GET", client.url, {"Origin": "null"}).headers


def test_a_chunk_may_come_by_http_2(
    client: Client, services: tuple[Service, Service], authority: proxies.Authority, tmp_path: Path
) -> None:
    assert shutil.which("curl"), "install curl"
    (tmp_path / "image").write_bytes(CONTENT)
    made = created(client, SIZE)
    command = ["curl", "--silent", "--http2", "--cacert", str(authority.file), "--request", "PATCH", "--upload-file",
               str(tmp_path / "image"), "--output", str(tmp_path / "answer"),
               "--write-out", "%{http_version} %{http_code}", "--header", "Upload-Offset: 0"]  # fmt: skip
    for name, value in BYTES.items():
        command += ["--header", f"{name}: {value}"]
    done = subprocess.run([*command, made], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "2 204", done.stderr
    assert is_active(client, services, made)


def test_an_upload_survives_a_restart_behind_the_proxy(
    client: Client, services: tuple[Service, Service], authority: proxies.Authority
) -> None:
    direct = Client(services[0].url)
    made = created(direct, SIZE).replace(direct.url, client.url)
    path = made.removeprefix(client.url)
    with stalled(client, authority, path, {**BYTES, "Upload-Offset": "0"}, SIZE, CONTENT[: 2 * MIB + 7]) as connection:
        deadline = time.monotonic() + 30
        while client.show(native(client, made))["received"] < MIB:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert services[0].stop() == 0
        told = connection.getresponse()
        assert told.status == 503
        assert b"shutting-down" in told.read()
    assert client.request("HEAD", made, TUS).status_code in {502, 503}  # the proxy's own: nobody is there
    services[0].start()
    deadline = time.monotonic() + 30
    while (answer := client.request("HEAD", made, TUS)).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    offset = int(answer.headers["Upload-Offset"])
    assert offset == 2 * MIB + 7
    assert send(client, made, offset, CONTENT[offset:]).status_code == 204
    assert is_active(client, services, made)


def test_requests_reach_the_instance_of_their_upload(client: Client, services: tuple[Service, Service]) -> None:
    for name, service in zip("ab", services, strict=True):
        direct = Client(service.url)
        for made in (created(direct, 1), direct.created(1)):
            path = made.removeprefix(direct.url)
            assert f"/{name}-" in path
            shown = client.show(native(client, path))
            assert shown["href"].startswith(client.url)
        parts = [created(direct, 5, {"Upload-Concat": "partial"}) for _ in range(2)]
        for each in parts:
            through = each.replace(direct.url, client.url)
            assert send(client, through, 0, b"01234").status_code == 204
        joined = " ".join(each.removeprefix(direct.url) for each in parts)
        answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, "Upload-Concat": f"final;{joined}"})
        assert answer.status_code == 201, answer.text
        assert client.wait(native(client, answer.headers["Location"]), "active", "failed")["state"] == "active"
    instances = {client.created(1).rpartition("/")[2][0] for _ in range(4)}
    assert len(instances) == 1, "a client makes all its parts in one place"


def test_the_proxy_passes_heads_as_large_as_the_limit(client: Client) -> None:
    answer = client.request("GET", client.url + NOBODYS, {"X-Long": "x" * 100_000})
    assert reason(answer) == "unknown-upload"


def test_smuggled_requests_do_not_reach_the_service(client: Client, authority: proxies.Authority) -> None:
    hidden = "GET /v1/uploads HTTP/1.1\r\nHost: x\r\n\r\n"
    host, _, port = client.url.removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=authority.file)
    for fields in (
        "Content-Length: 5\r\nContent-Length: 50\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
    ):
        connection = http.client.HTTPSConnection(host, int(port), timeout=30, context=context)
        connection.connect()
        text = f"PATCH {NOBODYS} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n0\r\n\r\n{hidden}"
        connection.sock.sendall(text.encode())
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.sock.recv(65536):
                got += piece
        connection.close()
        assert got.count(b"HTTP/1.1 ") <= 1, "what was hidden was answered"
        assert b" 200 " not in got.partition(b"\r\n")[0]


def test_the_forwarded_address_can_not_be_forged(client: Client) -> None:
    forged = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "192.0.2.1"}
    answer = requests.get(client.url, headers=forged, timeout=30)
    assert answer.json()["protocols"]["tus"]["href"] == f"{client.url}/v1/tus"


def test_events_pass_the_proxy_without_delay(client: Client, authority: proxies.Authority) -> None:
    made = client.created(SIZE)
    with requests.get(f"{made}/events", stream=True, timeout=60, verify=str(authority.file)) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.iter_lines()

        def received() -> int:
            return int(next(json.loads(line[5:]) for line in lines if line.startswith(b"data:"))["received"])

        assert received() == 0
        for stop in (MIB, 2 * MIB):  # each is told before the next one is sent: nothing waits for a full buffer
            assert client.send(made, CONTENT, stop - MIB, stop).status_code == 204
            while received() < stop:
                pass
        assert client.request("DELETE", made).status_code == 204
