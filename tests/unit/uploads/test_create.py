"""Uploads and their handoff with a clock of our own: what happens after days, and after our own crashes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import xxhash

from resumable_glance.api.http11.body import RequestBody
from resumable_glance.auth.base import Identity
from resumable_glance.catalog import Catalog
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import Actor
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.commands import Append, Cancel, Chunk, Create, Created, Get, List, Listed
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Extent, FailureReason, Image, Owner, Upload, require
from tests.fakes.memory_body import PATIENCE, MemoryReceiver
from tests.fakes.memory_storage import MemoryStorage
from tests.support.rig import CONTENT, DAY, IMAGE, ME, NOBODYS, SIZE, Pieces, Rig, Waiting, refusal, rig


def test_an_upload_that_nobody_continues_expires_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 10)
            here.now += 7 * DAY - 1
            await here.cleaner.tidy()
            assert (await here.inspect(upload_id)).upload.offset == 10
            here.now += 1
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED, "before anybody tidied up, too"
            await here.cleaner.tidy()
            assert await refusal(here.inspect(upload_id)) is Reason.EXPIRED
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.EXPIRED
            assert await refusal(here.uploads.perform(Cancel(upload_id), ME, Pieces())) is Reason.EXPIRED
            assert await here.files() == set()
            assert list(here.images.iterdir()) == [], "the queued image is left behind"

    asyncio.run(scenario())


def test_an_upload_that_somebody_is_sending_does_not_expire_under_their_hands(tmp_path: Path) -> None:
    class SlowReceiver(MemoryReceiver):
        async def next(self) -> bytes:
            here.now += 8 * DAY
            await here.cleaner.tidy()
            return await super().next()

    here: Rig

    async def scenario() -> None:
        nonlocal here
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            body = RequestBody(SlowReceiver([CONTENT]), PATIENCE)
            await here.uploads.perform(Append(upload_id, Chunk(0, SIZE), SIZE), ME, body)
            assert (await here.inspect(upload_id)).upload.state is State.SEALED

    asyncio.run(scenario())


def test_an_upload_that_was_continued_while_others_expired_does_not_expire(tmp_path: Path) -> None:
    class SlowSink(DirectoryImageService):
        """Takes its time to remove an image, as Glance does."""

        async def delete(self, image: Image, actor: Actor) -> None:
            await super().delete(image, actor)
            removing.set()
            await go_on.wait()

    removing, go_on = asyncio.Event(), asyncio.Event()

    async def scenario() -> None:
        async with rig(tmp_path, sink=SlowSink) as here:
            ids = [await here.create(), await here.create()]
            for upload_id in ids:
                await here.send(upload_id, 0, 10)
            here.now += 8 * DAY
            tidying = asyncio.create_task(here.cleaner.tidy())
            await removing.wait()
            stored = [await here.catalog.uploads.get(each) for each in ids]
            (other,) = [each.id for each in stored if each is not None and each.state is State.RECEIVING]
            # Its chunk began in time and is acknowledged now, after it was listed among those that nobody continued.
            extent = Extent(Range(10, 20), Digest("xxh3", xxhash.xxh3_64(CONTENT[10:20]).digest()))
            await here.catalog.uploads.commit(other, [extent], here.now, here.now + 7 * DAY)
            go_on.set()
            await tidying
            assert (await here.inspect(other)).upload.offset == 20
            assert await here.files() == {other}

    asyncio.run(scenario())


def test_an_upload_whose_scratch_is_gone_says_so_and_asks_for_no_more_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 10)
            await here.scratch.remove(upload_id)
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.LOST
            upload = (await here.inspect(upload_id)).upload
            assert upload.state is State.FAILED
            assert upload.delivery.last_error is not None
            assert upload.delivery.last_error.reason is FailureReason.SCRATCH_LOST
            assert await refusal(here.send(upload_id, 10, 20)) is Reason.LOST, "and not that it has all of its bytes"
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())

    asyncio.run(scenario())


def test_the_owners_credential_is_kept_no_longer_than_it_is_needed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            me = Identity(ME.owner, token="secret")
            outcome = await here.uploads.perform(Create(0, IMAGE), me, Pieces())
            assert isinstance(outcome, Created)
            kept = await here.catalog.uploads.credential(outcome.upload.id)
            assert kept is not None
            assert b"secret" not in kept
            assert here.vault.decrypt(kept) == "secret"
            await here.reaches(outcome.upload.id, State.ACTIVE)
            assert await here.catalog.uploads.credential(outcome.upload.id) is None

    asyncio.run(scenario())


def test_only_its_owner_can_read_the_catalog(tmp_path: Path) -> None:
    async def scenario() -> None:
        Catalog(Transactions(f"sqlite:///{tmp_path / 'catalog.sqlite'}")).close()
        async with rig(tmp_path) as here:
            await here.create()
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("catalog.sqlite*")}
            assert len(modes) > 1
            assert set(modes.values()) == {0o600}

    asyncio.run(scenario())


def test_every_new_byte_postpones_the_expiry(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            for number in range(5):
                here.now += 6 * DAY
                await here.cleaner.tidy()
                await here.send(upload_id, number * 10, number * 10 + 10)
            assert (await here.inspect(upload_id)).upload.offset == 50

    asyncio.run(scenario())


@pytest.mark.parametrize("years", [-1, 1])
def test_a_sealed_upload_never_expires_whatever_the_clock_does(tmp_path: Path, years: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            here.now += years * 365 * DAY
            await here.cleaner.tidy()
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_records_of_what_has_ended_are_kept_for_a_while_and_then_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create(0)
            await here.reaches(upload_id, State.ACTIVE)
            here.now += 29 * DAY
            await here.cleaner.tidy()
            assert (await here.inspect(upload_id)).upload.state is State.ACTIVE
            here.now += 2 * DAY
            await here.cleaner.tidy()
            assert await refusal(here.inspect(upload_id)) is Reason.UNKNOWN_UPLOAD

    asyncio.run(scenario())


def test_scratch_is_free_once_the_image_is_active(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            assert await here.files() == {upload_id}
            await here.reaches(upload_id, State.ACTIVE)
            upload = (await here.inspect(upload_id)).upload
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT
            async with asyncio.timeout(10):
                while await here.files():
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_start_frees_what_a_crash_left_on_scratch_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        scratch = MemoryStorage()
        async with rig(tmp_path, scratch) as here:
            unfinished, done = await here.create(), await here.create(0)
            await here.reaches(done, State.ACTIVE)
            await scratch.remove(done)
            await scratch.create(done, 0)  # killed between "active" and the removal
            await scratch.create("a-" + "0" * 32, 10)  # killed between the file and the catalog
            await here.cleaner.open()
            assert await here.files() == {unfinished}

    asyncio.run(scenario())


def test_another_owner_can_not_tell_an_upload_from_one_that_does_not_exist(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            for other in (Owner("project", "other"), Owner("other", "user")):
                for command in (Get(upload_id), Cancel(upload_id), Append(upload_id, Chunk(0, 10), SIZE)):
                    work = here.uploads.perform(command, Identity(other), Pieces(b"x" * 10))
                    assert await refusal(work) is Reason.UNKNOWN_UPLOAD
                assert await here.uploads.perform(List(10), Identity(other), Pieces()) == Listed(())
            assert (await here.inspect(upload_id)).upload.received == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("operation", "number", "expected"),
    [
        ("write", errno.ENOSPC, Reason.NO_SPACE),
        ("write", errno.EDQUOT, Reason.NO_SPACE),
        ("write", errno.EIO, Reason.SCRATCH_FAILED),
        ("sync", errno.EIO, Reason.SCRATCH_FAILED),
        ("sync", errno.ENOSPC, Reason.NO_SPACE),
    ],
)
def test_when_scratch_fails_what_was_acknowledged_stays_and_the_upload_goes_on(
    tmp_path: Path, operation: str, number: int, expected: Reason
) -> None:
    async def scenario() -> None:
        scratch = MemoryStorage()
        async with rig(tmp_path, scratch) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            scratch.faults[operation] = number
            assert await refusal(here.send(upload_id, 1000, SIZE)) is expected
            scratch.crash()
            assert (await here.inspect(upload_id)).durable == (Range(0, 1000),)
            await here.send(upload_id, 1000, SIZE)
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_when_the_disk_is_full_for_the_catalog_nothing_is_acknowledged_and_nothing_lost(tmp_path: Path) -> None:
    """SQLite itself says so here: it is forbidden to grow."""

    async def scenario() -> None:
        scratch = MemoryStorage()
        async with rig(tmp_path, scratch) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            pages = await here.catalog.transactions.write(
                lambda db: int(db.exec_driver_sql("PRAGMA page_count").scalar_one())
            )

            def grow_to(most: int) -> Callable[[sa.Connection], object]:
                return lambda db: db.exec_driver_sql(f"PRAGMA max_page_count = {most}").scalar_one()

            await here.catalog.transactions.write(grow_to(pages))
            assert await refusal(send_many(here, upload_id)) is Reason.NO_SPACE
            durable = (await here.inspect(upload_id)).durable
            assert durable[0] == Range(0, 1000)
            before = {each.name for each in here.images.iterdir()}
            assert await refusal(create_many(here)) is Reason.NO_SPACE
            created = {each.name for each in here.images.iterdir()} - before
            assert len(created) == len(await here.files()) - 1, "an image or a file without a record is left"
            await here.catalog.transactions.write(grow_to(pages + 1000))
            assert (await here.inspect(upload_id)).durable == durable
            await here.send(upload_id, 0, SIZE)
            await here.reaches(upload_id, State.ACTIVE)

    async def send_many(here: Rig, upload_id: str) -> None:
        for start in range(2000, SIZE, 20):
            await here.send(upload_id, start, start + 10)

    async def create_many(here: Rig) -> None:
        for _ in range(200):
            await here.create()

    asyncio.run(scenario())


def test_a_creation_that_scratch_fails_leaves_no_image_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        scratch = MemoryStorage()
        async with rig(tmp_path, scratch) as here:
            scratch.faults["create"] = errno.ENOSPC
            assert await refusal(here.create()) is Reason.NO_SPACE
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())


def test_a_chunk_that_has_only_just_begun_when_the_service_stops_is_told_to_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            append = Append(await here.create(), Chunk(0, 10_000))
            running = asyncio.create_task(here.uploads.perform(append, ME, Waiting(CONTENT[:1000])))
            await asyncio.sleep(0)  # it has found the service open, and asks the catalog where it may write
            await here.uploads.close()
            async with asyncio.timeout(10):
                assert await refusal(running) is Reason.CLOSING

    asyncio.run(scenario())


def test_after_the_stop_has_begun_nothing_new_is_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.uploads.close()
            assert await refusal(here.create()) is Reason.CLOSING
            assert await refusal(here.send(upload_id, 0, 10)) is Reason.CLOSING
            assert (await here.inspect(upload_id)).upload.offset == 0

    asyncio.run(scenario())


# Bytes that come in order, and whoever takes over


@pytest.mark.parametrize("length", [None, 0, 500, SIZE - 1000])
def test_a_chunk_in_order_stops_whoever_else_writes_even_far_away(tmp_path: Path, length: int | None) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            running = await here.begun(upload_id, Chunk(90_000, 10_000), sent=10)
            content = CONTENT[1000:] if length is None else CONTENT[1000 : 1000 + length]
            upload = await here.send_in_order(upload_id, 1000, Pieces(content), length)
            assert await refusal(running) is Reason.SUPERSEDED
            assert upload.offset == 1000 + len(content)
            if upload.state is State.RECEIVING:
                assert (await here.inspect(upload_id)).durable == (Range(0, upload.offset), Range(90_000, 90_010))
                await here.send(upload_id, upload.offset, SIZE)
            await here.reaches(upload_id, State.ACTIVE)
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT

    asyncio.run(scenario())


@pytest.mark.parametrize("older", [Chunk(1000, None, in_order=True), Chunk(1000, SIZE - 1000)])
def test_a_chunk_in_order_that_comes_after_a_stalled_one_finds_the_offset_behind_what_that_one_had(
    tmp_path: Path, older: Chunk
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            running = await here.begun(upload_id, older, sent=10)
            with pytest.raises(Refused) as refused:
                await here.send_in_order(upload_id, 1000, Pieces(CONTENT[1000:]))
            assert refused.value.reason is Reason.WRONG_OFFSET
            assert refused.value.facts == {"offset": 1010, "provided": 1000}
            assert await refusal(running) is Reason.SUPERSEDED
            await here.send_in_order(upload_id, 1010, Pieces(CONTENT[1010:]))
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_a_stalled_chunk_in_order_with_a_digest_leaves_the_offset_where_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, None, (NOBODYS,), in_order=True))
            assert (await here.send_in_order(upload_id, 0, Pieces(CONTENT))).state is State.SEALED
            assert await refusal(running) is Reason.SUPERSEDED

    asyncio.run(scenario())


@pytest.mark.parametrize("start", [0, 999, 1001, SIZE - 1])
@pytest.mark.parametrize("length", [None, 1])
def test_a_chunk_in_order_that_does_not_begin_at_the_offset_changes_nothing(
    tmp_path: Path, start: int, length: int | None
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 1000)
            body = Pieces(CONTENT[start : start + 1])
            assert await refusal(here.send_in_order(upload_id, start, body, length)) is Reason.WRONG_OFFSET
            assert (await here.inspect(upload_id)).durable == (Range(0, 1000),)

    asyncio.run(scenario())


def test_a_chunk_that_needs_no_order_leaves_others_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, 10_000))
            await here.send(upload_id, 10_000, 20_000)
            assert not running.done()
            await here.uploads.close()
            assert await refusal(running) is Reason.CLOSING

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [1, 10_000, SIZE])
def test_a_chunk_of_unknown_length_ends_where_its_body_does(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            digest = Digest("sha1", hashlib.sha1(CONTENT[:size], usedforsecurity=False).digest())
            upload = await here.send_in_order(upload_id, 0, Pieces(CONTENT[:size]), declared=(digest,))
            assert upload.offset == size
            if size < SIZE:
                assert upload.state is State.RECEIVING
                await here.send_in_order(upload_id, size, Pieces(CONTENT[size:]))
            await here.reaches(upload_id, State.ACTIVE)
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT

    asyncio.run(scenario())


def test_a_chunk_of_unknown_length_whose_digest_does_not_hold_is_not_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            sent = here.send_in_order(upload_id, 0, Pieces(CONTENT[:10]), declared=(NOBODYS,))
            assert await refusal(sent) is Reason.CHUNK_DIGEST_MISMATCH
            assert (await here.inspect(upload_id)).durable == ()

    asyncio.run(scenario())


def test_a_chunk_in_order_goes_over_what_came_before_its_turn(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 20_000, 30_000)
            assert (await here.send_in_order(upload_id, 0, Pieces(CONTENT[:25_000]))).offset == 30_000
            assert (await here.send_in_order(upload_id, 30_000, Pieces(CONTENT[30_000:]))).state is State.SEALED
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_nothing_sent_to_an_upload_that_has_everything_is_no_mistake_even_after_scratch_is_free(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, SIZE)
            for body_length in (0, None):
                assert (await here.send_in_order(upload_id, SIZE, Pieces(), body_length)).offset == SIZE
            await here.reaches(upload_id, State.ACTIVE)
            async with asyncio.timeout(10):
                while await here.files():
                    await asyncio.sleep(0.01)
            for body_length in (0, None):
                assert (await here.send_in_order(upload_id, SIZE, Pieces(), body_length)).offset == SIZE
            assert await refusal(here.send(upload_id, 0, 10)) is Reason.SEALED
            assert await refusal(here.send_in_order(upload_id, SIZE, Pieces(b"more"), None)) is Reason.SEALED

    asyncio.run(scenario())


@pytest.mark.parametrize("taking_over", [False, True])
def test_whoever_asks_in_order_to_take_over_is_told_an_offset_that_stays_true(
    tmp_path: Path, taking_over: bool
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, None, in_order=True))
            told = await here.inspect(upload_id, taking_over=taking_over)
            assert running.done() is taking_over
            assert told.upload.offset == (1000 if taking_over else 0)
            assert told.durable == ((Range(0, 1000),) if taking_over else ())
            if not taking_over:
                await here.inspect(upload_id, taking_over=True)
            assert await refusal(running) is Reason.SUPERSEDED

    asyncio.run(scenario())


def test_whoever_asks_right_after_an_ordered_chunk_has_begun_takes_over_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            append = Append(upload_id, Chunk(0, SIZE, in_order=True))
            running = asyncio.create_task(here.uploads.perform(append, ME, Waiting(CONTENT[:1000])))
            await asyncio.sleep(0)  # it asks the catalog for the first time
            told = await here.inspect(upload_id, taking_over=True)
            assert running.done()
            assert await refusal(running) is Reason.SUPERSEDED
            assert (await here.inspect(upload_id)).upload.offset == told.upload.offset

    asyncio.run(run())


@pytest.mark.parametrize("taking_over", [False, True])
def test_whoever_does_not_own_an_upload_takes_nothing_over(tmp_path: Path, taking_over: bool) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            running = await here.begun(upload_id, Chunk(0, None, in_order=True))
            other = Identity(Owner("project", "other"))
            for command in (Get(upload_id, taking_over), Append(upload_id, Chunk(0, None, in_order=True))):
                assert await refusal(here.uploads.perform(command, other, Pieces())) is Reason.UNKNOWN_UPLOAD
            assert not running.done()
            await here.uploads.close()
            assert await refusal(running) is Reason.CLOSING

    asyncio.run(scenario())


# Bytes that come with the creation


async def created(here: Rig, first: Chunk | None, content: bytes, size: int = SIZE) -> Upload:
    create = Create(size, IMAGE, metadata="name YQ==", first=first)
    outcome = await here.uploads.perform(create, ME, Pieces(content))
    assert isinstance(outcome, Created)
    return outcome.upload


@pytest.mark.parametrize("length", [0, 10, SIZE])
@pytest.mark.parametrize("announced", [False, True])
def test_bytes_that_come_with_the_creation_are_there_when_it_is_answered(
    tmp_path: Path, length: int, announced: bool
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Chunk(0, length if announced else None, in_order=True), CONTENT[:length])
            assert upload.offset == length
            assert upload.metadata == "name YQ=="
            assert (await here.inspect(upload.id)).upload == upload
            if length < SIZE:
                await here.send_in_order(upload.id, length, Pieces(CONTENT[length:]))
            await here.reaches(upload.id, State.ACTIVE)
            assert (here.images / require(upload.image).id).read_bytes() == CONTENT

    asyncio.run(scenario())


@pytest.mark.parametrize("length", [0, None])
def test_an_upload_of_no_bytes_can_have_a_first_chunk_of_none(tmp_path: Path, length: int | None) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, Chunk(0, length, in_order=True), b"", size=0)
            await here.reaches(upload.id, State.ACTIVE)

    asyncio.run(scenario())


def test_the_body_of_a_creation_without_a_chunk_is_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            assert (await created(here, None, CONTENT)).offset == 0

    asyncio.run(scenario())


def test_metadata_is_shown_again_as_it_was_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload = await created(here, None, b"")
            assert (await here.inspect(upload.id)).upload.metadata == "name YQ=="
            assert (await here.inspect(await here.create())).upload.metadata is None

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (Chunk(0, None, (NOBODYS,), in_order=True), Reason.CHUNK_DIGEST_MISMATCH),
        (Chunk(0, 100, in_order=True), Reason.BODY_TOO_SHORT),
        (Chunk(0, SIZE + 1, in_order=True), Reason.BODY_TOO_LONG),
        (Chunk(0, 9, in_order=True), Reason.BODY_TOO_LONG),
    ],
)
def test_a_first_chunk_that_can_not_be_taken_refuses_the_creation_and_leaves_nothing(
    tmp_path: Path, first: Chunk, reason: Reason
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            assert await refusal(created(here, first, CONTENT[:10])) is reason
            assert await here.files() == set()
            assert list(here.images.iterdir()) == [], "nobody has been told its address"

    asyncio.run(scenario())


def test_a_creation_whose_first_chunk_scratch_fails_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        scratch = MemoryStorage()
        async with rig(tmp_path, scratch) as here:
            scratch.faults["write"] = errno.ENOSPC
            assert await refusal(created(here, Chunk(0, None, in_order=True), CONTENT)) is Reason.NO_SPACE
            assert await here.files() == set()
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())


def test_a_first_chunk_that_is_longer_than_the_upload_says_so_though_it_filled_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            work = created(here, Chunk(0, None, in_order=True), CONTENT + b"!")
            assert await refusal(work) is Reason.BODY_TOO_LONG
            assert await here.files() == set()
            assert list(here.images.iterdir()) == []

    asyncio.run(scenario())


def test_what_is_sealed_is_handed_over_even_if_the_catalog_can_not_keep_its_newest_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            asked, handoffs = asyncio.Event(), here.catalog.uploads.with_handoff

            async def look() -> list[Upload]:
                found = await handoffs()
                asked.set()
                return found

            monkeypatch.setattr(here.catalog.uploads, "with_handoff", look)
            monkeypatch.setattr(here.catalog.uploads, "set_credential", full)
            job = asyncio.create_task(here.handoff.run())
            await asked.wait()  # from now on it waits to be woken
            assert await refusal(here.send(upload_id, 0, SIZE)) is Reason.NO_SPACE
            async with asyncio.timeout(10):
                while (await here.inspect(upload_id)).upload.state is not State.ACTIVE:
                    await asyncio.sleep(0.01)
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)

    asyncio.run(scenario())


def test_scratch_that_can_not_be_read_for_a_moment_delays_a_handoff_and_fails_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            here.scratch.faults["reader"] = errno.EMFILE
            await here.send(upload_id, 0, SIZE)
            job = asyncio.create_task(here.handoff.run())
            async with asyncio.timeout(30):
                while (upload := (await here.inspect(upload_id)).upload).delivery.last_error is None:
                    await asyncio.sleep(0.01)
            assert (upload.state, upload.delivery.last_error.reason) == (State.SEALED, FailureReason.SCRATCH_UNREADABLE)
            assert str(tmp_path) not in upload.delivery.last_error.detail
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            here.now += 3600
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_a_scratch_file_that_is_too_short_for_a_repeated_chunk_is_no_defect_of_ours(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            await here.send(upload_id, 0, 50_000)
            del here.scratch._stored[upload_id].current[1000:]
            assert await refusal(here.send(upload_id, 0, 50_000)) is Reason.SCRATCH_FAILED

    asyncio.run(scenario())
