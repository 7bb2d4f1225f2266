"""Idempotent creations: a repeated request with the same key gets the same upload.

See draft-ietf-httpapi-idempotency-key-header. A key belongs to its owner, and to an upload until that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import weakref
from collections.abc import AsyncIterator

from resumable_glance.catalog.idempotency_keys import IdempotencyKey, IdempotencyKeys
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Create
from resumable_glance.model.states import State
from resumable_glance.model.upload import Owner, Upload
from resumable_glance.uploads.authorization import Authorization


def key_of(create: Create, owner: Owner) -> IdempotencyKey | None:
    """Return the key of a creation, if it has one. The first chunk is left out: a repetition may come without it."""
    if create.key is None:
        return None
    image = create.image
    if image is not None:
        image = dataclasses.replace(image, properties=dict(sorted(image.properties.items())))
    request = dataclasses.replace(create, key=None, first=None, image=image)
    return IdempotencyKey(owner, _digest(create.key), _digest(repr(request)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Idempotency:
    """Finds uploads that were created with a key before."""

    def __init__(self, keys: IdempotencyKeys, authorization: Authorization) -> None:
        self._keys = keys
        self._authorization = authorization
        self._creating: weakref.WeakValueDictionary[tuple[Owner, str], asyncio.Lock] = weakref.WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def held(self, key: IdempotencyKey | None) -> AsyncIterator[Upload | None]:
        """Hold a key exclusively, and yield the upload created with it before.

        Raises Refused: KEY_REUSED if the earlier request was a different one.
        """
        if key is None:
            yield None
            return
        async with self._creating.setdefault((key.owner, key.key_digest), asyncio.Lock()):
            yield await self._earlier(key)

    async def _earlier(self, key: IdempotencyKey) -> Upload | None:
        if (found := await self._keys.find(key)) is None:
            return None
        upload, request_digest = self._authorization.effective(found[0]), found[1]
        if upload.state in {State.CANCELLED, State.EXPIRED}:
            return None
        if request_digest != key.request_digest:
            raise Refused(
                Reason.KEY_REUSED,
                "This Idempotency-Key belongs to another upload. Use a new key for each upload, and repeat one only to "
                "repeat its request.",
            )
        return upload
