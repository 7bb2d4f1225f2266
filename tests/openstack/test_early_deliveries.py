"""Uploads that the real Glance is given while they still come: active once, and the file, whatever happens."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloud import DEMO, Cloud
from tests.support.service import Service, beside
from tests.support.wire import Client, md5

pytestmark = pytest.mark.openstack
MIB = 1024 * 1024
CONTENT = random.Random(4).randbytes(24 * MIB)
SIZE = len(CONTENT)


@pytest.fixture(scope="module")
def following_service(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that follows uploads of any size."""
    made = beside(cloud, tmp_path_factory.mktemp("following"))
    with made.configuration.open("a") as file:
        file.write("[handoff]\nearly_minimum_size = 0\n")
    with made:
        yield made


@pytest.fixture
def demo(cloud: Cloud, following_service: Service) -> Client:
    return Client(following_service.url, {"X-Auth-Token": cloud.token(DEMO)})


def send(client: Client, url: str, start: int, stop: int) -> None:
    for first in range(start, stop, 4 * MIB):
        last = min(first + 4 * MIB, stop)
        assert client.send(url, CONTENT, first, last, md5(CONTENT[first:last])).status_code == 204


def image_of(cloud: Cloud, upload: dict[str, Any]) -> Any:
    return cloud.glance(DEMO).images.get(upload["image"]["id"])


def begun(client: Client, url: str, delivered: int) -> dict[str, Any]:
    """The upload once Glance was given so many bytes of it."""
    deadline = time.monotonic() + 30
    while (upload := client.show(url))["handoff"]["delivered"] < delivered:
        assert time.monotonic() < deadline, upload
        time.sleep(0.05)
    assert upload["state"] == "receiving"
    return upload


def is_the_file(cloud: Cloud, upload: dict[str, Any]) -> None:
    image = image_of(cloud, upload)
    assert (image.status, image.size) == ("active", SIZE)
    assert image.os_hash_value == hashlib.sha512(CONTENT).hexdigest()
    assert upload["image"]["id"] in {each.id for each in cloud.glance(DEMO).images.list()}


def test_glance_has_most_bytes_before_the_last_chunk(cloud: Cloud, demo: Client) -> None:
    url = demo.created(SIZE)
    send(demo, url, 0, 20 * MIB)
    assert image_of(cloud, begun(demo, url, 15 * MIB)).status == "saving"
    time.sleep(6)  # longer than uWSGI waits for the next byte of a body
    send(demo, url, 20 * MIB, SIZE)
    upload = demo.wait(url, "active")
    assert upload["handoff"]["attempts"] == 1
    is_the_file(cloud, upload)


def test_an_early_delivery_that_was_killed_is_repeated(cloud: Cloud, demo: Client, following_service: Service) -> None:
    url = demo.created(SIZE)
    send(demo, url, 0, 20 * MIB)
    begun(demo, url, 10 * MIB)
    following_service.kill()
    following_service.start()
    send(demo, url, 20 * MIB, SIZE)
    is_the_file(cloud, demo.wait(url, "active"))


def test_a_cancelled_early_delivery_leaves_nothing(cloud: Cloud, demo: Client, following_service: Service) -> None:
    url = demo.created(SIZE)
    send(demo, url, 0, 20 * MIB)
    upload = begun(demo, url, 10 * MIB)
    assert demo.request("DELETE", url).status_code == 204
    deadline = time.monotonic() + 90  # the cleaner comes once a minute, where Glance was busy
    while upload["image"]["id"] in {each.id for each in cloud.glance(DEMO).images.list()}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert not list((Path(following_service.directory) / "scratch" / "uploads").iterdir())
