"""Fixtures that many tests share. What each kind of test is for, and where a new one goes: CONTRIBUTING.md."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.cloud import Cloud
from tests.support.service import Service, beside, development

pytest_plugins = ["tests.support.cloud.fixtures", "tests.support.node", "tests.support.browser"]

# A shell that runs us in the background lets us, and whomever we start, ignore Ctrl-C; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.load_profile("default")


# Tests of a kind that share a cloud or a browser stay in one process; two kinds run side by side.
GROUPS = {"openstack": "openstack", "http": "openstack", "browser": "clients", "clients": "clients"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the group of its kind, for --dist=loadgroup; unit tests and trials share nothing."""
    for item in items:
        kind = item.path.relative_to(Path(__file__).parent).parts[0]
        if kind in GROUPS:
            item.add_marker(pytest.mark.xdist_group(GROUPS[kind]))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Our service without OpenStack."""
    with development(tmp_path / "service") as running:
        yield running


@pytest.fixture(scope="module")
def glance_service(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Our service beside the real Keystone and Glance."""
    with beside(cloud, tmp_path_factory.mktemp("service")) as running:
        yield running
