"""Handoffs free storage and tokens, and wait while storage can't be read."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

from resumable_glance.auth.base import Identity
from resumable_glance.model.commands import Create, Created
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, require
from tests.support.rig import CONTENT, IMAGE, ME, SIZE, Pieces, rig


def test_the_owners_credential_is_erased_after_the_handoff(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            me = Identity(ME.owner, token="secret")
            outcome = await here.uploads.perform(Create(0, IMAGE), me, Pieces())
            assert isinstance(outcome, Created)
            kept = await here.catalog.uploads.credential(outcome.upload.id)
            assert kept is not None
            assert b"secret" not in kept.ciphertext
            assert here.cipher.decrypt(kept.ciphertext) == "secret"
            await here.reaches(outcome.upload.id, State.ACTIVE)
            assert await here.catalog.uploads.credential(outcome.upload.id) is None

    asyncio.run(scenario())


def test_storage_is_freed_once_the_image_is_active(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            assert await here.files() == {upload_id}
            await here.reaches(upload_id, State.ACTIVE)
            upload = (await here.inspect(upload_id)).upload
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT
            assert await here.files() == set()

    asyncio.run(scenario())


def test_unreadable_storage_delays_a_handoff(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            here.storage.faults["reader"] = errno.EMFILE
            await here.send(upload_id, 0, SIZE)
            async with here.handing_over():
                upload = await here.until(upload_id, lambda upload: upload.delivery.last_error)
            error = require(upload.delivery.last_error)
            assert (upload.state, error.reason) == (State.SEALED, FailureReason.SCRATCH_UNREADABLE)
            assert str(tmp_path) not in error.detail
            here.now += 3600
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())
