"""What the catalog has for the janitor: images that are to be removed, each by itself and whose turn is first first."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.model.states import State
from resumable_glance.model.upload import Image, Owner, Upload
from tests.support.rig import catalog_in

ONE = OrphanedImage(Image("image-1"), Owner("project", "alice"), b"closed")
OTHER = OrphanedImage(Image("image-2"), Owner("another", "bob"), None)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with contextlib.closing(catalog_in(tmp_path)) as opened:
        yield opened


def test_a_leftover_is_given_back_as_it_is_with_its_owner_and_credential(catalog: Catalog) -> None:
    async def scenario() -> list[OrphanedImage]:
        await catalog.orphans.expect(ONE, 1000.0, 2000.0)
        return await catalog.orphans.due(2000.0)

    assert asyncio.run(scenario()) == [ONE]


def test_the_leftover_whose_turn_is_first_comes_first(catalog: Catalog) -> None:
    async def scenario() -> list[OrphanedImage]:
        await catalog.orphans.expect(ONE, 1000.0, 2000.0)
        await catalog.orphans.expect(OTHER, 1000.0, 1500.0)
        return await catalog.orphans.due(3000.0)

    assert asyncio.run(scenario()) == [OTHER, ONE]


def test_an_image_that_is_orphaned_again_is_due_at_the_later_time(catalog: Catalog) -> None:
    async def scenario() -> list[OrphanedImage]:
        for due_at in (2000.0, 3000.0):
            await catalog.orphans.expect(ONE, 1000.0, due_at)
        assert await catalog.orphans.due(2999.9) == []
        return await catalog.orphans.due(3000.0)

    assert asyncio.run(scenario()) == [ONE]


@pytest.mark.parametrize(("forget_before", "left"), [(1000.0, [ONE, OTHER]), (1000.1, [OTHER])])
def test_a_leftover_is_given_up_alone_and_only_if_it_was_tried_since_before_a_time(
    catalog: Catalog, forget_before: float, left: list[OrphanedImage]
) -> None:
    async def scenario() -> list[OrphanedImage]:
        await catalog.orphans.expect(ONE, 1000.0, 1500.0)
        await catalog.orphans.expect(OTHER, 900.0, 2000.0)
        await catalog.orphans.postpone("image-1", 1600.0, forget_before)
        assert await catalog.orphans.due(1599.9) == []
        return await catalog.orphans.due(3000.0)

    assert asyncio.run(scenario()) == left


def test_a_clock_that_was_set_takes_all_times_with_it_and_none_that_is_not_there(catalog: Catalog) -> None:
    stuck = Upload("a-1", ONE.owner, 1, State.DELIVERING, Image("i"), 1.0, 2.0, 3.0).with_delivery(stuck_at=0.5)
    free = dataclasses.replace(stuck, id="a-2").with_delivery(stuck_at=0.0)

    async def scenario() -> list[Upload | None]:
        for each in (stuck, free):
            await catalog.uploads.add(each, None)
        await catalog.instances.shift(100.0)
        return [await catalog.uploads.get(each.id) for each in (stuck, free)]

    later = {"created_at": 101.0, "updated_at": 102.0, "expires_at": 103.0}
    assert asyncio.run(scenario()) == [
        dataclasses.replace(stuck, **later).with_delivery(stuck_at=100.5), dataclasses.replace(free, **later)  # type: ignore[arg-type]
    ]  # fmt: skip
