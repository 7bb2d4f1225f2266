"""Records of uploads for tests of the catalog."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable
from typing import TypeVar

from resumable_glance.catalog.credentials import Credential
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, Image, Owner, Upload

T = TypeVar("T")
ALICE, BOB = Owner("project", "alice"), Owner("project", "bob")
NUMBERS = itertools.count()


def upload(**changes: object) -> Upload:
    """A new upload of 100 bytes, one second younger than the one before."""
    number = next(NUMBERS)
    made = Upload(
        id=f"a-{number:032x}",
        owner=ALICE,
        size=100,
        state=State.RECEIVING,
        image=Image("11111111-2222-3333-4444-555555555555"),
        created_at=1000.0 + number,
        updated_at=1000.0,
        expires_at=2000.0,
    )
    changed = dataclasses.replace(made, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(changed, reserved=changed.size or 0)


def credential(token: str, expires_at: float = 9000.0) -> Credential:
    """A credential in place of an encrypted token."""
    return Credential(token.encode(), expires_at)


def extent(start: int, stop: int) -> Extent:
    return Extent(Range(start, stop), Digest("xxh3", start.to_bytes(8, "big")))


def wait(awaitable: Awaitable[T]) -> T:
    """Run an event loop until the awaitable has its result."""

    async def waiting() -> T:
        return await awaitable

    return asyncio.run(waiting())
