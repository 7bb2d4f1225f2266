"""What the catalog records of an instance and its clock."""

from __future__ import annotations

import asyncio
import dataclasses

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.credentials import Credential
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.model.states import State
from resumable_glance.model.upload import (
    Image,
    Owner,
    Upload,
)

ONE = OrphanedImage(Image("image-1"), Owner("project", "alice"), Credential(b"closed", 9000.0))


def test_a_set_clock_shifts_all_times_that_are_there(catalog: Catalog) -> None:
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
