"""Our format check and Glance's agree."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import images
from tests.support.cloud import DEMO, Cloud
from tests.support.images import MIB
from tests.support.inspected_images import CASES, Case
from tests.support.service import Service
from tests.support.wire import Client, md5, reason


@pytest.mark.openstack
def test_we_and_glance_accept_the_same_images(cloud: Cloud, glance_service: Service) -> None:
    client = Client(glance_service.url, {"X-Auth-Token": cloud.token(DEMO)})
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(lambda case: (ours(cloud, client, case), glances(cloud, client, case)), CASES))
    told = {case.name: said for case, said in zip(CASES, answers, strict=True)}
    assert told == {case.name: (str(case.refused or "taken"), "415" if case.refused else "taken") for case in CASES}


def ours(cloud: Cloud, client: Client, case: Case) -> str:
    """What comes of an image that is uploaded through us: taken, or why not."""
    content = case.make().read_bytes()
    url = client.created(len(content), image=described(case))
    answer = client.send(url, content, 0, len(content), md5(content))
    if answer.status_code == 422:
        return reason(answer)
    assert answer.status_code == 204, answer.text
    if case.refused is not None:
        return str(client.wait(url, "failed")["handoff"]["last_error"]["reason"])
    shown = client.wait(url, "active")
    address = f"{cloud.image_url}/v2/images/{shown['image']['id']}"
    image = client.request("GET", address).json()
    assert (image["disk_format"], image["virtual_size"]) == (case.declared, shown["format"]["virtual_size"])
    client.request("DELETE", address)
    return "taken"


def glances(cloud: Cloud, client: Client, case: Case) -> str:
    """What Glance itself says to an image that we would not give to it."""
    if case.refused is None:
        return "taken"  # by way of us
    images_of = f"{cloud.image_url}/v2/images"
    address = f"{images_of}/{client.request('POST', images_of, json=described(case)).json()['id']}"
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.request("PUT", f"{address}/file", headers, data=case.make().read_bytes())
    client.request("DELETE", address)
    return "taken" if answer.ok else str(answer.status_code)


def described(case: Case) -> dict[str, str]:
    return {"name": case.name, "disk_format": case.declared, "container_format": "bare"}


@pytest.mark.openstack
def test_a_detected_format_is_set_in_glance_before_the_bytes(cloud: Cloud, glance_service: Service) -> None:
    content = images.qcow2(8 * MIB).read_bytes()
    client = Client(glance_service.url, {"X-Auth-Token": cloud.token(DEMO)})
    url = client.created(len(content), image={"disk_format": "auto", "container_format": "bare"})
    waiting = cloud.glance(DEMO).images.get(client.show(url)["image"]["id"])
    assert (waiting.status, waiting.disk_format) == ("queued", None)
    client.send(url, content, 0, len(content), md5(content))
    image = cloud.glance(DEMO).images.get(client.wait(url, "active")["image"]["id"])
    assert (image.disk_format, image.min_disk, image.virtual_size) == ("qcow2", 1, 8 * MIB)
    cloud.glance(DEMO).images.delete(image.id)


@pytest.mark.openstack
def test_the_image_of_a_refused_upload_is_deleted_at_once(cloud: Cloud, glance_service: Service) -> None:
    client = Client(glance_service.url, {"X-Auth-Token": cloud.token(DEMO)})
    url = client.created(5 * MIB, image={"disk_format": "qcow2", "container_format": "bare"})
    image_id = client.show(url)["image"]["id"]
    assert reason(client.send(url, bytes(5 * MIB), 0, 5 * MIB)) == "format-mismatch"
    deadline = time.monotonic() + 10
    while any(each.id == image_id for each in cloud.glance(DEMO).images.list()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.show(url)["state"] == "failed"
