"""The records of trusts: each upload and each owner has its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.model.states import Event, State
from resumable_glance.model.upload import Image, Owner, Upload
from tests.support.rig import catalog_in

T = TypeVar("T")
ALICE, BOB, CAROL = Owner("one", "alice"), Owner("one", "bob"), Owner("two", "alice")
UPLOAD = Upload(
    id="a-1", owner=ALICE, size=1, state=State.RECEIVING, image=None, created_at=1, updated_at=1, expires_at=10
)


def run(directory: Path, scenario: Callable[[Catalog], Awaitable[T]]) -> T:
    with contextlib.closing(catalog_in(directory)) as catalog:
        return asyncio.run(_awaited(scenario(catalog)))


async def _awaited(result: Awaitable[T]) -> T:
    return await result


def of(owner: Owner, number: int) -> Upload:
    return dataclasses.replace(UPLOAD, id=f"a-{number}", owner=owner)


def test_an_owner_has_the_newest_own_trust(tmp_path: Path) -> None:
    async def scenario(catalog: Catalog) -> list[str | None]:
        await catalog.trusts.add("old", of(ALICE, 1), 1)
        await catalog.trusts.add("new", of(ALICE, 2), 2)
        await catalog.trusts.add("of another user", of(BOB, 3), 3)
        await catalog.trusts.add("of another project", of(CAROL, 4), 4)
        return [await catalog.trusts.of_owner(each) for each in (ALICE, BOB, CAROL, Owner("two", "bob"))]

    assert run(tmp_path, scenario) == ["new", "of another user", "of another project", None]


def test_an_upload_has_the_newest_own_trust(tmp_path: Path) -> None:
    async def scenario(catalog: Catalog) -> list[str | None]:
        await catalog.trusts.add("new", of(ALICE, 1), 2)
        await catalog.trusts.add("old", of(ALICE, 1), 1)
        await catalog.trusts.add("other", of(ALICE, 2), 3)
        return [await catalog.trusts.of_upload(each) for each in ("a-1", "a-2", "a-3")]

    assert run(tmp_path, scenario) == ["new", "other", None]


def test_a_removed_trust_is_forgotten_and_no_other(tmp_path: Path) -> None:
    async def scenario(catalog: Catalog) -> list[str | None]:
        await catalog.trusts.add("one", of(ALICE, 1), 1)
        await catalog.trusts.add("other", of(ALICE, 2), 1)
        await catalog.trusts.remove("one")
        return [await catalog.trusts.of_upload(each) for each in ("a-1", "a-2")]

    assert run(tmp_path, scenario) == [None, "other"]


def test_a_trust_is_needless_once_its_upload_has_ended_and_its_owner_has_no_orphan(tmp_path: Path) -> None:
    async def scenario(catalog: Catalog) -> list[str]:
        for number, owner in enumerate((ALICE, BOB, CAROL, ALICE)):
            await catalog.uploads.add(of(owner, number), None)
            await catalog.trusts.add(f"trust {number}", of(owner, number), 1)
        for number in range(3):
            await catalog.uploads.end(f"a-{number}", Event.CANCELLED, 2)
        for owner in (BOB, CAROL):  # another user of Alice's project, and the same user in another project
            await catalog.orphans.expect(OrphanedImage(Image(f"image of {owner}"), owner, None), 1, 1)
        return await catalog.trusts.needless()

    assert run(tmp_path, scenario) == ["trust 0"]
