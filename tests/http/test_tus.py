"""tus 1.0.0 over HTTP: its demands, and uploads that change the protocol."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import time
from collections.abc import Iterator

import pytest
import requests

from resumable_glance.api.protocols import tus
from tests.support.images import looks_like_qcow2
from tests.support.service import Service, development
from tests.support.wire import Client, reason

MIB = 1024 * 1024
CONTENT = random.Random(11).randbytes(3 * MIB + 5)
SIZE = len(CONTENT)
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service"), idle_timeout=2, max_upload_size=100 * MIB) as running:
        yield running


@pytest.fixture
def client(shared: Service) -> Client:
    return Client(shared.url)


def metadata(**values: str) -> dict[str, str]:
    return {
        "Upload-Metadata": ",".join(
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items()
        )
    }


def created(client: Client, size: int = SIZE, headers: dict[str, str] | None = None) -> str:
    answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, "Upload-Length": str(size), **(headers or {})})
    assert answer.status_code == 201, answer.text
    assert re.fullmatch(rf"{client.url}/v1/tus/a-[0-9a-f]{{32}}", answer.headers["Location"])
    return answer.headers["Location"]


def send(
    client: Client, url: str, offset: int, body: object, headers: dict[str, str] | None = None
) -> requests.Response:
    return client.request("PATCH", url, {**BYTES, "Upload-Offset": str(offset), **(headers or {})}, data=body)


def offset(client: Client, url: str) -> int:
    answer = client.request("HEAD", url, TUS)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return int(answer.headers["Upload-Offset"])


def native(client: Client, url: str) -> str:
    """The same upload in the native protocol."""
    return f"{client.url}/v1/uploads/{url.rpartition('/')[2]}"


def checksum(algorithm: str, content: bytes) -> dict[str, str]:
    value = base64.b64encode(hashlib.new(algorithm, content).digest()).decode()
    return {"Upload-Checksum": f"{algorithm} {value}"}


def test_an_upload_in_chunks_becomes_the_image(shared: Service, client: Client) -> None:
    content = looks_like_qcow2(CONTENT)
    url = created(client, headers=metadata(filename="disk.qcow2", filetype="application/x-qemu-disk"))
    assert offset(client, url) == 0
    for start in range(0, SIZE, MIB):
        answer = send(client, url, start, content[start : start + MIB])
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(min(start + MIB, SIZE)))
        assert answer.headers["Tus-Resumable"] == "1.0.0"
    upload = client.wait(native(client, url), "active")
    assert (shared.directory / "images" / upload["image"]["id"]).read_bytes() == content
    described = (shared.directory / "images" / f"{upload['image']['id']}.json").read_text()
    assert '"disk_format": "qcow2"' in described
    assert upload["image"]["name"] == "disk.qcow2"
    assert offset(client, url) == SIZE


def test_options_announce_the_extensions(client: Client) -> None:
    answer = client.request("OPTIONS", f"{client.url}/v1/tus")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(100 * MIB)
    assert answer.headers["Tus-Extension"].split(",") == list(tus.EXTENSIONS)
    assert answer.headers["Tus-Checksum-Algorithm"] == "md5,sha1,sha256,sha512"
    assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_bytes_may_come_with_the_creation(client: Client) -> None:
    headers = {**BYTES, "Upload-Length": str(SIZE)}
    answer = client.request("POST", f"{client.url}/v1/tus", headers, data=CONTENT[:MIB])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(MIB))
    assert offset(client, answer.headers["Location"]) == MIB


def test_a_whole_image_may_come_with_the_creation(client: Client) -> None:
    headers = {**BYTES, "Upload-Length": str(SIZE), **checksum("sha1", CONTENT)}
    answer = client.request("POST", f"{client.url}/v1/tus", headers, data=CONTENT)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(SIZE))
    assert client.wait(native(client, answer.headers["Location"]), "active")


def test_a_first_chunk_that_is_refused_leaves_no_upload_behind(client: Client) -> None:
    def uploads() -> int:
        listed = client.request("GET", f"{client.url}/v1/uploads").json()["uploads"]
        return sum(each["state"] != "cancelled" for each in listed)

    before = uploads()
    headers = {**BYTES, "Upload-Length": str(SIZE), **checksum("sha1", b"else")}
    assert client.request("POST", f"{client.url}/v1/tus", headers, data=CONTENT[:10]).status_code == 460
    assert uploads() == before


def test_a_checksum_of_no_bytes_must_hold_too(client: Client) -> None:
    for text, status in ((checksum("md5", b""), 201), (checksum("md5", b"x"), 460)):
        headers = {**BYTES, "Upload-Length": str(SIZE), "Content-Length": "0", **text}
        assert client.request("POST", f"{client.url}/v1/tus", headers).status_code == status


def test_an_image_of_no_bytes_is_not_made_of_some(client: Client) -> None:
    before = len(client.request("GET", f"{client.url}/v1/uploads").json()["uploads"])
    headers = {**BYTES, "Upload-Length": "0"}
    assert client.request("POST", f"{client.url}/v1/tus", headers, data=iter([b"x"])).status_code == 413
    newest, *others = client.request("GET", f"{client.url}/v1/uploads").json()["uploads"]
    assert (newest["state"], len(others)) == ("cancelled", before)


def test_a_creation_without_a_body_may_name_a_type_for_it(client: Client) -> None:
    created(client, headers={"Content-Type": "application/octet-stream", "Content-Length": "0"})


def test_a_body_without_a_length_ends_where_it_ends(client: Client) -> None:
    url = created(client)
    answer = send(client, url, 0, iter([CONTENT[:1000], CONTENT[1000:MIB]]))
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(MIB))


def test_metadata_is_shown_again_as_it_was_written(client: Client) -> None:
    headers = metadata(filename="Äpfel.iso", anything="else")
    url = created(client, headers=headers)
    assert client.request("HEAD", url, TUS).headers["Upload-Metadata"] == headers["Upload-Metadata"]
    assert "Upload-Metadata" not in client.request("HEAD", created(client), TUS).headers


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256", "sha512"])
def test_a_checksum_that_does_not_hold_stores_nothing(client: Client, algorithm: str) -> None:
    url = created(client)
    assert send(client, url, 0, CONTENT[:1000], checksum(algorithm, CONTENT[:1000])).status_code == 204
    answer = send(client, url, 1000, CONTENT[1000:2000], checksum(algorithm, b"else"))
    assert (answer.status_code, answer.json()["status"]) == (460, 460)
    assert offset(client, url) == 1000


@pytest.mark.parametrize("wrong", [0, 999, 1001, SIZE])
def test_a_wrong_offset_is_a_conflict_with_the_right_one(client: Client, wrong: int) -> None:
    url = created(client)
    assert send(client, url, 0, CONTENT[:1000]).status_code == 204
    answer = send(client, url, wrong, CONTENT[wrong : wrong + 10])
    assert (answer.status_code, reason(answer), answer.headers["Upload-Offset"]) == (409, "wrong-offset", "1000")
    assert offset(client, url) == 1000


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412, "unsupported-version"),
        ({"Tus-Resumable": ""}, 412, "unsupported-version"),
        ({"Content-Type": "application/octet-stream"}, 415, "unsupported-media-type"),
        ({"Upload-Offset": "+0"}, 400, "malformed-request"),
        ({"Upload-Offset": "00"}, 400, "malformed-request"),
        ({"Upload-Offset": ""}, 400, "malformed-request"),
        ({"Upload-Offset": "NaN"}, 400, "malformed-request"),
        ({"Upload-Checksum": "crc32 AAAAAA=="}, 400, "unsupported-digest"),
        ({"Upload-Checksum": "sha1"}, 400, "malformed-request"),
        ({"Upload-Checksum": "sha1 AAAA"}, 400, "malformed-request"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported-content-encoding"),
    ],
)
def test_a_bad_chunk_is_refused_and_nothing_is_lost(
    client: Client, headers: dict[str, str], status: int, expected: str
) -> None:
    url = created(client)
    answer = send(client, url, 0, CONTENT[:10], headers)
    assert (answer.status_code, reason(answer)) == (status, expected)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert offset(client, url) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "-1"}, 400),
        ({"Upload-Length": str(101 * MIB)}, 413),
        ({"Upload-Length": "1", "Upload-Metadata": "filename !"}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "filename QQ==,filename QQ=="}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "filename gA=="}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "filename AA=="}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "min_disk eA=="}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "property.owner eA=="}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "x " + "QUFB" * 2000}, 400),
    ],
)
def test_a_bad_creation_is_refused(client: Client, headers: dict[str, str], status: int) -> None:
    assert client.request("POST", f"{client.url}/v1/tus", {**TUS, **headers}).status_code == status


def test_a_chunk_past_the_end_is_refused_before_its_body(client: Client) -> None:
    url = created(client, 10)
    assert reason(send(client, url, 0, b"x" * 11)) == "body-too-long"
    assert offset(client, url) == 0


def test_an_upload_of_no_bytes_is_done_at_once(client: Client) -> None:
    url = created(client, 0)
    assert client.wait(native(client, url), "active")
    assert send(client, url, 0, b"").status_code == 204


def test_an_upload_can_be_terminated(client: Client) -> None:
    url = created(client)
    answer = client.request("DELETE", url, TUS)
    assert (answer.status_code, answer.headers["Tus-Resumable"]) == (204, "1.0.0")
    assert client.request("HEAD", url, TUS).status_code == 410
    assert send(client, url, 0, b"x").status_code == 410


def test_an_unknown_upload_is_not_found(client: Client) -> None:
    assert client.request("HEAD", f"{client.url}/v1/tus/a-{'0' * 32}", TUS).status_code == 404


def test_a_method_can_be_sent_in_a_header(client: Client) -> None:
    url = created(client)
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.request("POST", url, headers, data=b"x").status_code == 204
    assert client.request("PUT", url, TUS).status_code == 405


def test_a_head_request_takes_over_a_stalled_chunk(client: Client) -> None:
    url = created(client)
    headers = {**BYTES, "Upload-Offset": "0"}
    with Client(client.url, headers).stalled(url, CONTENT, 0, SIZE, sent=MIB) as connection:
        time.sleep(0.3)
        assert offset(client, url) == MIB
        assert connection.getresponse().status == 409, "408 would mean that its idle time-out was waited for"
    assert send(client, url, MIB, CONTENT[MIB:]).status_code == 204
    assert client.wait(native(client, url), "active")["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()


def test_an_upload_continues_in_another_protocol(shared: Service, client: Client) -> None:
    url = created(client)
    assert client.send(native(client, url), CONTENT, 2 * MIB, SIZE).status_code == 204
    assert offset(client, url) == 0
    assert send(client, url, 0, CONTENT[:MIB]).status_code == 204
    assert client.send(native(client, url), CONTENT, MIB, 2 * MIB).status_code == 204
    upload = client.wait(native(client, url), "active")
    assert (shared.directory / "images" / upload["image"]["id"]).read_bytes() == CONTENT


def test_a_chunk_in_order_may_reach_durable_bytes(client: Client) -> None:
    url = created(client)
    assert client.send(native(client, url), CONTENT, MIB, 2 * MIB).status_code == 204
    assert send(client, url, 0, CONTENT).headers["Upload-Offset"] == str(SIZE)
    assert client.wait(native(client, url), "active")["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()
