"""Fixtures that many tests share. What each kind of test is for, and where a new one goes: CONTRIBUTING.md."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.cloud import Cloud
from tests.support.service import Service, beside, development

pytest_plugins = ["tests.support.cloud.fixtures", "tests.support.node", "tests.support.browser"]

# A shell that runs us in the background lets us, and whomever we start, ignore Ctrl-C; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.load_profile("default")


# Tests of a kind that share a cloud or a browser stay in one process; two kinds run side by side.
GROUPS = {"openstack": "openstack", "http": "openstack", "browser": "clients", "clients": "clients"}


class KindScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Sends all tests of a group to one process, and others by their files.

    Not by xdist's own groups (--dist=loadgroup): xdist 3.8 loses them with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return GROUPS.get(file.split("/")[1], file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> KindScheduling:
    """Schedule tests for --numprocesses."""
    return KindScheduling(config, log)


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
