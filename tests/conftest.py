"""Fixtures that many tests share. What each kind of test is for, and where a new one goes: CONTRIBUTING.md."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.cloud import Cloud
from tests.service import Service, beside, development

pytest_plugins = ["tests.cloud.fixtures", "tests.node", "tests.browser"]

# A shell that runs us in the background lets us, and whomever we start, ignore Ctrl-C; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.load_profile("default")


# While one process runs these, which take long and need no cloud or one of their own, another one runs all the others.
ASIDE = {
    "test_tus_in_browser", "test_tus_js_client", "test_tus_clients", "test_openapi",
    "test_ietf_curl", "test_ietf_http", "test_js_browser", "test_js_client", "test_page", "test_examples",
    "test_horizon", "test_horizon_package",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With --dist=loadgroup, a cloud or a service that tests share is started once. Trials share nothing."""
    for item in items:
        if item.path.stem != "test_reliability":
            item.add_marker(pytest.mark.xdist_group("aside" if item.path.stem in ASIDE else "main"))


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
