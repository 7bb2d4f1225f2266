"""tus over real HTTP: lengths that are told later, parts that are joined, and content that is read again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from resumable_glance.api.protocols.tus import EXTENSIONS
from tests.support.service import Service, development
from tests.support.wire import Client, reason

MIB = 1024 * 1024
CONTENT = random.Random(12).randbytes(2 * MIB + 5)
SIZE = len(CONTENT)
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
LATER = {"Upload-Defer-Length": "1"}
PARTIAL = {"Upload-Concat": "partial"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service.url)


def created(client: Client, headers: dict[str, str]) -> str:
    answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, **headers})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def sent(client: Client, url: str, start: int, content: bytes, headers: dict[str, str] | None = None) -> None:
    answer = client.request("PATCH", url, {**BYTES, "Upload-Offset": str(start), **(headers or {})}, data=content)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(start + len(content)))


def head(client: Client, url: str) -> dict[str, str]:
    """The headers in which HEAD describes an upload."""
    answer = client.request("HEAD", url, TUS)
    assert answer.status_code == 200
    names = ("Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Concat")
    return {name: answer.headers[name] for name in names if name in answer.headers}


def part(client: Client, content: bytes, headers: dict[str, str] | None = None) -> str:
    url = created(client, {**PARTIAL, "Upload-Length": str(len(content)), **(headers or {})})
    if content:
        sent(client, url, 0, content)
    return url


def assert_is_content(service: Service, client: Client, url: str) -> None:
    upload = client.wait(native(client, url), "active")
    assert upload["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()
    assert (service.directory / "images" / upload["image"]["id"]).read_bytes() == CONTENT


def native(client: Client, url: str) -> str:
    return f"{client.url}/v1/uploads/{url.rpartition('/')[2]}"


def test_every_extension_that_is_announced_has_its_test(client: Client) -> None:
    answer = client.request("OPTIONS", f"{client.url}/v1/tus")
    elsewhere = {"creation", "creation-with-upload", "expiration", "checksum", "termination"}  # test_tus_http.py
    assert set(answer.headers["Tus-Extension"].split(",")) == set(EXTENSIONS)
    assert set(EXTENSIONS) == elsewhere | {"creation-defer-length", "concatenation"}


def test_a_length_can_come_with_the_last_chunk(service: Service, client: Client) -> None:
    url = created(client, LATER)
    assert head(client, url) == {"Upload-Offset": "0", "Upload-Defer-Length": "1"}
    sent(client, url, 0, CONTENT[:MIB])
    assert head(client, url) == {"Upload-Offset": str(MIB), "Upload-Defer-Length": "1"}
    sent(client, url, MIB, CONTENT[MIB:], {"Upload-Length": str(SIZE)})
    assert head(client, url) == {"Upload-Offset": str(SIZE), "Upload-Length": str(SIZE)}
    assert_is_content(service, client, url)


def test_a_length_can_come_alone_after_the_last_byte(service: Service, client: Client) -> None:
    url = created(client, LATER)
    sent(client, url, 0, CONTENT)
    assert client.show(native(client, url))["size"] is None
    sent(client, url, SIZE, b"", {"Upload-Length": str(SIZE)})
    assert_is_content(service, client, url)


def test_a_length_is_declared_once(client: Client) -> None:
    url = created(client, LATER)
    sent(client, url, 0, b"12345", {"Upload-Length": "10"})
    for length, status in (("11", 400), ("4", 400), ("010", 400), ("", 400), ("10", 204)):
        headers = {**BYTES, "Upload-Offset": "5", "Upload-Length": length}
        assert client.request("PATCH", url, headers, data=b"").status_code == status
    assert head(client, url) == {"Upload-Offset": "5", "Upload-Length": "10"}


@pytest.mark.parametrize("length", ["4", "0"])
def test_a_length_below_the_offset_is_refused(client: Client, length: str) -> None:
    url = created(client, LATER)
    sent(client, url, 0, b"12345")
    answer = client.request("PATCH", url, {**BYTES, "Upload-Offset": "5", "Upload-Length": length}, data=b"")
    assert (answer.status_code, reason(answer), answer.headers["Upload-Offset"]) == (400, "wrong-total", "5")


def test_a_deferred_length_continues_in_native(service: Service, client: Client) -> None:
    url = created(client, LATER)
    sent(client, url, 0, CONTENT[:1000])
    assert client.send(native(client, url), CONTENT, MIB, SIZE).status_code == 204
    assert client.send(native(client, url), CONTENT, 1000, MIB).status_code == 204
    assert_is_content(service, client, url)


def test_parts_are_joined_into_an_image(service: Service, client: Client) -> None:
    cuts = [CONTENT[:MIB], b"", CONTENT[MIB:]]
    parts = [part(client, each, {"Upload-Metadata": "filename cGFydA=="}) for each in cuts]
    assert head(client, parts[0]) == {
        "Upload-Offset": str(MIB), "Upload-Length": str(MIB), "Upload-Concat": "partial",
    }  # fmt: skip
    # One as a path, the others as URLs: both are allowed.
    named = " ".join([parts[0].removeprefix(client.url), *parts[1:]])
    headers = {"Upload-Concat": f"final;{named}", "Upload-Metadata": "filename ZGlzay5yYXc="}
    url = created(client, headers)
    assert head(client, url) == {
        "Upload-Offset": str(SIZE), "Upload-Length": str(SIZE), "Upload-Concat": f"final;{' '.join(parts)}",
    }  # fmt: skip
    assert_is_content(service, client, url)
    upload = client.show(native(client, url))
    assert upload["image"]["name"] == "disk.raw"
    assert upload["parts"] == [each.rpartition("/")[2] for each in parts]
    shown = client.show(native(client, parts[0]))
    assert (shown["state"], shown["joined_into"], shown["image"]) == ("joined", upload["id"], None)
    assert created(client, headers) == url  # its answer may have been lost


def test_a_part_with_a_deferred_length_continues_in_native(service: Service, client: Client) -> None:
    first = created(client, {**PARTIAL, **LATER})
    sent(client, first, 0, CONTENT[:1000], {"Upload-Length": str(MIB)})
    assert client.send(native(client, first), CONTENT[:MIB], 1000, MIB).status_code == 204
    assert client.show(native(client, first))["state"] == "receiving"
    assert_is_content(
        service, client, created(client, {"Upload-Concat": f"final;{first} {part(client, CONTENT[MIB:])}"})
    )


def test_parts_that_lack_bytes_are_not_joined(client: Client) -> None:
    whole = part(client, CONTENT[:10])
    unfinished = created(client, {**PARTIAL, "Upload-Length": "10"})
    answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, "Upload-Concat": f"final;{whole} {unfinished}"})
    assert (answer.status_code, reason(answer)) == (409, "upload-unfinished")


@pytest.mark.parametrize("name", ["a-" + "0" * 32, "..%2f..%2fetc%2fpasswd", "%00", "a-" + "0" * 31 + "%5c"])
def test_parts_that_do_not_exist_are_not_joined(client: Client, name: str) -> None:
    answer = client.request("POST", f"{client.url}/v1/tus", {**TUS, "Upload-Concat": f"final;/v1/tus/{name}"})
    assert (answer.status_code, reason(answer)) == (404, "unknown-upload")


def test_a_joined_upload_and_its_parts_take_no_more_bytes(service: Service, client: Client) -> None:
    pieces = [part(client, CONTENT[:MIB]), part(client, CONTENT[MIB:])]
    url = created(client, {"Upload-Concat": f"final;{' '.join(pieces)}"})
    for each in (url, pieces[0]):
        answer = client.request("PATCH", each, {**BYTES, "Upload-Offset": "0"}, data=b"else")
        assert (answer.status_code, reason(answer)) == (403, "upload-joined")
    assert client.request("DELETE", pieces[0], TUS).status_code == 403
    assert_is_content(service, client, url)


def test_cancelling_parts_frees_their_bytes(service: Service, client: Client) -> None:
    url = part(client, CONTENT)
    scratch = service.directory / "scratch" / "uploads"
    assert (scratch / f"{url.rpartition('/')[2]}.upload").exists()
    assert client.request("DELETE", url, TUS).status_code == 204
    assert not (scratch / f"{url.rpartition('/')[2]}.upload").exists()
    assert client.request("HEAD", url, TUS).status_code == 410


def test_content_is_read_again_with_get(client: Client) -> None:
    url = created(client, {"Upload-Length": str(SIZE), "Upload-Metadata": "filename w4RwZmVsLnJhdw=="})
    answer = client.request("GET", url)
    assert (answer.status_code, reason(answer)) == (409, "upload-unfinished")
    sent(client, url, 0, CONTENT)
    for _ in range(2):  # from scratch or from the image service, and then surely from the image service
        answer = client.request("GET", url)
        assert (answer.status_code, answer.content) == (200, CONTENT)
        assert answer.headers["Content-Length"] == str(SIZE)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%84pfel.raw"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        client.wait(native(client, url), "active")


def test_content_of_no_bytes_is_read_too(client: Client) -> None:
    url = created(client, {"Upload-Length": "0"})
    client.wait(native(client, url), "active")
    answer = client.request("GET", url)
    assert (answer.status_code, answer.content) == (200, b"")


def test_content_of_an_unknown_or_ended_upload_is_refused(client: Client) -> None:
    assert client.request("GET", f"{client.url}/v1/tus/a-{'0' * 32}").status_code == 404
    url = created(client, {"Upload-Length": "5"})
    client.request("DELETE", url, TUS)
    assert client.request("GET", url).status_code == 410
