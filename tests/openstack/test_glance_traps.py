"""What Glance does to the unwary, each trap by its number, and that we are not caught: docs/glance-traps.md."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from resumable_glance.auth.keystone import service_session
from resumable_glance.images.base import PIECE, UNUSABLE, Actor, DeliveryFailed
from resumable_glance.images.glance.service import GlanceImageService
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, Owner
from resumable_glance.runtime import config
from tests.support.cloud import DEMO, Cloud
from tests.support.service import Service, beside
from tests.support.wire import RAW, Client

pytestmark = pytest.mark.openstack
MIB = 1024 * 1024
CONTENT = random.Random(8).randbytes(2 * MIB + 5)
LONG = random.Random(9).randbytes(96 * MIB)


@pytest.fixture(scope="module")
def hasty(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Our service, which takes an image for stuck after a second."""
    service = beside(cloud, tmp_path_factory.mktemp("hasty"))
    service.configuration.write_text(
        service.configuration.read_text() + "[handoff]\nabort_grace = 1\nglance_timeout = 5\n"
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


def test_t3_an_image_whose_store_location_is_taken_is_replaced(cloud: Cloud, demo: Client) -> None:
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


def test_t10_an_image_left_saving_by_a_killed_glance_is_replaced(cloud: Cloud, demo: Client) -> None:
    url = sealed(demo, LONG, image={**RAW, "name": "t10"})
    old = begun(demo, url)["image"]["id"]
    cloud.kill_glance()
    cloud.start_glance()
    assert cloud.glance(DEMO).images.get(old).status == "saving"
    upload = demo.wait(url, "active", seconds=120)
    assert upload["image"]["replaced"] == [old]
    the_only_one(cloud, upload, LONG)


# Towards Glance itself, without our service between


class Bytes:
    """A source that stalls for so many seconds once half of it is read, or ends there."""

    def __init__(self, content: bytes, *, stalls: float = 0, ends: bool = False) -> None:
        self._content = content[: len(content) // 2] if ends else content
        self._half = len(content) // 2
        self._position = 0
        self._stalls = stalls
        self.largest = 0

    def __len__(self) -> int:  # glanceclient would send nothing, if it were shown this
        return 0

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("it is read, and not iterated")

    def read(self, size: int = PIECE, /) -> bytes:
        if self._stalls and self._position >= self._half:
            time.sleep(self._stalls)
            self._stalls = 0
        piece = self._content[self._position : self._position + size]
        self._position += len(piece)
        self.largest = max(self.largest, len(piece))
        return piece


class Straight:
    """The image service as its service has it, and somebody for whom it acts."""

    def __init__(self, cloud: Cloud, service: Service) -> None:
        settings, conf = config.load([str(service.configuration)])
        session = cloud.session(DEMO)
        owner = Owner(str(session.get_project_id()), str(session.get_user_id()))
        self.actor = Actor(owner, cloud.token(DEMO))
        self.images = GlanceImageService(
            conf, service_session(conf), settings.handoff.workers, settings.handoff.glance_timeout
        )
        self._images = cloud.glance(DEMO).images

    def prepare(self, size: int, **properties: str) -> Image:
        return asyncio.run(self.images.prepare(ImageRequest({**RAW, **properties}), size, self.actor))

    def deliver(self, image: Image, size: int, source: Bytes) -> DeliveryFailed | None:
        """What it fails with."""
        try:
            asyncio.run(self.images.deliver(image, size, source, self.actor))
        except DeliveryFailed as failed:
            return failed
        return None

    def settled(self, image: Image) -> Any:
        """The image once Glance has noticed that nobody sends any more."""
        deadline = time.monotonic() + 30
        while (found := self._images.get(image.id)).status == "saving":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def straight(cloud: Cloud, hasty: Service) -> Straight:
    return Straight(cloud, hasty)


def test_t1_a_delivery_with_a_refused_token_is_not_sent_twice(cloud: Cloud, hasty: Service) -> None:
    straight = Straight(cloud, hasty)
    image = straight.prepare(len(CONTENT))
    cloud.revoke(str(straight.actor.token))
    failed = straight.deliver(image, len(CONTENT), Bytes(CONTENT))
    assert failed is not None
    assert (failed.error.reason, failed.final) == (FailureReason.TOKEN_EXPIRED, False)
    found = straight.settled(image)
    assert (found.status, found.size) == ("queued", None)


@pytest.mark.parametrize("content", [b"", CONTENT], ids=["nothing", "half of it"])
def test_t2_a_short_body_never_makes_an_image_active(straight: Straight, content: bytes) -> None:
    image = straight.prepare(len(CONTENT))
    assert straight.deliver(image, len(CONTENT), Bytes(content, ends=True)) is not None
    assert straight.settled(image).status == "queued"
    assert straight.deliver(image, len(CONTENT), Bytes(CONTENT)) is None
    assert straight.settled(image).os_hash_value == hashlib.sha512(CONTENT).hexdigest()


def test_t3_an_image_is_unusable_after_a_415(straight: Straight) -> None:
    image = straight.prepare(len(CONTENT), disk_format="qcow2")
    failed = straight.deliver(image, len(CONTENT), Bytes(CONTENT))
    assert failed is not None
    assert (failed.error.reason, failed.final, failed.suspicion) == (FailureReason.IMAGE_REFUSED, True, UNUSABLE)
    again = straight.deliver(image, len(CONTENT), Bytes(CONTENT))
    assert again is not None
    assert again.suspicion > 0
    assert straight.settled(image).status == "queued"


def test_t4_t7_glance_gets_small_pieces_of_a_plain_reader(straight: Straight) -> None:
    """By uWSGI with its own limits, which refuses a chunk of 1 MiB and its framing."""
    image, source = straight.prepare(len(CONTENT)), Bytes(CONTENT)
    assert straight.deliver(image, len(CONTENT), source) is None
    assert source.largest <= PIECE
    assert straight.settled(image).os_hash_value == hashlib.sha512(CONTENT).hexdigest()


def test_t5_a_delivery_that_stalls_past_uwsgis_timeout_is_repeated(straight: Straight) -> None:
    image = straight.prepare(len(LONG))
    failed = straight.deliver(image, len(LONG), Bytes(LONG, stalls=6))
    assert failed is not None
    assert not failed.final
    assert failed.suspicion < UNUSABLE
    assert straight.settled(image).status == "queued"
    assert straight.deliver(image, len(LONG), Bytes(LONG)) is None
    assert straight.settled(image).os_hash_value == hashlib.sha512(LONG).hexdigest()


# With our service between


def test_t6_glance_gets_nothing_of_a_small_incomplete_upload(cloud: Cloud, demo: Client) -> None:
    url = demo.created(len(CONTENT))
    assert demo.send(url, CONTENT, 0, MIB).status_code == 204
    assert demo.send(url, CONTENT, 2 * MIB, len(CONTENT)).status_code == 204
    image = cloud.glance(DEMO).images.get(demo.show(url)["image"]["id"])
    assert (image.status, image.size) == ("queued", None)
    assert demo.request("DELETE", url).status_code == 204


def test_t9_the_last_chunk_is_answered_without_glance(cloud: Cloud, demo: Client) -> None:
    url = demo.created(len(CONTENT))
    cloud.pause_glance()
    try:
        begun_at = time.monotonic()
        answer = demo.send(url, CONTENT, 0, len(CONTENT))
        assert (answer.status_code, time.monotonic() - begun_at < 10) == (204, True)
    finally:
        cloud.resume_glance()
    demo.wait(url, "active")


def test_t11_an_interrupted_delivery_is_repeated_into_the_image(cloud: Cloud, hasty: Service, demo: Client) -> None:
    url = sealed(demo, LONG, image={**RAW, "name": "t11"})
    begun(demo, url)
    hasty.kill()
    hasty.start()
    upload = demo.wait(url, "active", seconds=120)
    assert upload["image"]["replaced"] == []
    the_only_one(cloud, upload, LONG)


def test_t12_an_image_deleted_during_delivery_fails_the_upload(cloud: Cloud, demo: Client) -> None:
    url = sealed(demo, LONG, image={**RAW, "name": "t12"})
    old = begun(demo, url)["image"]["id"]
    cloud.glance(DEMO).images.delete(old)
    failed = demo.wait(url, "failed", seconds=120)
    assert failed["handoff"]["last_error"]["reason"] == "image-gone"
    assert demo.request("POST", f"{url}/retry").status_code == 200
    upload = demo.wait(url, "active", seconds=120)
    assert upload["image"]["replaced"] == [old]
    the_only_one(cloud, upload, LONG)
