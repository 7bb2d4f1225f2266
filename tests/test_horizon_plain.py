"""Horizon as it is, without anything of ours, in a real browser: what our plugin must not break."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser
from tests.cloud import DEMO, Cloud, start
from tests.cloud.horizon import Horizon
from tests.dashboard import Dashboard
from tests.images import bootable_iso
from tests.process import free_ports

pytestmark = pytest.mark.openstack


@pytest.fixture(scope="module")
def port() -> int:
    """Where Horizon will be: Glance has to know its origin before."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def open_cloud(port: int) -> Iterator[Cloud]:
    """A cloud whose Glance takes uploads from Horizon's pages, and big pieces from glanceclient."""
    options = ["--chunked-input-limit=8388608"]
    with start(allowed_origin=f"http://127.0.0.1:{port}", uwsgi_options=options) as cloud:
        yield cloud


def image(cloud: Cloud, name: str, status: str = "active") -> Any:
    """The image of this name, once it is so."""
    deadline = time.monotonic() + 60
    while True:
        found = [each for each in cloud.glance(DEMO).images.list() if each.name == name]
        if found and found[0].status == status:
            return found[0]
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


@pytest.fixture(scope="module")
def chrome(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all of these tests; Horizon's sessions outlive its restarts."""
    with Browser(chromium, tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("horizon")


@pytest.mark.parametrize("mode", ["direct", "legacy"])
def test_a_plain_horizon_uploads_an_image(
    open_cloud: Cloud, port: int, chrome: Browser, place: Path, mode: str
) -> None:
    with Horizon(open_cloud, place, port, settings={"HORIZON_IMAGES_UPLOAD_MODE": mode}) as horizon:
        person = Dashboard(chrome, horizon, DEMO)
        person.open_images()
        person.begin_image(f"by {mode} upload", bootable_iso(), "iso")
        person.wait_for_dialog_to_close()
        person.image_row(f"by {mode} upload").wait_for()
        person.page.close()
    made = image(open_cloud, f"by {mode} upload")
    assert made.checksum == hashlib.md5(bootable_iso().read_bytes(), usedforsecurity=False).hexdigest()
