"""What every answer is like: problems that a person can act on and that give nothing away, and what browsers see."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping

import pytest
import requests

from tests.support.service import Service
from tests.support.tus_wire import BYTES, TUS, checksum, created, send
from tests.support.wire import Client, reason

ORIGIN = {"Origin": "https://horizon.example"}
CONTENT = b"0123456789"
NOBODYS = "a-" + "0" * 32
MUST_BE_READ = (
    "Accept-Patch Allow Location Retry-After Tus-Checksum-Algorithm Tus-Extension Tus-Max-Size Tus-Resumable "
    "Tus-Version Upload-Concat Upload-Defer-Length Upload-Expires Upload-Length Upload-Metadata Upload-Offset "
    "Upload-Ranges Upload-State X-Openstack-Request-Id"
).split()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("a-directory-that-nobody-is-told-of")
    plain = {
        "auth_strategy": "noauth",
        "image_service": "directory",
        "image_directory": directory / "images",
        "idle_timeout": 1,
    }
    cors = {"allowed_origin": "https://horizon.example,http://localhost:8080"}
    with Service(directory, {"DEFAULT": plain, "cors": cors}) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service.url, ORIGIN)


def answers(client: Client) -> Iterator[requests.Response]:
    """Refusals and other answers of every kind, in every protocol."""

    def tus(method: str, path: str = "", headers: Mapping[str, str] | None = None, **more: object) -> requests.Response:
        return client.request(method, f"{client.url}/v1/tus{path}", {**TUS, **(headers or {})}, **more)

    made = client.create(10)
    native_url, url = made.headers["Location"], created(client, 10, {"Upload-Metadata": "name YQ=="})
    yield made
    yield client.request("GET", f"{client.url}/nowhere")
    yield client.request("POST", client.url)
    yield client.request("GET", native_url.replace(native_url.rpartition("/")[2], NOBODYS))
    yield client.request("PUT", native_url)
    yield client.request("PATCH", native_url, data=CONTENT)
    yield client.request("POST", f"{client.url}/v1/uploads", {"Content-Type": "application/json"}, data=b"\xff")
    yield client.request("POST", f"{client.url}/v1/uploads", data=b"x=y")
    yield client.create(2**60)
    yield client.create(10**12, digests={"md5": "x"})
    yield client.send(native_url, CONTENT + b"x", 0, 5)
    yield client.send(native_url, CONTENT, 0, 5, {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    yield client.send(native_url, CONTENT, 0, 5, {"Content-Encoding": "gzip"})
    yield client.send(native_url, CONTENT, 0, 9, body=b"01234")  # too short; and what came is kept
    yield client.send(native_url, CONTENT, 0, 5, body=b"else!")
    yield client.send(native_url, CONTENT, 5, 10)
    yield client.request("HEAD", native_url)
    yield client.request("DELETE", native_url)
    yield client.request("HEAD", native_url)
    yield client.request("GET", native_url)
    yield tus("PATCH", "/" + NOBODYS, {**BYTES, "Upload-Offset": "0"})
    yield client.request("HEAD", url)
    yield tus("GET")
    yield tus("POST")
    yield tus("POST", headers={"Upload-Length": "10", "Upload-Metadata": "name " + "QUFB" * 2000})
    yield tus("POST", headers={"Upload-Concat": f"final;/v1/tus/{NOBODYS}"})
    yield tus("PATCH", "/" + url.rpartition("/")[2], {"Upload-Offset": "0"})
    yield send(client, url, 7, CONTENT)
    yield send(client, url, 0, CONTENT, checksum("sha1", b"else"))
    yield send(client, url, 0, CONTENT + b"x")
    yield client.request("GET", url)
    yield send(client, url, 0, CONTENT)
    made = tus("POST", headers={"Upload-Defer-Length": "1", "Upload-Concat": "partial"})
    yield tus("HEAD", "/" + made.headers["Location"].rpartition("/")[2])
    yield tus("HEAD", "/" + url.rpartition("/")[2])
    yield tus("OPTIONS")
    sender = Client(client.url, {**ORIGIN, **BYTES, "Upload-Offset": "0"})
    with sender.stalled(created(client, 10), CONTENT, 0, 9, sent=5) as connection:
        answer, found = requests.Response(), connection.getresponse()
        answer.status_code, answer._content = found.status, found.read()
        answer.headers.update(found.getheaders())
        yield answer


def test_refusals_are_helpful_problems_without_secrets(service: Service, client: Client) -> None:
    found = [each for each in answers(client) if each.status_code >= 400]
    for answer in found:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert re.fullmatch(r"req-[0-9a-f-]{36}", answer.headers["X-Openstack-Request-Id"])
        if answer.content:
            assert_acceptable(service, answer)
    assert len({each.status_code for each in found}) > 8
    assert len({reason(each) for each in found if each.content}) > 12


def assert_acceptable(service: Service, answer: requests.Response) -> None:
    assert reason(answer)
    problem = answer.json()
    assert re.fullmatch(r"[A-Z].+[.?)]", problem["detail"], re.DOTALL), "a sentence"
    assert problem["title"]
    for secret in (str(service.directory), "a-directory-that", "Traceback", ".py", "sqlite", "SELECT", "line "):
        assert secret not in answer.text
        assert secret not in str(answer.headers)


def test_browsers_may_read_all_headers_of_all_answers(client: Client) -> None:
    ours = re.compile(r"upload-.*|tus-.*|accept-patch|allow|location|retry-after|x-openstack-request-id")
    seen = set()
    for answer in answers(client):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
        assert answer.headers["Vary"] == "Origin"
        exposed = {each.lower() for each in answer.headers["Access-Control-Expose-Headers"].split(", ")}
        names = {each.lower() for each in answer.headers if ours.fullmatch(each.lower())}
        assert names <= exposed
        seen |= names
    assert seen >= {each.lower() for each in MUST_BE_READ}, "a test of headers that do not come proves little"


@pytest.mark.parametrize(
    "origin",
    ["http://horizon.example", "https://horizon.example:8443", "https://horizon.example.evil", "https://x.horizon.example",
     "https://HORIZON.example", "http://localhost", "http://localhost:80800", "null", "*", ""],
)  # fmt: skip
def test_an_origin_is_matched_exactly(service: Service, origin: str) -> None:
    stranger = Client(service.url, {"Origin": origin})
    for answer in (
        stranger.request("GET", stranger.url),
        stranger.request("GET", f"{stranger.url}/v1/uploads/{NOBODYS}"),
        stranger.request("OPTIONS", f"{stranger.url}/v1/tus", {"Access-Control-Request-Method": "PATCH"}),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_wrong_version_of_tus_is_told_the_right_one(client: Client) -> None:
    url = created(client, 10)
    for headers in ({}, {"Tus-Resumable": "0.2.2"}, {"Tus-Resumable": ""}):
        for method in ("HEAD", "PATCH", "DELETE"):
            answer = client.request(method, url, headers)
            assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")
        answer = client.request("POST", f"{client.url}/v1/tus", {**headers, "Upload-Length": "1"})
        assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")
    assert client.request("HEAD", url, TUS).status_code == 200, "nothing was carried out"


@pytest.fixture
def broken_catalog(service: Service) -> Iterator[None]:
    """A catalog that has lost a table, until the test ends."""

    def rename(old: str, new: str) -> None:
        database = sqlite3.connect(service.directory / "catalog.sqlite", timeout=30)
        with database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")
        database.close()

    rename("uploads", "misplaced")
    yield
    rename("misplaced", "uploads")


def test_an_internal_error_is_a_problem_and_no_tus_head_a_5xx(
    service: Service, client: Client, broken_catalog: None
) -> None:
    for path in (f"/v1/uploads/{NOBODYS}", "/v1/uploads"):
        answer = client.request("GET", client.url + path)
        assert (answer.status_code, reason(answer)) == (500, "internal-error")
        assert_acceptable(service, answer)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
        assert answer.json()["request_id"] in service.log.read_text(), "an operator finds it"
    answer = client.request("HEAD", f"{client.url}/v1/tus/{NOBODYS}", TUS)
    assert (answer.status_code, answer.headers["Tus-Resumable"]) == (423, "1.0.0")


def test_an_unknown_id_is_answered_alike_whatever_it_is(client: Client) -> None:
    found = []
    for each in (NOBODYS, "b-" + "f" * 32, "x", "%00"):
        answer = client.request("GET", f"{client.url}/v1/uploads/{each}")
        found.append({**answer.json(), "request_id": None})
    assert all(each == found[0] for each in found), json.dumps(found)
