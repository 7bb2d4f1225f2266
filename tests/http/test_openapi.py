"""A running service does what docs/openapi.yaml says, whatever schemathesis asks."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from schemathesis.specs.openapi import checks

from resumable_glance.api import endpoint
from resumable_glance.api.cors import RESPONSE_HEADERS
from resumable_glance.api.health import Health
from resumable_glance.api.protocols import native, rufh, tus
from resumable_glance.auth.noauth import NoAuthenticator
from resumable_glance.client.receipts import verify
from tests import ROOT
from tests.support.rig import rig
from tests.support.service import Service, development
from tests.support.wire import Client, md5, reason

API = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml")
DOCUMENT: dict[str, Any] = API.raw_schema
SCHEMATHESIS = [
    str(Path(sys.executable).with_name("schemathesis")),
    "--config-file",
    str(Path(__file__).with_name("schemathesis.toml")),
]
ONE = native.MOUNT + "/{upload_id}"
TICKET = ONE + "/ticket"
EVENTS = ONE + "/events"
CONFORMANCE = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
LARGEST = 2**52  # bytes; more than any disk of ours has
CONTENT = b"0123456789"
DIGEST = f"md5=:{md5(CONTENT)['Content-MD5']}:"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service"), max_upload_size=LARGEST) as running:
        yield running


@pytest.fixture
def client(shared: Service) -> Client:
    return Client(shared.url)


def checked(answer: requests.Response, path: str) -> requests.Response:
    """`answer`, once it is what the description says: status, media type, headers, document."""
    method = str(answer.request.method)
    API[path][method].Case(path_parameters={"upload_id": "any"}).validate_response(answer, CONFORMANCE)
    described = DOCUMENT["paths"][path][method.lower()]["responses"][str(answer.status_code)]
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    assert {each for each in RESPONSE_HEADERS if each in answer.headers} <= set(described["headers"])
    return answer


def test_paths_and_methods_are_those_of_the_service(client: Client, tmp_path: Path) -> None:
    others = (tus.MOUNT, rufh.MOUNT, "/page")  # the first two have specifications of their own

    async def paths() -> set[str]:
        async with rig(tmp_path) as here:
            parts = here.endpoint(NoAuthenticator())
            found = {getattr(route, "path", "") for route in endpoint.routes(parts, Health({}))}
            return {each for each in found if not each.startswith(others)}

    def allowed(path: str) -> set[str]:
        refused = client.request("PUT", client.url + path.format(upload_id="any"))
        assert reason(refused) == "method-not-allowed"
        return set(refused.headers["Allow"].split(", "))

    routed = {path: allowed(path) for path in asyncio.run(paths())}
    assert routed == {path: {each.upper() for each in DOCUMENT["paths"][path]} - {"PARAMETERS"} for path in routed}
    assert routed.keys() == DOCUMENT["paths"].keys()


def narrowed() -> dict[str, Any]:
    """The description with requests that often fit each other: else nearly all chunks are refused for one reason."""
    described = copy.deepcopy(DOCUMENT)
    links = described["paths"][native.MOUNT]["post"]["responses"]["201"]["links"]
    for aspect, names in {"retry": ["retry"], "receipt": ["showReceipt", "headReceipt"]}.items():
        # Each is of one moment in the life of an upload, and has a test of its own; so many ways to go on would leave
        # the others untried.
        del described["paths"][f"{ONE}/{aspect}"]
        for each in names:
            del links[each]
    described["security"] = []  # development mode looks at no token
    del described["paths"][EVENTS]  # they have no end
    for path in described["paths"].values():
        for name in native.METHODS[True] + native.METHODS[False]:
            path.get(name.lower(), {}).pop("security", None)
    described["components"]["schemas"]["CreateUpload"]["properties"]["size"] = {"enum": [len(CONTENT)]}
    create = described["paths"][native.MOUNT]["post"]  # with a key that comes again most of them would be no new one
    create["parameters"] = [each for each in create["parameters"] if each.get("name") != "Idempotency-Key"]
    del create["requestBody"]["content"]["application/json"]["examples"]
    chunk = described["paths"][ONE]["patch"]
    fitting = {"Content-Range": "bytes 0-9/10", **md5(CONTENT), "Content-Digest": DIGEST, "Repr-Digest": DIGEST}
    for each in chunk["parameters"]:
        if each.get("name") in fitting:
            each["schema"] = {"enum": [fitting[each["name"]]]}
            del each["example"]
    chunk["requestBody"]["content"][native.ACCEPTED]["schema"] = {"enum": [CONTENT.decode()]}
    links = described["paths"][native.MOUNT]["post"]["responses"]["201"]["links"]
    links["send"]["parameters"]["header.Content-Range"] = "bytes 0-9/10"
    return described


def test_every_answer_is_one_that_is_described_and_none_is_a_5xx(tmp_path: Path) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(narrowed()))
    with development(tmp_path / "service", max_upload_size=len(CONTENT)) as service:
        command = [*SCHEMATHESIS, "run", str(document), "--url", service.url]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    print(run.stdout, run.stderr)
    assert run.returncode == 0


def test_an_upload_is_described_from_its_creation_to_its_image(client: Client) -> None:
    digests = {"sha256": hashlib.sha256(CONTENT).hexdigest()}
    created = checked(client.create(len(CONTENT), digests=digests), native.MOUNT)
    url = created.headers["Location"]
    assert checked(client.request("POST", f"{url}/ticket"), TICKET).json().keys() == created.json()["ticket"].keys()
    checked(client.request("DELETE", f"{url}/ticket"), TICKET)
    old = Client(client.url, {"Authorization": f"Bearer {created.json()['ticket']['value']}"})
    assert reason(checked(old.request("GET", url), ONE)) == "ticket-expired"
    assert reason(checked(old.request("POST", f"{url}/ticket"), TICKET)) == "forbidden"
    checked(client.send(url, CONTENT, 5, 10), ONE)
    assert checked(client.request("GET", url), ONE).json()["ranges"] == [[5, 9]]
    assert "Upload-Ranges" in checked(client.request("HEAD", url), ONE).headers
    assert checked(client.request("GET", client.url + native.MOUNT), native.MOUNT).json()["uploads"]
    checked(client.send(url, CONTENT, 0, 5, md5(CONTENT[:5])), ONE)
    zeros = {"Content-Range": "bytes 5-9/10", "Content-Type": native.ZEROS}
    assert reason(checked(client.request("PATCH", url, headers=zeros), ONE)) == "different-bytes"
    client.wait(url, "active")
    assert checked(client.request("GET", url), ONE).json()["hashes"]
    watched = checked(client.request("GET", f"{url}/events"), EVENTS)  # nothing follows: so it ends
    assert watched.headers["Content-Type"].startswith("text/event-stream")
    sealed = checked(client.request("DELETE", url), ONE)
    assert (sealed.status_code, sealed.headers["Upload-State"]) == (409, "active")


def test_an_upload_that_has_failed_is_described(client: Client) -> None:
    url = client.created(len(CONTENT), digests={"md5": "0" * 32})
    client.send(url, CONTENT, 0, 10)
    client.wait(url, "failed")
    assert checked(client.request("GET", url), ONE).json()["handoff"]["last_error"]["reason"] == "digest-mismatch"
    assert reason(checked(client.request("POST", f"{url}/retry"), f"{ONE}/retry")) == "retry-useless"
    assert checked(client.request("DELETE", url), ONE).status_code == 204
    assert reason(checked(client.request("GET", url), ONE)) == "upload-cancelled"
    assert reason(checked(client.request("POST", f"{url}/retry"), f"{ONE}/retry")) == "upload-cancelled"
    assert reason(checked(client.request("GET", f"{url}/events"), EVENTS)) == "upload-cancelled"


def test_a_receipt_and_the_keys_are_described(client: Client) -> None:
    url = client.created(len(CONTENT))
    assert reason(checked(client.request("GET", f"{url}/receipt"), f"{ONE}/receipt")) == "upload-unfinished"
    client.send(url, CONTENT, 0, 10)
    client.wait(url, "active")
    receipt = checked(client.request("GET", f"{url}/receipt"), f"{ONE}/receipt").json()
    assert checked(client.request("HEAD", f"{url}/receipt"), f"{ONE}/receipt").status_code == 200
    keys = checked(client.request("GET", f"{client.url}/v1/keys"), "/v1/keys").json()
    assert verify(receipt.pop("jws"), keys) == receipt


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/stores", "/v1/identity"])
def test_the_stores_and_the_identity_are_described(client: Client, path: str, method: str) -> None:
    assert checked(client.request(method, client.url + path), path).status_code == 200


def test_another_try_is_described(client: Client) -> None:
    url = client.created(len(CONTENT))
    assert reason(checked(client.request("POST", f"{url}/retry"), f"{ONE}/retry")) == "upload-unfinished"
    assert reason(checked(client.request("POST", f"{url}/retry", data=b"{}"), f"{ONE}/retry")) == "malformed-request"
    client.send(url, CONTENT, 0, 10)
    client.wait(url, "active")
    assert checked(client.request("POST", f"{url}/retry"), f"{ONE}/retry").json()["state"] == "active"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/healthcheck", "/healthcheck/ready"])
def test_health_is_described(client: Client, path: str, method: str) -> None:
    assert checked(client.request(method, client.url + path), path).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", native.MOUNT])
def test_the_capabilities_are_described(client: Client, method: str, path: str) -> None:
    assert checked(client.request(method, client.url + path), path).status_code == 200


@pytest.mark.parametrize(
    ("size", "expected"), [(LARGEST, "no-scratch-space"), (LARGEST + 1, "upload-too-large"), (-1, "malformed-request")]
)
def test_a_refused_creation_is_described(client: Client, size: int, expected: str) -> None:
    assert reason(checked(client.create(size), native.MOUNT)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Range": "bytes 0-4/11"}, "wrong-total"),
        ({"Content-Range": "bytes 0-3/10"}, "body-too-long"),
        ({"Content-Range": "bytes 0-5/10"}, "body-too-short"),
        ({"Content-Range": "bytes 5-9/10"}, "different-bytes"),
        ({"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, "chunk-digest-mismatch"),
        ({"Content-Digest": "crc32c=:AAAAAA==:"}, "unsupported-digest"),
        ({"Content-Type": "image/png"}, "unsupported-media-type"),
        ({"Content-Encoding": "gzip"}, "unsupported-content-encoding"),
    ],
)
def test_a_refused_chunk_is_described(client: Client, headers: dict[str, str], expected: str) -> None:
    url = client.created(len(CONTENT))
    client.send(url, CONTENT, 5, 10)
    assert reason(checked(client.send(url, CONTENT, 0, 5, headers), ONE)) == expected


def test_a_refused_identity_is_described(tmp_path: Path) -> None:
    keystone = {"auth_type": "password", "auth_url": "http://127.0.0.1:1", "username": "u", "password": "p"}
    with Service(
        tmp_path,
        {
            "DEFAULT": {"image_service": "directory", "image_directory": tmp_path / "images"},
            "keystone_authtoken": keystone,
        },
    ) as service:
        for headers, expected in [({}, "unauthenticated"), ({"X-Auth-Token": "t"}, "identity-unavailable")]:
            answer = Client(service.url, headers).request("GET", service.url + native.MOUNT)
            assert reason(checked(answer, native.MOUNT)) == expected
