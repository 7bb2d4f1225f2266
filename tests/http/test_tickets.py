"""Tickets over HTTP, in every protocol."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support import tus_wire
from tests.support.launcher import token
from tests.support.rig import CONTENT, SIZE
from tests.support.service import Service, development
from tests.support.wire import Client, bearer, reason


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service at whose authenticator one has to say who one is."""
    origin = {"cors": {"allowed_origin": "https://horizon.example"}}
    service = development(tmp_path_factory.mktemp("service"), origin)
    service.module = "tests.support.launcher"
    with service:
        yield service


@pytest.fixture
def ada(served: Service) -> Client:
    return Client(served.url, token("ada"))


def ticketed(ada: Client, size: int = SIZE) -> tuple[str, Client]:
    """A new upload's URL, and somebody who has nothing but its ticket."""
    answer = ada.create(size)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"], Client(ada.url, bearer(answer.json()["ticket"]["value"]))


def test_a_ticket_uploads_in_each_protocol(ada: Client) -> None:
    url, holder = ticketed(ada)
    assert holder.send(url, CONTENT, 0, 1000).status_code == 204
    tus = url.replace("/v1/uploads/", "/v1/tus/")
    assert tus_wire.offset(holder, tus) == 1000
    assert tus_wire.send(holder, tus, 1000, CONTENT[1000:2000]).status_code == 204
    rufh = url.replace("/v1/uploads/", "/v1/rufh/")
    assert holder.request("HEAD", rufh).headers["Upload-Offset"] == "2000"
    last = {"Upload-Offset": "2000", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}
    assert holder.request("PATCH", rufh, last, data=CONTENT[2000:]).status_code == 201
    assert holder.wait(url, "active")["image"]["id"]


def test_only_a_token_tells_who_its_owner_is(ada: Client, served: Service) -> None:
    def told(client: Client) -> requests.Response:
        return client.request("GET", f"{client.url}/v1/identity")

    _, holder = ticketed(ada)
    digest = told(ada).json()["identity"]
    assert digest == told(Client(served.url, token("ada"))).json()["identity"]
    assert digest != told(Client(served.url, token("bob"))).json()["identity"]
    assert (told(holder).status_code, reason(told(holder))) == (403, "forbidden")
    assert reason(told(Client(served.url))) == "unauthenticated"


@pytest.mark.parametrize("path", ["/v1/uploads/", "/v1/tus/", "/v1/rufh/"])
def test_a_ticket_cancels_its_upload_in_each_protocol(ada: Client, path: str) -> None:
    url, holder = ticketed(ada)
    assert holder.request("DELETE", url.replace("/v1/uploads/", path), tus_wire.TUS).status_code == 204
    assert reason(ada.request("GET", url)) == "upload-cancelled"


def test_a_revoked_ticket_is_401_in_each_protocol(ada: Client) -> None:
    url, holder = ticketed(ada)
    assert ada.request("DELETE", f"{url}/ticket").status_code == 204
    for path in ("/v1/uploads/", "/v1/tus/", "/v1/rufh/"):
        answer = holder.request(
            "GET" if "tus" not in path else "DELETE", url.replace("/v1/uploads/", path), tus_wire.TUS
        )
        assert (answer.status_code, reason(answer)) == (401, "ticket-expired")
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    nonsense = Client(ada.url, bearer("nonsense")).request("GET", url)
    assert (nonsense.status_code, reason(nonsense)) == (401, "unauthenticated")


def test_a_new_ticket_continues(ada: Client) -> None:
    url, old = ticketed(ada)
    ada.request("DELETE", f"{url}/ticket")
    answer = ada.request("POST", f"{url}/ticket")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert Client(ada.url, bearer(answer.json()["value"])).send(url, CONTENT, 0, SIZE).status_code == 204
    for method in ("POST", "DELETE"):
        assert reason(old.request(method, f"{url}/ticket")) == "forbidden"
    assert reason(Client(ada.url, token("bob")).request("POST", f"{url}/ticket")) == "unknown-upload"


def test_cors_allows_tickets_and_shows_their_expiry(ada: Client) -> None:
    url, _ = ticketed(ada)
    origin = {"Origin": "https://horizon.example"}
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-range"}
    preflight = requests.options(url, headers={**origin, **asked}, timeout=10)
    assert preflight.ok
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    refused = requests.get(url, headers={**origin, **bearer("x")}, timeout=10)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://horizon.example"
    assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]


def test_no_ticket_is_written_to_disk_or_log(served: Service, ada: Client) -> None:
    url, holder = ticketed(ada)
    value = holder.headers["Authorization"].removeprefix("Bearer ")
    holder.send(url, CONTENT, 0, SIZE)
    holder.request("GET", f"{ada.url}/v1/uploads")  # refused
    holder.wait(url, "active")
    signature = value.rpartition(".")[2].encode()
    for path in served.directory.rglob("*"):
        assert not (path.is_file() and signature in path.read_bytes()), path


def test_development_mode_has_tickets(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        anyone = Client(service.url)
        url, holder = ticketed(anyone)
        other, _ = ticketed(anyone)
        assert reason(holder.request("GET", other)) == "unknown-upload"
        assert holder.send(url, random.Random(1).randbytes(SIZE), 0, SIZE).status_code == 204
        assert holder.wait(url, "active")
