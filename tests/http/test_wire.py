"""What goes over the wire: requests that can be read in two ways, numbers, addresses, limits that are told in time."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator, Mapping

import pytest

from tests.support.service import Service
from tests.support.tus_wire import BYTES, TUS, created, offset, send
from tests.support.wire import Client, reason

MIB = 1024 * 1024
LARGEST = 100 * MIB
PROXY = "127.0.0.2"  # the only address whose X-Forwarded-* are believed
APPEND = {"Content-Type": "application/partial-upload", "Upload-Complete": "?0"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    options = {
        "auth_strategy": "noauth",
        "image_service": "directory",
        "image_directory": directory / "images",
        "max_upload_size": LARGEST,
        "max_chunk_size": MIB,
        "trusted_proxies": PROXY,
    }
    with Service(directory, {"DEFAULT": options}) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service.url)


# What two parsers could read differently

CHUNK = "PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Range: bytes 0-9/10\r\n"
HIDDEN = "GET /v1/uploads HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "Transfer-Encoding: chunked\r\nContent-Length: 10\r\n\r\n0\r\n\r\n" + HIDDEN,
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
        "Content-Length: 10\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
        "Content-Length: 10\r\nContent-Length: 10\r\n\r\n0123456789",
        "Content-Length: 10, 10\r\n\r\n0123456789",
        "Content-Length: +10\r\n\r\n0123456789",
        "Content-Length: 0x0a\r\n\r\n0123456789",
        "Content-Length : 10\r\n\r\n0123456789",
        "Content-Length: 10\nX-Any: y\r\n\r\n0123456789",
        "Content-Length: 10\n\n0123456789",
        "Content-Length: 10\rX-Any: y\r\n\r\n0123456789",
        "X-Any: a\r\n b\r\nContent-Length: 10\r\n\r\n0123456789",
        "X-Any: a\0b\r\nContent-Length: 10\r\n\r\n0123456789",
        "Transfer-Encoding: chunked\r\n\r\na\n0123456789\n0\n\n" + HIDDEN,
        "Transfer-Encoding: chunked\r\n\r\n0xa\r\n0123456789\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\na;x=\n\r\n0123456789\r\n0\r\n\r\n",
    ],
)
def test_ambiguous_requests_are_refused_and_closed(service: Service, client: Client, rest: str) -> None:
    url = client.created(10)
    text = CHUNK.format(path=url.removeprefix(client.url)) + rest
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(text.encode())
        answer = b""
        while piece := connection.recv(65536):  # to its end, which the service makes: we close nothing
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1, "what was hidden in the body was answered"
    assert client.show(url)["received"] == 0


@pytest.mark.parametrize("protocol", ["native", "tus", "rufh"])
@pytest.mark.parametrize(
    "codings", ["Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"]
)
def test_an_unsupported_transfer_coding_is_refused(
    service: Service, client: Client, protocol: str, codings: str
) -> None:
    url = client.created(10)
    path = url.removeprefix(client.url)
    text = CHUNK.format(path=path) + codings
    if protocol != "native":
        text = f"PATCH {path.replace('uploads', protocol)} HTTP/1.1\r\nHost: x\r\nUpload-Offset: 0\r\n{codings}"
        headers = BYTES if protocol == "tus" else APPEND
        text += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    status, _, _ = answered(service, text + "\r\na\r\n0123456789\r\n0\r\n\r\n")
    assert status == (415 if codings.count("Transfer") == 1 else 400)
    assert client.show(url)["received"] == 0


def answered(service: Service, text: str, source: str = "127.0.0.1") -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of the answer to exactly this, from this address."""
    with socket.create_connection(("127.0.0.1", service.port), 30, (source, 0)) as connection:
        connection.sendall(text.encode())
        answer = http.client.HTTPResponse(connection, method=text.partition(" ")[0])
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()


# Numbers

ODD = ["NaN", "+1", "-0", "-1", "01", "1_0", "1.0", "1e1", "0x1", "٣", "１", "", "9007199254740992", "9" * 17]


@pytest.mark.parametrize("number", ODD)
def test_a_number_has_one_spelling_in_each_protocol(client: Client, number: str) -> None:
    tus, native = created(client, 10), client.created(10)
    for place in ("first", "last", "total"):
        text = "bytes {first}-{last}/{total}".format(**{"first": "0", "last": "9", "total": "10", place: number})
        assert refused(client, "PATCH", native, {"Content-Range": text.encode()})
    assert refused(client, "PATCH", tus, {**BYTES, "Upload-Offset": number.encode()})
    assert refused(client, "POST", f"{client.url}/v1/tus", {**TUS, "Upload-Length": number.encode()})
    assert refused(client, "GET", f"{client.url}/v1/uploads", {}, params={"limit": number})
    document = f'{{"size": {number}, "image": {{"disk_format": "raw", "container_format": "bare"}}}}'
    assert refused(client, "POST", f"{client.url}/v1/uploads", JSON, data=document.encode())
    assert (offset(client, tus), client.show(native)["received"]) == (0, 0)


def refused(client: Client, method: str, url: str, headers: Mapping[str, str | bytes], **more: object) -> bool:
    body = more or {"data": b"0123456789"[: 10 if method == "PATCH" else 0]}
    answer = client.request(method, url, headers, **body)  # type: ignore[arg-type]
    return answer.status_code == 400 and reason(answer) == "malformed-request"


# Ids and addresses

PATHS = ["..%2f..%2fetc%2fpasswd", "%2e%2e", "%00", "a-{zeros}%00", "a-{zeros}%5c..", "A-{zeros}", "a-{zeros}0", "%ff",
         "a-{zeros}%0a", "a-{zeros}.upload", "a-%D9%A3{zeros}"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["HEAD", "GET", "PATCH", "DELETE"])
def test_an_address_without_an_id_is_404_in_each_protocol(client: Client, method: str, path: str) -> None:
    name = path.format(zeros="0" * 32)
    headers = {**BYTES, "Upload-Offset": "0", "Content-Range": "bytes 0-0/1"}
    data = b"x" if method == "PATCH" else None
    for mount, more in (("tus", {}), ("uploads", {"Content-Type": "application/octet-stream"}), ("rufh", APPEND)):
        answer = client.request(method, f"{client.url}/v1/{mount}/{name}", {**headers, **more}, data=data)
        assert answer.status_code == 404
        assert "Upload-Offset" not in answer.headers
        assert method == "HEAD" or reason(answer) in {"unknown-upload", "not-found"}


def test_an_id_has_128_random_bits(client: Client) -> None:
    ids = [client.created(1).rpartition("/")[2] for _ in range(24)]
    digits = [re.fullmatch(r"a-([0-9a-f]{32})", each)[1] for each in ids]  # type: ignore[index]
    assert len(set(digits)) == len(ids)
    # That a digit is the same in all of them happens once in 16 ** 23 times: none is a constant, a time, a version.
    assert all(len(set(column)) > 1 for column in zip(*digits, strict=True))


@pytest.mark.parametrize(("source", "scheme"), [(PROXY, "https"), ("127.0.0.1", "http")])
@pytest.mark.parametrize("protocol", ["native", "tus"])
def test_a_location_has_the_scheme_of_a_trusted_proxy_only(
    service: Service, client: Client, protocol: str, source: str, scheme: str
) -> None:
    forwarded = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: evil.example\r\n"
    common = f"HTTP/1.1\r\nHost: uploads.example\r\n{forwarded}"
    text = f"POST /v1/tus {common}Tus-Resumable: 1.0.0\r\nUpload-Length: 1\r\n\r\n"
    if protocol == "native":
        body = '{"size": 1, "image": {"disk_format": "raw", "container_format": "bare"}}'
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        text = f"POST /v1/uploads {common}{kind}\r\n{body}"
    status, headers, _ = answered(service, text, source)
    mount = {"native": "uploads", "tus": "tus"}[protocol]
    assert status == 201
    assert re.fullmatch(rf"{scheme}://uploads\.example/v1/{mount}/a-[0-9a-f]{{32}}", headers["location"])
    upload = client.show(f"{client.url}/v1/uploads/{headers['location'].rpartition('/')[2]}")
    assert upload["href"].startswith(client.url)


# Limits that are told before a body is sent


@pytest.mark.parametrize("expects", ["", "Expect: 100-continue\r\n"])
@pytest.mark.parametrize(
    ("head", "expected", "facts"),
    [
        ("/v1/uploads/{id} HTTP/1.1\r\nContent-Range: bytes 0-4/10\r\n", "body-too-long", {}),
        (f"/v1/uploads/{{id}} HTTP/1.1\r\nContent-Range: bytes 0-{MIB}/{LARGEST}\r\n", "chunk-too-large",
         {"limit": MIB}),
        ("/v1/tus/{id} HTTP/1.1\r\nUpload-Offset: 0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in
         BYTES.items()), "body-too-long", {"offset": 0, "size": 10}),
    ],
)  # fmt: skip
def test_a_body_that_is_too_long_gets_no_100_continue(
    service: Service, client: Client, head: str, expected: str, facts: dict[str, int], expects: str
) -> None:
    head = head.format(id=client.created(10).rpartition("/")[2])
    text = f"PATCH {head}Host: x\r\n{expects}Content-Length: {2 * MIB}\r\n\r\n"
    status, headers, body = answered(service, text)  # 100 would be read as an answer that is not the last one
    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert f":{expected}".encode() in body
    for name, value in facts.items():
        assert f'"{name}":{value}'.encode() in body


def test_a_good_head_gets_100_continue(service: Service, client: Client) -> None:
    path = client.created(10).removeprefix(client.url)
    with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
        head = CHUNK.format(path=path) + "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"0123456789")
        assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")


def test_an_upload_that_is_too_large_names_the_limit(client: Client) -> None:
    options = client.request("OPTIONS", f"{client.url}/v1/tus")
    assert options.headers["Tus-Max-Size"] == str(LARGEST)
    headers = {**TUS, "Upload-Complete": "?0", "Upload-Length": str(LARGEST + 1)}
    others = [client.request("POST", f"{client.url}/v1/{mount}", headers) for mount in ("tus", "rufh")]
    for answer in (client.create(LARGEST + 1), *others):
        assert (answer.status_code, reason(answer), answer.json()["limit"]) == (413, "upload-too-large", LARGEST)
    assert client.create(LARGEST).status_code == 201


def test_a_body_of_unknown_length_ends_at_the_uploads_end(client: Client) -> None:
    url = created(client, 1000)
    answer = send(client, url, 0, iter([bytes(1000), b"more"]))
    assert (answer.status_code, reason(answer)) == (413, "body-too-long")
    assert client.show(f"{client.url}/v1/uploads/{url.rpartition('/')[2]}")["ranges"] == [[0, 999]]


def test_a_body_of_unknown_length_ends_at_the_largest_chunk(client: Client) -> None:
    answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, "Upload-Defer-Length": "1"})
    url = answer.headers["Location"]
    answer = send(client, url, 0, iter([bytes(MIB), b"more"]))
    assert (answer.status_code, reason(answer)) == (413, "body-too-long")
    assert offset(client, url) == MIB
    assert send(client, url, MIB, iter([b"more"])).status_code == 204


@pytest.mark.parametrize(
    ("method", "mount", "headers"),
    [
        ("POST", "uploads", {}),
        ("PATCH", "uploads", {"Content-Range": "bytes 0-9/10"}),
        ("POST", "tus", {**TUS, "Upload-Length": "10"}),
        ("PATCH", "tus", {**TUS, "Upload-Offset": "0"}),
        ("POST", "rufh", {"Upload-Complete": "?1"}),
        ("PATCH", "rufh", {"Upload-Complete": "?1", "Upload-Offset": "0"}),
    ],
)
def test_a_form_is_refused_with_the_right_media_type(
    client: Client, method: str, mount: str, headers: dict[str, str]
) -> None:
    url = client.created(10).replace("uploads", mount)
    if method == "POST":
        url = f"{client.url}/v1/{mount}"
    answer = client.request(method, url, headers, files={"file": ("disk.raw", b"0123456789")})
    assert (answer.status_code, reason(answer)) == (415, "unsupported-media-type")
    wanted = {"uploads": "application/octet-stream", "tus": BYTES["Content-Type"], "rufh": APPEND["Content-Type"]}
    assert method == "POST" or wanted[mount] in answer.headers["Accept-Patch"].split(", ")
