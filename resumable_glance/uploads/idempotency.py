"""A creation that is asked for again, since its answer was lost: with the same key it is the same upload.

(draft-ietf-httpapi-idempotency-key-header.) A key is its owner's, and stands for an upload until that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import weakref
from collections.abc import AsyncIterator, Callable

from resumable_glance.catalog import schema
from resumable_glance.catalog.records import Claim
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Create
from resumable_glance.model.states import State
from resumable_glance.model.upload import Owner, Upload


def idempotency_key_of(create: Create, owner: Owner) -> Claim | None:
    """What stands for a creation; None if it has no key. The first chunk may come along once, and not again."""
    if create.key is None:
        return None
    image = create.image
    if image is not None:
        image = dataclasses.replace(image, properties=dict(sorted(image.properties.items())))
    asked = dataclasses.replace(create, key=None, first=None, image=image)
    return Claim(owner, _digest(create.key), _digest(repr(asked)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class IdempotencyKeys:
    """`seen` gives an upload as its owner sees it."""

    def __init__(self, catalog: Catalog, seen: Callable[[Upload], Upload]) -> None:
        self._catalog = catalog
        self._seen = seen
        self._creating: weakref.WeakValueDictionary[tuple[Owner, str], asyncio.Lock] = weakref.WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def held(self, claim: Claim | None) -> AsyncIterator[Upload | None]:
        """Inside, nobody else creates with this key. Gives the upload that was created with it before.

        Refused: KEY_REUSED if that was another one than is asked for now.
        """
        if claim is None:
            yield None
            return
        lock = self._creating.setdefault((claim.owner, claim.key), asyncio.Lock())
        async with lock:
            yield await self._earlier(claim)

    async def _earlier(self, claim: Claim) -> Upload | None:
        table, uploads = schema.claims, schema.uploads
        query = (
            uploads.select()
            .add_columns(table.c.asked)
            .join(table, table.c.upload_id == uploads.c.id)
            .where(table.c.project_id == claim.owner.project_id, table.c.user_id == claim.owner.user_id)
            .where(table.c.idempotency_key == claim.key)
        )
        row = await self._catalog.run(lambda db: db.execute(query).one_or_none())
        upload = None if row is None else self._seen(schema.upload_of(row))
        if row is None or upload is None or upload.state in {State.CANCELLED, State.EXPIRED}:
            return None
        if row.asked != claim.asked:
            raise Refused(
                Reason.KEY_REUSED,
                "This Idempotency-Key has created another upload. Use a new key for each upload, and the same one only "
                "to ask for the same upload again.",
            )
        return upload
