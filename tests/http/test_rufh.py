"""The IETF draft over HTTP: its demands, and uploads that change the protocol."""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import re
import socket
import time
from collections.abc import Iterator

import http_sf
import pytest
import requests

from tests.support.images import looks_like_qcow2
from tests.support.service import Service, development
from tests.support.wire import Client, reason

MIB = 1024 * 1024
CONTENT = random.Random(12).randbytes(3 * MIB + 5)
SIZE = len(CONTENT)
LARGEST_CHUNK = 2 * MIB
IANA = "https://iana.org/assignments/http-problem-types#"
LENGTH = {"Upload-Length": str(SIZE)}
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"max_upload_size": 100 * MIB, "max_chunk_size": LARGEST_CHUNK}
    with development(tmp_path_factory.mktemp("service"), idle_timeout=2, **limits) as running:
        yield running


@pytest.fixture
def client(shared: Service) -> Client:
    return Client(shared.url)


def create(
    client: Client, complete: str, headers: dict[str, str] | None = None, body: object = None, query: str = ""
) -> requests.Response:
    return client.request(
        "POST", f"{client.url}/v1/rufh{query}", {"Upload-Complete": complete, **(headers or {})}, data=body
    )


def created(client: Client, headers: dict[str, str] | None = None, body: object = None, query: str = "") -> str:
    """The URL of a new upload that is not complete."""
    answer = create(client, "?0", headers, body, query)
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (201, "?0"), answer.text
    assert re.fullmatch(rf"{client.url}/v1/rufh/a-[0-9a-f]{{32}}", answer.headers["Location"])
    return answer.headers["Location"]


def send(
    client: Client, url: str, offset: int, complete: str, body: object, headers: dict[str, str] | None = None
) -> requests.Response:
    said = {"Upload-Offset": str(offset), "Upload-Complete": complete, "Content-Type": "application/partial-upload"}
    return client.request("PATCH", url, {**said, **(headers or {})}, data=body)


def where(client: Client, url: str) -> tuple[str, int]:
    """Whether the upload is complete, and its offset."""
    answer = client.request("HEAD", url)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (204, "no-store")
    return answer.headers["Upload-Complete"], int(answer.headers["Upload-Offset"])


def limits(answer: requests.Response) -> dict[str, int]:
    members = http_sf.parse(answer.headers["Upload-Limit"].encode(), tltype="dictionary")
    assert isinstance(members, dict)
    return {name: int(str(member[0])) for name, member in members.items() if isinstance(member, tuple)}


def in_protocol(client: Client, url: str, protocol: str) -> str:
    """The same upload in another protocol."""
    return f"{client.url}/v1/{protocol}/{url.rpartition('/')[2]}"


def assert_active(shared: Service, client: Client, url: str, content: bytes = CONTENT) -> None:
    upload = client.wait(in_protocol(client, url, "uploads"), "active")
    assert (shared.directory / "images" / upload["image"]["id"]).read_bytes() == content


def alive(client: Client) -> int:
    listed = client.request("GET", f"{client.url}/v1/uploads").json()["uploads"]
    return sum(each["state"] != "cancelled" for each in listed)


def digest(name: str, content: bytes) -> str:
    value = hashlib.new(name.replace("-", "", 1), content).digest()
    return f"{name}=:{base64.b64encode(value).decode()}:"


# Creation


def test_a_whole_image_in_one_request(shared: Service, client: Client) -> None:
    answer = create(client, "?1", body=CONTENT)
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (201, "?1")
    assert_active(shared, client, answer.headers["Location"])


def test_a_whole_image_of_unknown_length(shared: Service, client: Client) -> None:
    answer = create(client, "?1", body=iter([CONTENT[:1000], CONTENT[1000:MIB]]))
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (201, "?1")
    assert_active(shared, client, answer.headers["Location"], CONTENT[:MIB])


def test_an_empty_creation_then_appends_become_the_image(shared: Service, client: Client) -> None:
    url = created(client, LENGTH)
    assert where(client, url) == ("?0", 0)
    for start in range(0, SIZE, MIB):
        stop = min(start + MIB, SIZE)
        answer = send(client, url, start, "?1" if stop == SIZE else "?0", CONTENT[start:stop])
        assert answer.headers["Upload-Offset"] == str(stop)
        assert (answer.status_code, answer.headers["Upload-Complete"]) == ((201, "?1") if stop == SIZE else (204, "?0"))
    assert answer.headers["Location"] == url, "as if all had come with the creation"
    assert where(client, url) == ("?1", SIZE)
    assert_active(shared, client, url)


def test_the_first_bytes_may_come_with_the_creation(client: Client) -> None:
    assert where(client, created(client, LENGTH, CONTENT[:MIB])) == ("?0", MIB)


def test_an_image_of_no_bytes(shared: Service, client: Client) -> None:
    answer = create(client, "?1")
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (201, "?1")
    assert_active(shared, client, answer.headers["Location"], b"")


def test_query_and_disposition_describe_the_image(shared: Service, client: Client) -> None:
    headers = {"Content-Disposition": "inline; filename*=UTF-8''%C3%84pfel.qcow2"}
    answer = create(client, "?1", headers, looks_like_qcow2(b""), "?min_disk=3&property.os_distro=debian")
    upload = client.wait(in_protocol(client, answer.headers["Location"], "uploads"), "active")
    described = (shared.directory / "images" / f"{upload['image']['id']}.json").read_text()
    assert upload["image"]["name"] == "Äpfel.qcow2"
    assert '"disk_format": "qcow2"' in described
    assert '"min_disk": 3' in described
    assert '"os_distro": "debian"' in described


@pytest.mark.parametrize(
    ("headers", "query", "status", "expected"),
    [
        ({"Upload-Complete": "yes"}, "", 400, "malformed-request"),
        ({}, "?disk_fromat=raw", 400, "malformed-request"),
        ({"Content-Disposition": "inline; filename"}, "", 400, "malformed-request"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "", 415, "unsupported-media-type"),
        ({"Content-Encoding": "gzip"}, "", 415, "unsupported-content-encoding"),
        ({"Upload-Length": str(101 * MIB)}, "", 413, "upload-too-large"),
        ({"Content-Digest": digest("sha-256", b"else")}, "", 422, "chunk-digest-mismatch"),
    ],
)
def test_a_bad_creation_is_refused_and_leaves_no_upload_behind(
    client: Client, headers: dict[str, str], query: str, status: int, expected: str
) -> None:
    before = alive(client)
    answer = create(client, "?0", headers, CONTENT[:10], query)
    assert (answer.status_code, reason(answer), answer.headers["Upload-Complete"]) == (status, expected, "?0")
    assert alive(client) == before


def test_a_creation_that_is_cut_leaves_no_upload_behind(shared: Service, client: Client) -> None:
    before = alive(client)
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.putrequest("POST", "/v1/rufh")
    for name, value in {"Upload-Complete": "?1", "Content-Length": str(SIZE)}.items():
        connection.putheader(name, value)
    connection.endheaders(CONTENT[:MIB])
    deadline = time.monotonic() + 10
    while alive(client) == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    connection.close()
    while alive(client) > before:
        assert time.monotonic() < deadline, "nobody knows its address, so nobody could go on with it"
        time.sleep(0.02)


def test_no_interim_response_but_100_is_sent(shared: Service) -> None:
    request = (
        "POST /v1/rufh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
        "Upload-Draft-Interop-Version: 8\r\nUpload-Complete: ?1\r\nContent-Length: 3\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as connection:
        connection.sendall(request.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"abc")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 201 ")


# Limits


def test_options_announce_the_limits(client: Client) -> None:
    answer = client.request("OPTIONS", f"{client.url}/v1/rufh")
    assert (answer.status_code, answer.headers["Accept-Patch"]) == (204, "application/partial-upload")
    assert limits(answer) == {"max-size": 100 * MIB, "min-size": 0, "max-age": 3600}


def test_limits_are_shown_and_the_age_counts_down(client: Client) -> None:
    answer = create(client, "?0", LENGTH)
    told = limits(answer)
    assert told.pop("max-age") <= 7 * 24 * 3600
    assert told == {"max-size": 100 * MIB, "min-size": 0}
    assert limits(client.request("HEAD", answer.headers["Location"])).keys() == limits(answer).keys()


def test_a_size_that_is_too_large_is_refused_with_the_limits(client: Client) -> None:
    answer = create(client, "?0", {"Upload-Length": str(101 * MIB)})
    assert (answer.status_code, limits(answer)) == (413, {"max-size": 100 * MIB, "min-size": 0})


def test_a_body_of_unknown_length_and_size_is_limited(client: Client) -> None:
    answer = create(client, "?0")
    url = answer.headers["Location"]
    assert limits(answer)["max-append-size"] == LARGEST_CHUNK
    answer = send(client, url, 0, "?0", iter([CONTENT]))
    assert (answer.status_code, limits(answer)["max-append-size"]) == (413, LARGEST_CHUNK)
    assert where(client, url) == ("?0", LARGEST_CHUNK), "what fits is kept"
    assert send(client, url, LARGEST_CHUNK, "?1", iter([CONTENT[LARGEST_CHUNK:]])).status_code == 201


# Offset retrieval


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_head_request_shows_offset_length_and_limits(client: Client, method: str) -> None:
    url = created(client, LENGTH, CONTENT[:1000])
    answer = client.request(method, url)
    assert (answer.status_code, answer.content) == (204, b"")
    told = {name: answer.headers[name] for name in ("Upload-Offset", "Upload-Complete", "Upload-Length")}
    assert told == {"Upload-Offset": "1000", "Upload-Complete": "?0", "Upload-Length": str(SIZE)}
    assert limits(answer)["max-size"] == 100 * MIB
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_unknown_length_is_not_shown(client: Client) -> None:
    url = created(client)
    assert "Upload-Length" not in client.request("HEAD", url).headers
    assert send(client, url, 0, "?0", b"x", {"Upload-Length": "5"}).status_code == 204
    assert client.request("HEAD", url).headers["Upload-Length"] == "5"


def test_an_unknown_upload_is_not_found(client: Client) -> None:
    assert client.request("HEAD", f"{client.url}/v1/rufh/a-{'0' * 32}").status_code == 404


def test_an_upload_whose_bytes_are_lost_is_refused_from_then_on(shared: Service, client: Client) -> None:
    url = created(client, LENGTH, CONTENT[:1000])
    for path in (shared.directory / "scratch").rglob(f"*{url.rpartition('/')[2]}*"):
        path.unlink()
    assert reason(send(client, url, 1000, "?0", CONTENT[1000:2000])) == "upload-lost"
    assert client.request("HEAD", url).status_code == 410
    assert send(client, url, 1000, "?0", CONTENT[1000:2000]).status_code == 410


# Append


@pytest.mark.parametrize("wrong", [0, 999, 1001, SIZE])
@pytest.mark.parametrize("complete", ["?0", "?1"])
@pytest.mark.parametrize("length", [{}, LENGTH], ids=["length unknown", "length known"])
def test_a_wrong_offset_is_a_conflict_with_the_right_one(
    client: Client, wrong: int, complete: str, length: dict[str, str]
) -> None:
    url = created(client, length, CONTENT[:1000])
    answer = send(client, url, wrong, complete, CONTENT[wrong : wrong + 10])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (409, "1000")
    assert answer.headers["Upload-Complete"] == "?0"
    problem = answer.json()
    assert problem["type"] == IANA + "mismatching-upload-offset"
    assert (problem["expected-offset"], problem["provided-offset"]) == (1000, wrong)
    assert where(client, url) == ("?0", 1000)


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"Content-Type": "application/octet-stream"}, 415, "unsupported-media-type"),
        ({"Upload-Offset": "zero"}, 400, "malformed-request"),
        ({"Upload-Offset": "-1"}, 400, "malformed-request"),
        ({"Upload-Complete": "1"}, 400, "malformed-request"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported-content-encoding"),
        ({"Content-Digest": digest("sha-512", b"else")}, 422, "chunk-digest-mismatch"),
        ({"Content-Digest": "sha-512=:AAAA:"}, 400, "malformed-request"),
        ({"Repr-Digest": "crc32c=:AAAAAA==:"}, 400, "unsupported-digest"),
    ],
)
def test_a_bad_append_is_refused_and_nothing_is_lost(
    client: Client, headers: dict[str, str], status: int, expected: str
) -> None:
    url = created(client, LENGTH, CONTENT[:1000])
    answer = send(client, url, 1000, "?0", CONTENT[1000:1010], headers)
    assert (answer.status_code, reason(answer), answer.headers["Upload-Complete"]) == (status, expected, "?0")
    assert answer.headers.get("Accept-Patch") == ("application/partial-upload" if "Content-Type" in headers else None)
    assert where(client, url) == ("?0", 1000)


def test_a_cut_append_keeps_its_bytes_and_is_incomplete(client: Client) -> None:
    url = created(client, LENGTH)
    said = {"Upload-Offset": "0", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
    with Client(client.url, said).stalled(url, CONTENT, 0, SIZE, sent=MIB):
        time.sleep(0.3)
    assert where(client, url) == ("?0", MIB)


def test_a_stalled_append_is_ended_and_keeps_its_bytes(client: Client) -> None:
    url = created(client, LENGTH)
    said = {"Upload-Offset": "0", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
    with Client(client.url, said).stalled(url, CONTENT, 0, SIZE, sent=MIB) as connection:
        assert connection.getresponse().status == 408
    assert where(client, url) == ("?0", MIB)


# Completeness


def test_all_bytes_do_not_make_an_upload_complete(shared: Service, client: Client) -> None:
    url = created(client, LENGTH, CONTENT)
    assert where(client, url) == ("?0", SIZE)
    assert client.request("HEAD", url).headers["Upload-State"] == "receiving"
    answer = send(client, url, SIZE, "?1", b"")
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (201, "?1")
    assert_active(shared, client, url)


def test_an_empty_last_append_tells_the_length(shared: Service, client: Client) -> None:
    url = created(client, body=CONTENT[:1000])
    assert send(client, url, 1000, "?1", b"").headers["Upload-Complete"] == "?1"
    assert_active(shared, client, url, CONTENT[:1000])


@pytest.mark.parametrize("body", [CONTENT[1000:], iter([CONTENT[1000:]])], ids=["with a length", "without"])
def test_the_last_append_tells_the_length(shared: Service, client: Client, body: object) -> None:
    url = created(client, body=CONTENT[:1000])
    last = CONTENT[1000:MIB] if isinstance(body, bytes) else iter([CONTENT[1000:MIB]])
    assert send(client, url, 1000, "?1", last).headers["Upload-Complete"] == "?1"
    assert_active(shared, client, url, CONTENT[:MIB])


def test_a_body_that_is_too_long_does_not_complete_the_upload(client: Client) -> None:
    url = created(client, {"Upload-Length": "1000"})
    answer = send(client, url, 0, "?1", iter([CONTENT[:2000]]))
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (413, "?0")
    assert where(client, url) == ("?0", 1000)


def test_the_last_append_again_is_answered_as_before(shared: Service, client: Client) -> None:
    url = created(client, LENGTH)
    first = send(client, url, 0, "?1", CONTENT)
    assert_active(shared, client, url)
    again = send(client, url, SIZE, "?1", b"")
    assert (again.status_code, again.headers["Location"]) == (first.status_code, first.headers["Location"])
    assert again.headers["Upload-Complete"] == "?1"


def test_nothing_can_be_appended_to_an_upload_that_is_complete(shared: Service, client: Client) -> None:
    answer = create(client, "?1", body=CONTENT)
    url = answer.headers["Location"]
    assert_active(shared, client, url)
    for body in (b"x", iter([b"x"])):
        refused = send(client, url, SIZE, "?0", body)
        assert (refused.status_code // 100, refused.headers["Upload-Complete"]) == (4, "?0")
    assert send(client, url, 0, "?1", CONTENT).status_code == 409


# Length


@pytest.mark.parametrize(
    ("complete", "length", "body"),
    [("?1", SIZE - 1, CONTENT), ("?1", SIZE + 1, CONTENT), ("?0", 9, CONTENT[:10])],
)
def test_a_creation_with_two_lengths_is_inconsistent(client: Client, complete: str, length: int, body: bytes) -> None:
    answer = create(client, complete, {"Upload-Length": str(length)}, body)
    assert (answer.status_code, answer.json()["type"]) == (400, IANA + "inconsistent-upload-length")
    assert answer.headers["Upload-Complete"] == "?0"


@pytest.mark.parametrize(
    ("complete", "body", "headers"),
    [
        pytest.param("?0", b"x", {"Upload-Length": str(SIZE + 1)}, id="another length"),
        pytest.param("?1", b"x", {}, id="too short to be the last one"),
        pytest.param("?1", iter([b"x"]), {}, id="too short, and that is seen at its end"),
        pytest.param("?1", CONTENT, {}, id="too long to be the last one"),
        pytest.param("?0", CONTENT, {}, id="too long"),
    ],
)
def test_an_append_with_another_length_is_inconsistent(
    client: Client, complete: str, body: object, headers: dict[str, str]
) -> None:
    url = created(client, LENGTH, CONTENT[:1000])
    answer = send(client, url, 1000, complete, body, headers)
    assert (answer.status_code, answer.json()["type"]) == (400, IANA + "inconsistent-upload-length")
    assert answer.headers["Upload-Complete"] == "?0"
    assert where(client, url)[0] == "?0"


def test_a_length_below_the_offset_is_inconsistent(client: Client) -> None:
    url = created(client, body=CONTENT[:1000])
    answer = send(client, url, 1000, "?0", b"x", {"Upload-Length": "500"})
    assert answer.json()["type"] == IANA + "inconsistent-upload-length"


# Cancellation and concurrency


def test_an_upload_can_be_cancelled(client: Client) -> None:
    url = created(client, LENGTH, CONTENT[:1000])
    assert client.request("DELETE", url).status_code == 204
    assert client.request("HEAD", url).status_code == 410
    assert send(client, url, 1000, "?0", b"x").status_code == 410


def test_a_cancellation_ends_an_append_that_is_running(client: Client) -> None:
    url = created(client, LENGTH)
    said = {"Upload-Offset": "0", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
    with Client(client.url, said).stalled(url, CONTENT, 0, SIZE, sent=MIB) as connection:
        time.sleep(0.3)
        assert client.request("DELETE", url).status_code == 204
        assert connection.getresponse().status == 410


@pytest.mark.parametrize("asks", [True, False], ids=["who asks", "who appends"])
def test_the_newer_request_takes_over_and_loses_nothing(shared: Service, client: Client, asks: bool) -> None:
    url = created(client, LENGTH)
    said = {"Upload-Offset": "0", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
    with Client(client.url, said).stalled(url, CONTENT, 0, SIZE, sent=MIB) as connection:
        time.sleep(0.3)
        if asks:
            assert where(client, url) == ("?0", MIB)
        else:
            assert send(client, url, 0, "?1", CONTENT).headers["Upload-Offset"] == str(MIB)
        assert connection.getresponse().status == 409, "408 would mean that its idle time-out was waited for"
    assert send(client, url, MIB, "?1", CONTENT[MIB:]).status_code == 201
    assert_active(shared, client, url)


# Digests


def test_an_image_digest_is_verified_before_active(shared: Service, client: Client) -> None:
    url = created(client, {**LENGTH, "Repr-Digest": digest("sha-256", CONTENT)})
    assert send(client, url, 0, "?1", CONTENT, {"Content-Digest": digest("sha-512", CONTENT)}).status_code == 201
    assert_active(shared, client, url)


@pytest.mark.parametrize("when", ["creation", "append"])
def test_an_image_with_a_wrong_digest_fails(client: Client, when: str) -> None:
    declared = {"Repr-Digest": digest("sha-256", b"else")}
    url = created(client, {**LENGTH, **(declared if when == "creation" else {})})
    assert send(client, url, 0, "?1", CONTENT, declared).status_code == 201
    upload = client.wait(in_protocol(client, url, "uploads"), "failed")
    assert upload["handoff"]["last_error"]["reason"] == "digest-mismatch"
    assert client.request("HEAD", url).headers["Upload-State"] == "failed"


def test_image_digests_are_shown_once_they_are_known(client: Client) -> None:
    answer = create(client, "?1", {"Want-Repr-Digest": "sha-512=10"}, CONTENT)
    client.wait(in_protocol(client, answer.headers["Location"], "uploads"), "active")
    told = client.request("HEAD", answer.headers["Location"]).headers["Repr-Digest"]
    assert told == f"{digest('md5', CONTENT)}, {digest('sha-512', CONTENT)}"


# Older interop versions


def test_version_3_says_upload_incomplete(shared: Service, client: Client) -> None:
    version = {"Upload-Draft-Interop-Version": "3"}
    plain = client.request("POST", f"{client.url}/v1/rufh", {**version, "Upload-Incomplete": "?0"}, data=CONTENT)
    assert (plain.status_code, plain.headers["Upload-Incomplete"]) == (201, "?0")
    assert_active(shared, client, plain.headers["Location"])
    begun = client.request("POST", f"{client.url}/v1/rufh", {**version, "Upload-Incomplete": "?1"})
    assert (begun.status_code, begun.headers["Upload-Incomplete"]) == (201, "?1")
    url = begun.headers["Location"]
    asked = client.request("HEAD", url, version)
    assert (asked.status_code, asked.headers["Upload-Incomplete"], asked.headers["Upload-Offset"]) == (204, "?1", "0")
    done = client.request("PATCH", url, {**version, "Upload-Offset": "0"}, data=CONTENT)
    assert (done.headers["Upload-Incomplete"], done.headers["Upload-Offset"]) == ("?0", str(SIZE))
    assert_active(shared, client, url)


@pytest.mark.parametrize("version", ["4", "5", "6", "7", "8"])
def test_later_versions_say_upload_complete(shared: Service, client: Client, version: str) -> None:
    said = {"Upload-Draft-Interop-Version": version}
    url = created(client, {**said, **LENGTH})
    untyped = {**said, "Content-Type": "application/octet-stream"}
    answer = send(client, url, 0, "?1", CONTENT, untyped if version < "6" else said)
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (201, "?1")
    assert_active(shared, client, url)


# Other protocols


def test_begun_in_rufh_finished_in_native(shared: Service, client: Client) -> None:
    url = created(client, LENGTH, CONTENT[:1000])
    assert client.send(in_protocol(client, url, "uploads"), CONTENT, 2 * MIB, SIZE).status_code == 204
    assert where(client, url) == ("?0", 1000)
    assert client.send(in_protocol(client, url, "uploads"), CONTENT, 1000, 2 * MIB).status_code == 204
    assert where(client, url) == ("?1", SIZE), "where the size alone tells, all bytes are all"
    assert_active(shared, client, url)


def test_begun_in_native_finished_in_rufh(shared: Service, client: Client) -> None:
    native = client.created(SIZE)
    url = in_protocol(client, native, "rufh")
    assert client.send(native, CONTENT, 0, 1000).status_code == 204
    assert where(client, url) == ("?0", 1000)
    assert send(client, url, 1000, "?1", CONTENT[1000:]).status_code == 201
    assert_active(shared, client, url)


def test_begun_in_rufh_finished_in_tus(shared: Service, client: Client) -> None:
    url = created(client, body=CONTENT[:1000])
    tus, bytes_ = in_protocol(client, url, "tus"), {**TUS, "Content-Type": "application/offset+octet-stream"}
    told = {**bytes_, **LENGTH, "Upload-Offset": "1000"}
    assert client.request("PATCH", tus, told, data=CONTENT[1000:]).status_code == 204
    assert where(client, url) == ("?1", SIZE)
    assert_active(shared, client, url)


def test_begun_in_tus_finished_in_rufh(shared: Service, client: Client) -> None:
    answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, "Upload-Defer-Length": "1"})
    url = in_protocol(client, answer.headers["Location"], "rufh")
    assert send(client, url, 0, "?0", CONTENT[:1000]).status_code == 204
    assert send(client, url, 1000, "?1", CONTENT[1000:]).status_code == 201
    assert_active(shared, client, url)


def test_a_tus_head_completes_an_upload_with_all_bytes(shared: Service, client: Client) -> None:
    url = created(client, LENGTH, CONTENT)
    assert where(client, url) == ("?0", SIZE)
    assert client.request("HEAD", in_protocol(client, url, "tus"), TUS).headers["Upload-Offset"] == str(SIZE)
    assert where(client, url) == ("?1", SIZE)
    assert_active(shared, client, url)


def test_the_root_links_to_rufh(client: Client) -> None:
    told = client.request("GET", client.url).json()["protocols"]["rufh"]
    assert told == {"href": f"{client.url}/v1/rufh", "interop_versions": [8, 7, 6, 5, 4, 3]}
