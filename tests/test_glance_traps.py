"""What Glance does to the unwary, each trap by its number, and that we are not caught: docs/glance-traps.md."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud import DEMO, Cloud
from tests.service import Service, beside
from tests.wire import RAW, Client

pytestmark = pytest.mark.openstack
MIB = 1024 * 1024
CONTENT = random.Random(8).randbytes(2 * MIB + 5)
LONG = random.Random(9).randbytes(192 * MIB)


@pytest.fixture(scope="module")
def hasty(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Our service, which takes an image for stuck after a second."""
    service = beside(cloud, tmp_path_factory.mktemp("hasty"))
    service.configuration.write_text(
        service.configuration.read_text() + "[handoff]\nsettling_time = 1\nsaving_time = 5\n"
    )
    with service:
        yield service


@pytest.fixture
def demo(cloud: Cloud, hasty: Service) -> Client:
    return Client(hasty.url, {"X-Auth-Token": cloud.token(DEMO)})


def sealed(client: Client, content: bytes, **more: Any) -> str:
    url = client.created(len(content), **more)
    assert client.send(url, content, 0, len(content)).status_code == 204
    return url


def begun(client: Client, url: str) -> dict[str, Any]:
    """The upload once Glance has been given some of its bytes."""
    deadline = time.monotonic() + 30
    while (upload := client.show(url))["handoff"]["delivered"] < 8 * MIB or upload["state"] != "delivering":
        assert time.monotonic() < deadline, upload
        time.sleep(0.02)
    return upload


def the_only_one(cloud: Cloud, upload: dict[str, Any], content: bytes) -> Any:
    """The image of an upload that is active: no other one has its name, and it is the file."""
    found = [each for each in cloud.glance(DEMO).images.list() if each.name == upload["image"]["name"]]
    assert [each.id for each in found] == [upload["image"]["id"]]
    assert (found[0].status, found[0].size) == ("active", len(content))
    assert found[0].os_hash_value == hashlib.sha512(content).hexdigest()
    return found[0]


def test_t3_an_image_whose_place_in_the_store_is_taken_is_replaced(cloud: Cloud, demo: Client) -> None:
    """As after a 415: the bytes that were refused stay, and whatever comes next is answered 500."""
    described = {**RAW, "name": "t3", "min_ram": 7, "protected": True, "tags": ["x"], "properties": {"os_distro": "a"}}
    url = demo.created(len(CONTENT), image=described)
    old = demo.show(url)["image"]["id"]
    (cloud.directory / "stores" / "fast" / old).write_bytes(b"refused")
    assert demo.send(url, CONTENT, 0, len(CONTENT)).status_code == 204
    upload = demo.wait(url, "active")
    assert upload["image"]["replaced"] == [old]
    image = the_only_one(cloud, upload, CONTENT)
    assert (image.min_ram, image.protected, list(image.tags), image.os_distro) == (7, True, ["x"], "a")


def test_t10_an_image_that_a_killed_glance_left_saving_is_replaced(cloud: Cloud, demo: Client) -> None:
    url = sealed(demo, LONG, image={**RAW, "name": "t10"})
    old = begun(demo, url)["image"]["id"]
    cloud.kill_glance()
    cloud.start_glance()
    assert cloud.glance(DEMO).images.get(old).status == "saving"
    upload = demo.wait(url, "active", seconds=120)
    assert upload["image"]["replaced"] == [old]
    the_only_one(cloud, upload, LONG)
