"""Orphaned images: each by itself, and the first to be removed comes first."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.orphans import ImageOrphaned, OrphanedImage
from resumable_glance.model.states import Event, State
from resumable_glance.model.upload import (
    Delivery,
    FailureReason,
    Image,
    ImageRequest,
    LastError,
    Owner,
    require,
)
from tests.support.records import ALICE, credential, upload, wait

ONE = OrphanedImage(Image("image-1"), Owner("project", "alice"), credential("closed"))
OTHER = OrphanedImage(Image("image-2"), Owner("another", "bob"), None)


def test_an_orphan_is_given_back_with_owner_and_credential(catalog: Catalog) -> None:
    async def scenario() -> list[OrphanedImage]:
        await catalog.orphans.expect(ONE, 1000.0, 2000.0)
        return await catalog.orphans.due(2000.0)

    assert asyncio.run(scenario()) == [ONE]


def test_orphans_come_in_the_order_of_their_times(catalog: Catalog) -> None:
    async def scenario() -> list[OrphanedImage]:
        await catalog.orphans.expect(ONE, 1000.0, 2000.0)
        await catalog.orphans.expect(OTHER, 1000.0, 1500.0)
        return await catalog.orphans.due(3000.0)

    assert asyncio.run(scenario()) == [OTHER, ONE]


def test_an_image_orphaned_again_is_due_later(catalog: Catalog) -> None:
    async def scenario() -> list[OrphanedImage]:
        for due_at in (2000.0, 3000.0):
            await catalog.orphans.expect(ONE, 1000.0, due_at)
        assert await catalog.orphans.due(2999.9) == []
        return await catalog.orphans.due(3000.0)

    assert asyncio.run(scenario()) == [ONE]


@pytest.mark.parametrize(("forget_before", "left"), [(1000.0, [ONE, OTHER]), (1000.1, [OTHER])])
def test_an_orphan_is_forgotten_only_after_its_time(
    catalog: Catalog, forget_before: float, left: list[OrphanedImage]
) -> None:
    async def scenario() -> list[OrphanedImage]:
        await catalog.orphans.expect(ONE, 1000.0, 1500.0)
        await catalog.orphans.expect(OTHER, 900.0, 2000.0)
        await catalog.orphans.postpone("image-1", 1600.0, forget_before)
        assert await catalog.orphans.due(1599.9) == []
        return await catalog.orphans.due(3000.0)

    assert asyncio.run(scenario()) == left


@pytest.mark.parametrize(("due_at", "added"), [(1000.0, False), (1000.1, True), (None, False)])
def test_an_upload_of_an_orphaned_image_is_not_added(catalog: Catalog, due_at: float | None, added: bool) -> None:
    made = upload(created_at=1000.0, request=ImageRequest())
    if due_at is not None:
        wait(catalog.orphans.expect(OrphanedImage(require(made.image), ALICE, None), 900.0, due_at))
    if not added:
        with pytest.raises(ImageOrphaned):
            wait(catalog.uploads.add(made, None))
        assert wait(catalog.uploads.get(made.id)) is None
        return
    wait(catalog.uploads.add(made, None))
    assert wait(catalog.orphans.due(2000.0)) == []


def left(catalog: Catalog) -> list[str]:
    """The images that are to be removed by 1500."""
    return sorted(each.image.id for each in wait(catalog.orphans.due(1500.0)))


@pytest.mark.parametrize("image", [None, Image("made"), Image("adopted", adopted=True)])
def test_a_rejected_uploads_image_is_orphaned_if_we_made_it(catalog: Catalog, image: Image | None) -> None:
    made, trouble = upload(image=image), LastError(FailureReason.UNSAFE_IMAGE, "Detail.")
    wait(catalog.uploads.add(made, None))
    failed = wait(catalog.uploads.reject(made.id, 1234.0, trouble))
    assert failed == dataclasses.replace(made, state=State.FAILED, updated_at=1234.0).with_delivery(last_error=trouble)
    assert wait(catalog.uploads.get(made.id)) == failed
    assert left(catalog) == (["made"] if image == Image("made") else [])


def test_an_abandoned_successor_is_orphaned(catalog: Catalog) -> None:
    made, without = upload(state=State.DELIVERING, delivery=Delivery(successor="new")), upload(state=State.DELIVERING)
    for each in (made, without):
        wait(catalog.uploads.add(each, None))
        wait(catalog.uploads.abandon_successor(each.id, 1234.0))
        assert wait(catalog.uploads.get(each.id)) == each.with_delivery(successor=None)
    assert left(catalog) == ["new"]


def test_an_expired_uploads_image_is_orphaned_with_its_credential(catalog: Catalog) -> None:
    made = upload(expires_at=2000.0)
    wait(catalog.uploads.add(made, credential("stored")))
    assert wait(catalog.uploads.end(made.id, Event.EXPIRED, 2000.0))
    (orphan,) = wait(catalog.orphans.due(2000.0))
    assert orphan.credential == credential("stored")


def test_a_cancelled_uploads_image_keeps_the_given_credential(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, credential("stored")))
    assert wait(catalog.uploads.end(made.id, Event.CANCELLED, 1500.0, credential("fresh")))
    (orphan,) = wait(catalog.orphans.due(1500.0))
    assert orphan.credential == credential("fresh")
