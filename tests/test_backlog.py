"""What the catalog has for the janitor: images that are to be removed, each by itself and whose turn is first first."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from resumable_glance.backlog import Backlog
from resumable_glance.catalog import Catalog
from resumable_glance.protocol.upload import Image, Owner
from resumable_glance.records import Leftover
from tests.rig import catalog_in

ONE = Leftover(Image("image-1"), Owner("project", "alice"), b"closed")
OTHER = Leftover(Image("image-2"), Owner("another", "bob"), None)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with contextlib.closing(catalog_in(tmp_path)) as opened:
        yield opened


def test_a_leftover_is_given_back_as_it_is_with_its_owner_and_credential(catalog: Catalog) -> None:
    async def scenario() -> list[Leftover]:
        await Backlog(catalog).expect(ONE, 1000.0, 2000.0)
        return await Backlog(catalog).leftovers(2000.0)

    assert asyncio.run(scenario()) == [ONE]


def test_the_leftover_whose_turn_is_first_comes_first(catalog: Catalog) -> None:
    async def scenario() -> list[Leftover]:
        await Backlog(catalog).expect(ONE, 1000.0, 2000.0)
        await Backlog(catalog).expect(OTHER, 1000.0, 1500.0)
        return await Backlog(catalog).leftovers(3000.0)

    assert asyncio.run(scenario()) == [OTHER, ONE]


@pytest.mark.parametrize(("forget_before", "left"), [(1000.0, [ONE, OTHER]), (1000.1, [OTHER])])
def test_a_leftover_is_given_up_alone_and_only_if_it_was_tried_since_before_a_time(
    catalog: Catalog, forget_before: float, left: list[Leftover]
) -> None:
    async def scenario() -> list[Leftover]:
        await Backlog(catalog).expect(ONE, 1000.0, 1500.0)
        await Backlog(catalog).expect(OTHER, 900.0, 2000.0)
        await Backlog(catalog).postpone("image-1", 1600.0, forget_before)
        assert await Backlog(catalog).leftovers(1599.9) == []
        return await Backlog(catalog).leftovers(3000.0)

    assert asyncio.run(scenario()) == left
