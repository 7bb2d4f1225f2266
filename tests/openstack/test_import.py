"""Staged, and imported into several stores of the real Glance: into all of them, or none, and exactly once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.fakes.bad_glance import BadGlance, Fault
from tests.support.cloud import DEMO, Cloud
from tests.support.service import Service, beside
from tests.support.wire import RAW, Client, reason

pytestmark = pytest.mark.openstack
CONTENT = random.Random(5).randbytes(3 * 1024 * 1024 + 5)
BOTH = ["fast", "archive"]


@pytest.fixture
def demo(cloud: Cloud, glance_service: Service) -> Client:
    return Client(glance_service.url, {"X-Auth-Token": cloud.token(DEMO)})


def sealed(client: Client, name: str, **more: Any) -> str:
    url = client.created(len(CONTENT), image={**RAW, "name": name}, **more)
    assert client.send(url, CONTENT, 0, len(CONTENT)).status_code == 204
    return url


def the_only_one(cloud: Cloud, upload: dict[str, Any], stores: list[str]) -> None:
    """One image has this name; it is the file, in each of these stores, and nothing is left of its way there."""
    found = [each for each in cloud.glance(DEMO).images.list() if each.name == upload["image"]["name"]]
    assert [each.id for each in found] == [upload["image"]["id"]]
    image = found[0]
    assert (image.status, image.size, sorted(image.stores.split(","))) == ("active", len(CONTENT), sorted(stores))
    assert image.os_hash_value == upload["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()
    for store in cloud.stores:
        kept = cloud.directory / "stores" / store / image.id
        assert kept.exists() is (store in stores)
        assert store not in stores or kept.read_bytes() == CONTENT
    for each in (image.id, *upload["image"]["replaced"]):
        assert not (cloud.directory / "stores" / "staging" / each).exists()


@pytest.mark.parametrize(
    ("said", "stores"),
    [
        ({"all_stores": True}, BOTH),
        ({"method": "import"}, ["fast"]),
    ],
)
def test_an_image_is_imported_into_the_stores_that_are_asked_for(
    cloud: Cloud, demo: Client, said: dict[str, Any], stores: list[str]
) -> None:
    url = sealed(demo, f"import-{json.dumps(said)}", **said)
    shown = demo.show(url)
    assert (shown["method"], shown["stores"]) == ("import", [] if said == {"method": "import"} else stores)
    upload = demo.wait(url, "active")
    the_only_one(cloud, upload, stores)
    assert (upload["image"]["replaced"], upload["handoff"]["attempts"]) == ([], 1)


def test_an_adopted_image_is_imported_too(cloud: Cloud, demo: Client) -> None:
    image = cloud.glance(DEMO).images.create(**{**RAW, "name": "import-adopted"})
    url = demo.created(len(CONTENT), image_id=image.id, stores=BOTH)
    assert demo.send(url, CONTENT, 0, len(CONTENT)).status_code == 204
    the_only_one(cloud, demo.wait(url, "active"), BOTH)


def test_the_stores_and_methods_of_the_cloud_are_told(cloud: Cloud, glance_service: Service, demo: Client) -> None:
    told = demo.request("GET", f"{demo.url}/v1/stores").json()
    assert {each["id"]: each["default"] for each in told["stores"]} == {"fast": True, "archive": False}
    assert "glance-direct" in told["import_methods"]
    assert reason(requests.get(f"{demo.url}/v1/stores", timeout=30)) == "unauthenticated"


def test_an_unknown_store_is_refused_with_those_that_there_are(cloud: Cloud, demo: Client) -> None:
    for said in ({"store": "tape"}, {"stores": ["fast", "tape"]}):
        answer = demo.create(1, image={**RAW, "name": "import-tape"}, **said)
        assert reason(answer) == "image-refused"
        assert "tape" in answer.json()["detail"]
        assert "fast, archive" in answer.json()["detail"]
    assert "import-tape" not in {each.name for each in cloud.glance(DEMO).images.list()}


def test_an_import_that_one_store_refuses_is_repeated(cloud: Cloud, demo: Client) -> None:
    """Glance keeps such an image `importing` for ever, with what was staged: another one takes its place."""
    archive = cloud.directory / "stores" / "archive"
    away = archive.rename(archive.with_name("away"))
    archive.write_text("no directory")
    try:
        url = sealed(demo, "import-foiled", stores=BOTH)
        deadline = time.monotonic() + 30
        while not (trouble := (upload := demo.show(url))["handoff"]["last_error"]):
            assert time.monotonic() < deadline, upload
            assert upload["state"] != "active"
            time.sleep(0.05)
        assert (trouble["reason"], "archive" in trouble["detail"]) == ("image-service-unavailable", True)
        old = upload["image"]["id"]
    finally:
        archive.unlink()
        away.rename(archive)
    upload = demo.wait(url, "active")
    assert old in upload["image"]["replaced"]
    the_only_one(cloud, upload, BOTH)


# When it goes wrong


@pytest.fixture(scope="module")
def fragile(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, BadGlance]]:
    """Our service before a Glance that misbehaves as it is told."""
    port = int(cloud.image_url.rpartition(":")[2])
    directory = tmp_path_factory.mktemp("fragile")

    def restart() -> None:
        service.kill()
        service.start()

    with BadGlance(port, cloud.directory / "stores" / "fast", cloud.kill_glance, restart) as bad:
        service = beside(cloud, directory, {"glance": {"endpoint_override": bad.url}})
        service.configuration.write_text(service.configuration.read_text() + "[handoff]\nabort_grace = 1\n")
        with service:
            yield service, bad


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("data", "reset", at=1024 * 1024), Fault("import", "kill-service")],
        [Fault("data", "lose"), Fault("import", "lose")],
    ],
)
def test_an_image_is_staged_and_imported_once(
    cloud: Cloud, fragile: tuple[Service, BadGlance], faults: list[Fault]
) -> None:
    service, bad = fragile
    name = f"import-{faults[1].what}"
    client = Client(service.url, {"X-Auth-Token": cloud.token(DEMO)})
    bad.schedule(name, faults)
    url = sealed(client, name, stores=BOTH)
    deadline = time.monotonic() + 60
    upload: dict[str, Any] = {}
    while upload.get("state") != "active":
        assert time.monotonic() < deadline, upload
        with contextlib.suppress(requests.ConnectionError):  # it may be killed right now
            upload = client.show(url)
        time.sleep(0.1)
    assert bad.left(name) == []
    the_only_one(cloud, upload, BOTH)
    assert upload["image"]["replaced"] == []


def test_where_no_import_is_offered_none_can_be_asked_for(cloud: Cloud, fragile: tuple[Service, BadGlance]) -> None:
    service, bad = fragile
    bad.imports = False
    try:
        client = Client(service.url, {"X-Auth-Token": cloud.token(DEMO)})
        answer = client.create(1, image={**RAW, "name": "import-none"}, all_stores=True)
        assert reason(answer) == "image-refused"
        assert "glance-direct" in answer.json()["detail"]
        assert client.request("GET", f"{client.url}/v1/stores").json()["import_methods"] == []
        url = client.created(1, store="archive")
        assert client.show(url)["method"] == "upload"
        client.request("DELETE", url)
    finally:
        bad.imports = True
