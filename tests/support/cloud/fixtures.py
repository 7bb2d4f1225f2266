"""The cloud as a pytest fixture: `pytest_plugins = ["tests.support.cloud.fixtures"]` in the top conftest.py."""

import shutil
from collections.abc import Iterator

import pytest

from tests.support.cloud import Cloud, start


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One Keystone and one Glance for all tests. Who stops one of them starts it again."""
    with start(directory=tmp_path_factory.mktemp("cloud")) as running:
        yield running
    # pytest keeps the directories of the last runs. The logs are welcome there, gigabytes of images are not.
    shutil.rmtree(running.directory / "stores")
