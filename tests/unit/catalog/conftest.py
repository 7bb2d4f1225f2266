"""The catalog that the tests of this directory share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from resumable_glance.catalog import Catalog
from tests.support.rig import catalog_in


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with contextlib.closing(catalog_in(tmp_path)) as opened:
        yield opened
