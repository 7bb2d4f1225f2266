"""The native protocol over HTTP, against the service as a process, without OpenStack."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.service import Service, development
from tests.support.wire import Client, md5, raw_request, reason

MIB = 1024 * 1024
CONTENT = random.Random(1).randbytes(5 * MIB + 12345)
SIZE = len(CONTENT)
UPLOAD_ID = r"a-[0-9a-f]{32}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as it is."""
    options = {"idle_timeout": 2, "max_chunk_size": 8 * MIB, "max_upload_size": 100 * MIB}
    running = development(tmp_path_factory.mktemp("service"), **options)
    running.configure(
        {
            "DEFAULT": {
                "auth_strategy": "noauth",
                "image_service": "directory",
                "image_directory": running.directory / "images",
                **options,
            },
            "cors": {"allowed_origin": "https://horizon.example,http://localhost:8080"},
        }
    )
    with running:
        yield running


@pytest.fixture
def client(shared: Service) -> Client:
    return Client(shared.url)


def image_of(service: Service, upload: dict[str, dict[str, str]]) -> bytes:
    return (service.directory / "images" / upload["image"]["id"]).read_bytes()


# Creating


def test_a_new_upload_has_an_absolute_location(client: Client) -> None:
    answer = client.create(SIZE)
    assert answer.status_code == 201
    assert re.fullmatch(rf"{client.url}/v1/uploads/{UPLOAD_ID}", answer.headers["Location"])
    assert answer.headers["Upload-Offset"] == "0"
    assert answer.headers["Upload-Length"] == str(SIZE)
    assert answer.headers["Upload-State"] == "receiving"
    assert "GMT" in answer.headers["Upload-Expires"]
    assert answer.json()["image"]["name"] == "test"


def test_an_empty_image_is_active_without_a_chunk(shared: Service, client: Client) -> None:
    upload = client.wait(client.created(0), "active")
    assert image_of(shared, upload) == b""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "malformed-request"),
        (b"[]", "malformed-request"),
        (b'{"size": 1}', "malformed-request"),
        (b'{"size": -1, "image_id": "00000000-0000-0000-0000-000000000000"}', "malformed-request"),
        (b'{"size": 1.0, "image_id": "00000000-0000-0000-0000-000000000000"}', "malformed-request"),
        (b'{"size": 1, "size": 2, "image_id": "00000000-0000-0000-0000-000000000000"}', "malformed-request"),
        (b'{"size": 1, "image_id": "00000000-0000-0000-0000-000000000000"}', "image-unknown"),
        (b'{"size": 1, "image_id": "../../../../etc/passwd"}', "malformed-request"),
        (b'{"size": 104857601, "image": {"disk_format": "raw", "container_format": "bare"}}', "upload-too-large"),
        (b'{"size": 1, "image": {"disk_format": "raw", "container_format": "bare", "own": 1}}', "malformed-request"),
        (b'{"size": 1, "image": {"disk_format": "raw", "container_format": "bare", "properties": {"id": "1"}}}',
         "malformed-request"),
        (b'{"size": 1, "image": {"disk_format": "raw", "container_format": "bare"}, "digests": {"crc32": "00"}}',
         "malformed-request"),
        (b'{"size": 1, "image": {"disk_format": "raw", "container_format": "bare"}, "digests": {"md5": "00"}}',
         "malformed-request"),
        (b" " * 70_000, "body-too-long"),
    ],
)  # fmt: skip
def test_a_bad_description_is_refused(client: Client, body: bytes, expected: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.request("POST", f"{client.url}/v1/uploads", headers, data=body)
    assert reason(answer) == expected


def test_a_description_that_is_not_json_is_refused(client: Client) -> None:
    answer = client.request("POST", f"{client.url}/v1/uploads", {"Content-Type": "text/plain"}, data=b"{}")
    assert (answer.status_code, reason(answer)) == (415, "unsupported-media-type")


def test_an_upload_too_large_for_storage_is_refused_at_creation(tmp_path: Path) -> None:
    service = development(tmp_path)
    plain = {"auth_strategy": "noauth", "image_service": "directory", "image_directory": tmp_path / "images"}
    service.configure({"DEFAULT": plain, "scratch": {"reserved_space": 10**15}})
    with service:
        answer = Client(service.url).create(SIZE)
        assert (answer.status_code, reason(answer)) == (507, "no-scratch-space")
        assert int(answer.headers["Retry-After"]) > 0


def test_reserved_space_is_not_given_to_another_upload(client: Client, shared: Service, tmp_path: Path) -> None:
    free = int(subprocess.check_output(["stat", "-f", "-c", "%a %S", str(tmp_path)]).split()[0]) * 4096
    service = development(tmp_path / "service")
    plain = {"auth_strategy": "noauth", "image_service": "directory", "image_directory": tmp_path / "images"}
    service.configure(
        {"DEFAULT": plain, "scratch": {"reserved_space": free // 2}, "limits": {"share_per_project": 100}}
    )
    with service:
        promised = Client(service.url)
        assert promised.create(free // 3).status_code == 201
        assert promised.create(free // 3).status_code == 507


# Chunks


def test_chunks_come_in_any_order_and_several_at_once(shared: Service, client: Client) -> None:
    url = client.created(SIZE)
    ranges = [(start, min(start + 700_001, SIZE)) for start in range(0, SIZE, 700_001)]
    random.Random(2).shuffle(ranges)
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda each: client.send(url, CONTENT, each[0], each[1], md5(CONTENT[slice(*each)])), ranges)
        )
    assert {answer.status_code for answer in answers} == {204}
    assert image_of(shared, client.wait(url, "active")) == CONTENT


def test_the_offset_is_the_prefix_and_the_ranges_show_the_rest(client: Client) -> None:
    url = client.created(SIZE)
    assert client.send(url, CONTENT, 2 * MIB, 3 * MIB).headers["Upload-Offset"] == "0"
    assert client.send(url, CONTENT, 0, MIB).headers["Upload-Offset"] == str(MIB)
    head = client.request("HEAD", url)
    assert head.headers["Upload-Ranges"] == f"bytes=0-{MIB - 1},{2 * MIB}-{3 * MIB - 1}"
    assert head.headers["Cache-Control"] == "no-store"
    shown = client.show(url)
    assert shown["ranges"] == [[0, MIB - 1], [2 * MIB, 3 * MIB - 1]]
    assert (shown["offset"], shown["received"]) == (MIB, 2 * MIB)
    assert client.send(url, CONTENT, MIB, 2 * MIB).headers["Upload-Offset"] == str(3 * MIB)


def test_a_repeated_chunk_changes_nothing(client: Client) -> None:
    url = client.created(SIZE)
    for _ in range(3):
        assert client.send(url, CONTENT, 0, MIB).status_code == 204
    assert client.show(url)["received"] == MIB


def test_a_repeated_chunk_is_accepted_after_the_image_is_active(client: Client) -> None:
    url = client.created(SIZE)
    assert client.send(url, CONTENT, 0, SIZE, md5(CONTENT)).status_code == 204
    client.wait(url, "active")
    again = client.send(url, CONTENT, 0, SIZE, md5(CONTENT))
    assert (again.status_code, again.headers["Upload-State"]) == (204, "active")
    unproven = client.send(url, CONTENT, 0, SIZE)
    assert (unproven.status_code, reason(unproven)) == (409, "upload-sealed")


def test_different_bytes_in_a_durable_range_are_refused(shared: Service, client: Client) -> None:
    url = client.created(SIZE)
    assert client.send(url, CONTENT, MIB, 2 * MIB).status_code == 204
    other = bytes(byte ^ 1 for byte in CONTENT[: 3 * MIB])
    answer = client.send(url, CONTENT, 0, 3 * MIB, body=other)
    assert (answer.status_code, reason(answer)) == (409, "different-bytes")
    assert client.show(url)["received"] == MIB
    assert client.send(url, CONTENT, 0, SIZE).status_code == 204
    assert image_of(shared, client.wait(url, "active")) == CONTENT


def test_a_chunk_may_repeat_durable_bytes(shared: Service, client: Client) -> None:
    url = client.created(SIZE)
    client.send(url, CONTENT, MIB, 2 * MIB)
    client.send(url, CONTENT, 3 * MIB, 4 * MIB)
    assert client.send(url, CONTENT, MIB // 2, SIZE, md5(CONTENT[MIB // 2 :])).status_code == 204
    assert client.send(url, CONTENT, 0, MIB).status_code == 204
    assert image_of(shared, client.wait(url, "active")) == CONTENT


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"Content-Range": f"bytes 0-9/{SIZE + 1}"}, 400, "wrong-total"),
        ({"Content-Range": f"bytes 0-9/{SIZE - 1}"}, 400, "wrong-total"),
        ({"Content-Range": "bytes 0-9/*"}, 400, "malformed-request"),
        ({"Content-Range": f"bytes 9-0/{SIZE}"}, 400, "malformed-request"),
        ({"Content-Range": f"bytes 0-{SIZE}/{SIZE}"}, 400, "malformed-request"),
        ({"Content-Range": f"bytes 00-9/{SIZE}"}, 400, "malformed-request"),
        ({"Content-Range": f"bytes +0-9/{SIZE}"}, 400, "malformed-request"),
        ({"Content-Range": f"bytes 0-1_0/{SIZE}"}, 400, "malformed-request"),
        ({"Content-Range": f"items 0-9/{SIZE}"}, 400, "malformed-request"),
        ({"Content-Range": ""}, 400, "malformed-request"),
        ({"Content-Range": f"bytes 0-8/{SIZE}"}, 413, "body-too-long"),
        ({"Content-Range": f"bytes 0-10/{SIZE}"}, 400, "body-too-short"),
        ({"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, 422, "chunk-digest-mismatch"),
        ({"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAB=="}, 400, "malformed-request"),
        ({"Content-MD5": "AAAA"}, 400, "malformed-request"),
        ({"Content-MD5": "nonsense!"}, 400, "malformed-request"),
        ({"Content-Digest": "md5=:AAAAAAAAAAAAAAAAAAAAAA==:"}, 422, "chunk-digest-mismatch"),
        ({"Content-Digest": "crc32c=:AAAAAA==:"}, 400, "unsupported-digest"),
        ({"Content-Digest": "md5=AAAAAAAAAAAAAAAAAAAAAA=="}, 400, "malformed-request"),
        ({"Content-Digest": ""}, 400, "malformed-request"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported-content-encoding"),
        ({"Content-Type": "image/png"}, 415, "unsupported-media-type"),
    ],
)
def test_a_bad_chunk_is_refused_and_nothing_is_lost(
    client: Client, headers: dict[str, str], status: int, expected: str
) -> None:
    url = client.created(SIZE)
    assert client.send(url, CONTENT, 100, 200).status_code == 204
    answer = client.send(url, CONTENT, 0, 10, {"Content-Type": "application/octet-stream", **headers})
    assert (answer.status_code, reason(answer)) == (status, expected)
    assert [100, 199] in client.show(url)["ranges"]


def test_a_form_is_refused_and_the_right_media_type_named(client: Client) -> None:
    url = client.created(SIZE)
    place = {"Content-Range": f"bytes 0-9/{SIZE}"}
    answer = client.request("PATCH", url, place, files={"file": ("image.raw", CONTENT[:10])})
    assert (answer.status_code, reason(answer)) == (415, "unsupported-media-type")
    assert answer.headers["Accept-Patch"].startswith("application/octet-stream, ")
    assert "file.slice" in answer.json()["detail"]


def test_a_digest_can_be_any_of_those_that_are_announced(client: Client) -> None:
    import base64

    url = client.created(SIZE)
    for name, algorithm in {"md5": "md5", "sha-256": "sha256", "sha-512": "sha512"}.items():
        value = base64.b64encode(hashlib.new(algorithm, CONTENT[:MIB]).digest()).decode()
        assert client.send(url, CONTENT, 0, MIB, {"Content-Digest": f"{name}=:{value}:"}).status_code == 204


def test_a_short_body_without_a_digest_is_kept(client: Client) -> None:
    url = client.created(SIZE)
    assert reason(client.send(url, CONTENT, 0, MIB, body=CONTENT[:1000])) == "body-too-short"
    assert client.show(url)["offset"] == 1000


def test_a_chunk_with_a_digest_is_all_or_nothing(client: Client) -> None:
    url = client.created(SIZE)
    headers = md5(CONTENT[:MIB])
    assert reason(client.send(url, CONTENT, 0, MIB, headers, body=CONTENT[:1000])) == "body-too-short"
    assert client.show(url)["received"] == 0


def test_a_body_without_a_length_is_cut_at_its_range(client: Client) -> None:
    url = client.created(SIZE)
    answer = client.send(url, CONTENT, 0, MIB, body=iter([CONTENT[:MIB], b"more"]))
    assert (answer.status_code, reason(answer)) == (413, "body-too-long")
    assert client.show(url)["ranges"] == [[0, MIB - 1]]


def test_a_chunk_above_the_limit_is_refused_before_its_body(client: Client) -> None:
    url = client.created(50 * MIB)
    headers = {"Content-Range": f"bytes 0-{9 * MIB - 1}/{50 * MIB}"}
    answer = client.request("PATCH", url, headers, data=b"")
    assert (answer.status_code, reason(answer), answer.json()["limit"]) == (413, "chunk-too-large", 8 * MIB)


def test_a_header_that_comes_twice_is_refused(client: Client) -> None:
    path = client.created(SIZE).removeprefix(client.url)
    twice = f"Content-Range: bytes 0-9/{SIZE}\r\n" * 2
    request = f"PATCH {path} HTTP/1.1\r\nHost: x\r\n{twice}Content-Length: 10\r\n\r\n0123456789"
    answer = raw_request(client.url, request.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"malformed-request" in answer


# Interrupted, and several at once


def test_bytes_before_a_cut_are_kept(client: Client) -> None:
    url = client.created(SIZE)
    with client.stalled(url, CONTENT, 0, SIZE, sent=3 * MIB):
        time.sleep(0.5)
    deadline = time.monotonic() + 5
    while client.show(url)["offset"] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    kept = client.show(url)["offset"]
    assert 2 * MIB < kept <= 3 * MIB
    assert client.send(url, CONTENT, kept, SIZE).status_code == 204
    assert client.wait(url, "active")["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()


def test_a_body_that_stalls_is_ended_with_its_bytes_kept(client: Client) -> None:
    url = client.created(SIZE)
    with client.stalled(url, CONTENT, 0, SIZE, sent=MIB) as connection:
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Retry-After")) == (408, "1")
    assert client.show(url)["offset"] == MIB


def test_a_newer_chunk_takes_over_from_a_stalled_one(shared: Service, client: Client) -> None:
    url = client.created(SIZE)
    with client.stalled(url, CONTENT, 0, SIZE, sent=MIB) as connection:
        time.sleep(0.3)
        assert client.send(url, CONTENT, 0, SIZE, md5(CONTENT)).status_code == 204
        answer = connection.getresponse()
        assert answer.status == 409, "408 would mean that its idle time-out was waited for"
        assert b"superseded" in answer.read()
    assert image_of(shared, client.wait(url, "active")) == CONTENT


def test_a_stalled_chunk_delays_no_other_request(client: Client) -> None:
    url = client.created(SIZE)
    with client.stalled(url, CONTENT, 0, MIB, sent=1000) as connection:
        time.sleep(0.2)
        assert client.send(url, CONTENT, MIB, 2 * MIB).status_code == 204
        assert client.show(url)["received"] >= MIB
        connection.send(CONTENT[1000:MIB])
        assert connection.getresponse().status == 204
    assert client.show(url)["offset"] == 2 * MIB


def test_cancelling_ends_a_running_chunk_and_leaves_no_file(shared: Service, client: Client) -> None:
    answer = client.create(SIZE)
    url, image_id = answer.headers["Location"], answer.json()["image"]["id"]
    with client.stalled(url, CONTENT, 0, SIZE, sent=MIB) as connection:
        time.sleep(0.2)
        assert client.request("DELETE", url).status_code == 204
        assert connection.getresponse().status == 410
    gone = client.request("GET", url)
    assert (gone.status_code, reason(gone)) == (410, "upload-cancelled")
    assert client.send(url, CONTENT, 0, 10).status_code == 410
    assert client.request("DELETE", url).status_code == 204
    assert not list((shared.directory / "scratch" / "uploads").glob(f"{url.rpartition('/')[2]}*"))
    assert not list((shared.directory / "images").glob(f"{image_id}*"))


def test_an_active_image_is_not_cancelled(client: Client) -> None:
    url = client.created(0)
    client.wait(url, "active")
    answer = client.request("DELETE", url)
    assert (answer.status_code, reason(answer)) == (409, "upload-sealed")


# Looking


def test_a_wrong_image_digest_keeps_the_image_incomplete(shared: Service, client: Client) -> None:
    url = client.created(SIZE, digests={"sha256": "0" * 64})
    assert client.send(url, CONTENT, 0, SIZE).status_code == 204
    upload = client.wait(url, "failed")
    assert upload["handoff"]["last_error"]["reason"] == "digest-mismatch"
    assert not (shared.directory / "images" / upload["image"]["id"]).exists()
    assert client.request("DELETE", url).status_code == 204


def test_declared_image_digests_are_shown_with_the_hashes(client: Client) -> None:
    digests = {name: hashlib.new(name, CONTENT).hexdigest() for name in ("md5", "sha256", "sha512")}
    url = client.created(SIZE, digests=digests)
    client.send(url, CONTENT, 0, SIZE)
    upload = client.wait(url, "active")
    assert upload["digests"] == digests
    assert upload["hashes"] == {"md5": digests["md5"], "sha512": digests["sha512"]}


@pytest.mark.parametrize(
    "path",
    [
        "a-00000000000000000000000000000000",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "a-0000000000000000000000000000000%5c",
        "A-00000000000000000000000000000000",
        "a" * 5000,
    ],
)
def test_each_request_for_an_unknown_upload_is_404(client: Client, path: str) -> None:
    for method in ("GET", "DELETE"):
        answer = client.request(method, f"{client.url}/v1/uploads/{path}")
        assert (answer.status_code, reason(answer)) in [(404, "unknown-upload"), (404, "not-found")]


def test_uploads_are_listed_newest_first_and_in_pages(service: Service) -> None:
    client = Client(service.url)
    urls = [client.created(10 + number) for number in range(5)]
    first = client.request("GET", f"{client.url}/v1/uploads?limit=2").json()["uploads"]
    assert [each["size"] for each in first] == [14, 13]
    rest = client.request("GET", f"{client.url}/v1/uploads?marker={first[-1]['id']}").json()["uploads"]
    assert [each["size"] for each in rest] == [12, 11, 10]
    assert {each["href"] for each in first + rest} == set(urls)
    assert reason(client.request("GET", f"{client.url}/v1/uploads?limit=-1")) == "malformed-request"


def test_the_root_and_options_show_the_real_limits(client: Client) -> None:
    root = client.request("GET", client.url).json()
    options = client.request("OPTIONS", f"{client.url}/v1/uploads")
    assert root["protocols"]["native"] == options.json()
    assert options.json()["chunks"]["max_size"] == 8 * MIB
    assert options.json()["max_size"] == 100 * MIB
    assert options.headers["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_every_answer_has_a_request_id_of_its_own(client: Client) -> None:
    theirs = "req-11111111-2222-3333-4444-555555555555"
    answers = [client.request("GET", client.url, {"X-Openstack-Request-Id": theirs}) for _ in range(2)]
    answers.append(client.request("GET", f"{client.url}/nowhere"))
    found = [answer.headers["X-Openstack-Request-Id"] for answer in answers]
    assert len({*found, theirs}) == 4
    assert all(re.fullmatch(r"req-[0-9a-f-]{36}", each) for each in found)


def test_the_log_has_both_request_ids(shared: Service, client: Client) -> None:
    theirs = "req-99999999-2222-3333-4444-555555555555"
    ours = client.request("GET", client.url, {"X-Openstack-Request-Id": theirs}).headers["X-Openstack-Request-Id"]
    assert f"[{theirs} {ours}" in shared.log.read_text()


def test_the_root_refuses_as_everything_else_does(client: Client) -> None:
    answer = client.request("POST", client.url)
    assert (answer.status_code, reason(answer)) == (405, "method-not-allowed")


@pytest.mark.parametrize("method", ["PUT", "POST", "TRACE"])
def test_a_wrong_method_is_refused_with_the_allowed_ones(client: Client, method: str) -> None:
    answer = client.request(method, client.created(1), json={} if method == "POST" else None)
    assert (answer.status_code, reason(answer)) == (405, "method-not-allowed")
    assert "PATCH" in answer.headers["Allow"]


# Browsers


def test_an_allowed_origin_may_read_answers_and_refusals(client: Client) -> None:
    origin = {"Origin": "https://horizon.example"}
    refused = client.request("GET", f"{client.url}/v1/uploads/nothing", origin)
    assert refused.status_code == 404
    for answer in (client.request("GET", client.url, origin), refused):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://horizon.example"
        exposed = answer.headers["Access-Control-Expose-Headers"]
        assert {"Upload-Offset", "Location", "X-Openstack-Request-Id"} <= set(exposed.split(", "))


def test_a_preflight_is_answered_for_allowed_origins_only(client: Client) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "content-range,x-auth-token"}
    good = client.request("OPTIONS", f"{client.url}/v1/uploads/x", {"Origin": "http://localhost:8080", **asked})
    assert good.status_code == 204
    assert "PATCH" in good.headers["Access-Control-Allow-Methods"]
    for origin in ("http://localhost", "http://localhost:8081", "https://horizon.example.evil", "null"):
        bad = client.request("OPTIONS", f"{client.url}/v1/uploads/x", {"Origin": origin, **asked})
        assert "Access-Control-Allow-Origin" not in bad.headers


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("tus", "tus-resumable,upload-length,upload-offset,upload-metadata,upload-checksum,upload-defer-length"),
        ("rufh", "upload-complete,upload-offset,upload-length,upload-draft-interop-version,upload-incomplete"),
        ("rufh", "content-disposition,content-digest,repr-digest,want-repr-digest"),
    ],
)
def test_a_page_may_send_the_headers_of_each_protocol(client: Client, path: str, headers: str) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": headers}
    answer = client.request("OPTIONS", f"{client.url}/v1/{path}/x", {"Origin": "http://localhost:8080", **asked})
    assert answer.status_code == 204, answer.text
    assert set(headers.split(",")) <= set(answer.headers["Access-Control-Allow-Headers"].lower().split(", "))


# Stopping and starting


def test_acknowledged_bytes_survive_kill_9(service: Service) -> None:
    client = Client(service.url)
    url = client.created(SIZE)
    assert client.send(url, CONTENT, 3 * MIB, SIZE).status_code == 204
    assert client.send(url, CONTENT, 0, MIB, md5(CONTENT[:MIB])).status_code == 204
    with client.stalled(url, CONTENT, MIB, 3 * MIB, sent=MIB):
        time.sleep(0.2)
        service.kill()
    service.start()
    assert client.show(url)["ranges"] == [[0, MIB - 1], [3 * MIB, SIZE - 1]]
    assert client.send(url, CONTENT, MIB, 3 * MIB).status_code == 204
    assert image_of(service, client.wait(url, "active")) == CONTENT


def test_a_stop_keeps_all_bytes_and_asks_clients_to_retry(service: Service) -> None:
    client = Client(service.url)
    url = client.created(SIZE)
    with client.stalled(url, CONTENT, 0, SIZE, sent=2 * MIB + 7) as connection:
        time.sleep(0.3)
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 10
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Retry-After")) == (503, "1")
    service.start()
    assert client.show(url)["offset"] == 2 * MIB + 7


def test_a_second_process_on_the_same_storage_does_not_start(service: Service) -> None:
    command = [sys.executable, "-m", "resumable_glance", "serve", "--config-file", str(service.configuration)]
    second = subprocess.run(
        [*command, "--listen", "127.0.0.1:1"], capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert "in use by another resumable-glance" in second.stderr
    assert "Traceback" not in second.stderr


def test_sealed_uploads_are_delivered_after_a_restart(service: Service) -> None:
    client = Client(service.url)
    url = client.created(SIZE)
    assert client.send(url, CONTENT, 0, SIZE).status_code == 204
    service.kill()
    service.start()
    assert image_of(service, client.wait(url, "active")) == CONTENT


def test_development_mode_is_for_the_loopback_interface_only() -> None:
    command = [sys.executable, "-m", "resumable_glance", "serve", "--dev", "--listen", "0.0.0.0:8970"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert "bind_host" in refused.stderr


def test_nothing_is_left_of_a_service_that_has_stopped(service: Service) -> None:
    service.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(service.url, timeout=5)


@pytest.mark.parametrize("path", ["/v1/uploads/", "/v1/tus/", "/v1/uploads/a/b"])
def test_an_address_with_a_slash_too_many_is_none(client: Client, path: str) -> None:
    answer = client.request("GET", client.url + path, allow_redirects=False)
    assert (answer.status_code, reason(answer)) == (404, "not-found")


@pytest.mark.parametrize("path", ["/v1/uploads?limit=1&limit=1", "/v1/rufh?name=a&name=b"])
def test_a_query_parameter_comes_once(client: Client, path: str) -> None:
    answer = client.request("GET" if "uploads" in path else "POST", client.url + path)
    assert (answer.status_code, reason(answer)) == (400, "malformed-request")


def test_a_description_that_does_not_come_is_not_waited_for(client: Client) -> None:
    head = b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
    host, _, port = client.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head)
        assert b"HTTP/1.1 408 " in connection.recv(65536)


def test_a_digest_of_the_whole_image_may_come_with_any_chunk(client: Client) -> None:
    for text, end in ((digest("sha-256", CONTENT), "active"), (digest("sha-256", b"else"), "failed")):
        url = client.created(SIZE)
        assert client.send(url, CONTENT, 0, 1000).status_code == 204
        assert client.send(url, CONTENT, 1000, SIZE, {"Repr-Digest": text}).status_code == 204
        assert client.wait(url, "active", "failed")["state"] == end
    answer = client.send(url, CONTENT, 0, 1000, {"Repr-Digest": digest("sha-256", CONTENT)})
    assert (answer.status_code, reason(answer)) == (409, "wrong-digest")
    assert client.send(url, CONTENT, 0, 1000, {"Repr-Digest": "sha-256"}).status_code == 400


def digest(name: str, content: bytes) -> str:
    value = base64.b64encode(hashlib.new(name.replace("-", ""), content).digest()).decode()
    return f"{name}=:{value}:"


# Zeros that are declared


def declare(client: Client, url: str, content_range: str, body: bytes = b"") -> requests.Response:
    headers = {"Content-Range": content_range, "Content-Type": "application/vnd.resumable-glance.zeros"}
    return client.request("PATCH", url, headers=headers, data=body)


def test_a_run_of_zeros_is_declared_and_not_sent(shared: Service, client: Client) -> None:
    """Longer than a chunk may be, too."""
    size = 20 * MIB
    url = client.created(size)
    content = CONTENT[:MIB] + bytes(size - MIB)
    assert client.send(url, content, 0, MIB).status_code == 204
    answer = declare(client, url, f"bytes {MIB}-{size - 1}/{size}")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(size))
    assert answer.headers["Upload-State"] != "receiving"
    upload = client.wait(url, "active")
    assert image_of(shared, upload) == content
    assert declare(client, url, f"bytes {MIB}-{size - 1}/{size}").status_code == 204


def test_zeros_over_durable_bytes_are_refused(client: Client) -> None:
    url = client.created(SIZE)
    client.send(url, CONTENT, 100, 200)
    assert reason(declare(client, url, f"bytes 0-{SIZE - 1}/{SIZE}")) == "different-bytes"
    assert reason(declare(client, url, f"bytes 0-99/{SIZE}", b"\0")) == "body-too-long"
    assert client.request("GET", url).json()["ranges"] == [[100, 199]]


def test_zeros_can_be_declared_by_a_page_of_another_origin(client: Client) -> None:
    headers = {
        "Origin": "https://horizon.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "content-type,content-range,x-auth-token",
    }
    answer = client.request("OPTIONS", f"{client.url}/v1/uploads/x", headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "https://horizon.example")
