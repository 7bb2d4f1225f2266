"""Glance's quota of a project (unified limits in Keystone) is asked before a byte is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cloud import DEMO, Cloud, start
from tests.support.service import beside
from tests.support.wire import Client, md5, reason

pytestmark = pytest.mark.openstack
MIB = 1024 * 1024
LIMITS = {"image_size_total": 3, "image_stage_total": 3, "image_count_total": 2, "image_count_uploading": 10}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud where a project may have 3 MiB in 2 images."""
    with start(directory=tmp_path_factory.mktemp("limited"), limits=LIMITS) as running:
        yield running


@pytest.fixture
def demo(limited: Cloud, tmp_path: Path) -> Iterator[Client]:
    with beside(limited, tmp_path) as service:
        yield Client(service.url, {"X-Auth-Token": limited.token(DEMO)})
    for image in limited.glance(DEMO).images.list():
        limited.glance(DEMO).images.delete(image.id)


def test_an_image_over_quota_is_refused_before_it_is_made(limited: Cloud, demo: Client) -> None:
    answer = demo.create(3 * MIB + 1)
    assert (answer.status_code, reason(answer)) == (413, "over-quota")
    assert "4 MiB" in answer.json()["detail"]
    assert "3 MiB" in answer.json()["detail"]
    assert list(limited.glance(DEMO).images.list()) == []


def test_images_in_glance_count(demo: Client) -> None:
    content = b"x" * (2 * MIB)
    url = demo.created(len(content))
    assert demo.send(url, content, 0, len(content), md5(content)).status_code == 204
    demo.wait(url, "active")
    assert reason(demo.create(2 * MIB)) == "over-quota"
    assert demo.create(1 * MIB).status_code == 201


def test_one_image_too_many_is_refused_by_glance(demo: Client) -> None:
    for _ in range(LIMITS["image_count_total"]):
        demo.created(MIB)
    answer = demo.create(MIB)
    assert (answer.status_code, reason(answer)) == (413, "over-quota")


def test_an_image_that_is_adopted_has_to_fit_as_well(limited: Cloud, demo: Client) -> None:
    image = limited.glance(DEMO).images.create(name="mine", disk_format="raw", container_format="bare")
    assert reason(demo.create(4 * MIB, image_id=image.id)) == "over-quota"
    assert demo.create(3 * MIB, image_id=image.id).status_code == 201
