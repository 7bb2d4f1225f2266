"""Bytes that Glance would refuse in the end are refused after the first MiB, and no others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from resumable_glance.api.http11.body import RequestBody
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Appended, Cancel, Chunk, Create, Created, Join
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Format, ImageRequest, InspectionState, Upload
from tests.fakes.memory_body import PATIENCE, MemoryReceiver
from tests.support import images
from tests.support.images import MIB
from tests.support.rig import CONTENT, IMAGE, ME, Pieces, Rig, refusal, rig

QCOW2 = ImageRequest({"name": "test", "disk_format": "qcow2", "container_format": "bare"})
AUTO = ImageRequest({"name": "test", "disk_format": "auto", "container_format": "bare"})


# When it is said


class Counted(RequestBody):
    """A body of `content`, in pieces of 64 KiB; how many bytes of it were read."""

    def __init__(self, content: bytes) -> None:
        self._pieces = MemoryReceiver([content[start : start + 65536] for start in range(0, len(content), 65536)])
        super().__init__(self._pieces, PATIENCE)

    @property
    def read_so_far(self) -> int:
        return self._pieces.received


async def created(here: Rig, size: int | None, image: ImageRequest = QCOW2) -> str:
    outcome = await here.uploads.perform(Create(size, image), ME, Pieces())
    assert isinstance(outcome, Created)
    return outcome.upload.id


async def sent(here: Rig, upload_id: str, start: int, content: bytes, **more: Any) -> Upload:
    append = Append(upload_id, Chunk(start, len(content), **more))
    outcome = await here.uploads.perform(append, ME, Counted(content))
    assert isinstance(outcome, Appended)
    return outcome.upload


async def assert_failed(here: Rig, upload_id: str, failure: FailureReason) -> None:
    upload = (await here.inspect(upload_id)).upload
    assert (upload.state, upload.delivery.last_error and upload.delivery.last_error.reason) == (State.FAILED, failure)


@pytest.mark.parametrize("declared", [True, False])
def test_a_chunk_with_a_wrong_head_is_refused_within_2_mib(tmp_path: Path, declared: bool) -> None:
    content = bytes(40 * MIB)

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, len(content))
            body = Counted(content)
            digests = (md5_of(content),) if declared else ()
            append = Append(upload_id, Chunk(0, len(content), digests))
            assert await refusal(here.uploads.perform(append, ME, body)) is Reason.FORMAT_MISMATCH
            assert body.read_so_far <= 2 * MIB
            await assert_failed(here, upload_id, FailureReason.FORMAT_MISMATCH)
            assert await here.files() == set(), "of what use would its bytes be?"
            assert list(here.images.iterdir()) == [], "nor has its image any"
            again = await refusal(here.uploads.perform(append, ME, Counted(content)))
            assert again is Reason.FORMAT_MISMATCH, "and so it is told again"
            await here.uploads.perform(Cancel(upload_id), ME, Pieces())

    asyncio.run(scenario())


def md5_of(content: bytes) -> Any:
    from tests.unit.uploads.test_chunk_writer import md5 as digest

    return digest(content)


def test_a_head_in_pieces_is_checked_once_it_has_no_gap(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 10 * MIB)
            await sent(here, upload_id, MIB // 2, bytes(MIB))
            await sent(here, upload_id, 0, bytes(MIB // 4))
            assert await refusal(sent(here, upload_id, MIB // 4, bytes(MIB // 4))) is Reason.FORMAT_MISMATCH
            await assert_failed(here, upload_id, FailureReason.FORMAT_MISMATCH)

    asyncio.run(scenario())


def test_a_chunk_that_continues_the_head_is_checked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 100 * MIB)
            await sent(here, upload_id, 0, bytes(MIB // 4), in_order=True)
            body = Counted(bytes(20 * MIB))
            append = Append(upload_id, Chunk(MIB // 4, 20 * MIB, in_order=True))
            assert await refusal(here.uploads.perform(append, ME, body)) is Reason.FORMAT_MISMATCH
            assert body.read_so_far <= 3 * MIB

    asyncio.run(scenario())


def test_a_head_of_declared_zeros_is_checked_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 100 * MIB)
            append = Append(upload_id, Chunk(0, 50 * MIB, zeros=True))
            assert await refusal(here.uploads.perform(append, ME, Pieces())) is Reason.FORMAT_MISMATCH

    asyncio.run(scenario())


def test_a_rejection_evicts_other_writers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 100 * MIB)
            other = await here.begun(upload_id, Chunk(50 * MIB, MIB))
            assert await refusal(sent(here, upload_id, 0, bytes(2 * MIB))) is Reason.FORMAT_MISMATCH
            with pytest.raises(Refused) as stopped:
                await asyncio.wait_for(other, 10)
            assert stopped.value.reason in {Reason.FORMAT_MISMATCH, Reason.SEALED}

    asyncio.run(scenario())


def test_a_sealed_upload_is_checked_before_its_delivery(tmp_path: Path) -> None:
    """In parts that are joined, or in small pieces the last of which is missing in the head."""

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 2000)
            await sent(here, upload_id, 1000, bytes(1000))
            assert (await sent(here, upload_id, 0, bytes(1000))).state is State.SEALED
            part = await here.uploads.perform(Create(1000, None), ME, Pieces())
            assert isinstance(part, Created)
            await sent(here, part.upload.id, 0, bytes(1000))
            joined = await here.uploads.perform(Join((part.upload.id,), QCOW2), ME, Pieces())
            assert isinstance(joined, Created)
            for each in (upload_id, joined.upload.id):
                await here.reaches(each, State.FAILED)
                await assert_failed(here, each, FailureReason.FORMAT_MISMATCH)
            assert not [each for each in here.images.iterdir() if each.suffix != ".json"], "not even a part of it"

    asyncio.run(scenario())


@pytest.mark.parametrize("honest", [True, False])
def test_a_format_in_the_tail_is_checked_before_delivery(tmp_path: Path, honest: bool) -> None:
    content = images.vmdk_with_footer(honest=honest).read_bytes()
    vmdk = ImageRequest({"name": "test", "disk_format": "vmdk", "container_format": "bare"})

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, len(content), vmdk)
            await sent(here, upload_id, 0, content)
            found = (await here.inspect(upload_id)).upload.format
            assert found is not None
            assert found.inspection is InspectionState.PARTIAL
            await here.reaches(upload_id, State.ACTIVE if honest else State.FAILED)
            if not honest:
                await assert_failed(here, upload_id, FailureReason.UNSAFE_IMAGE)
                assert not [each for each in here.images.iterdir() if each.suffix != ".json"]

    asyncio.run(scenario())


def test_a_raw_image_is_read_once(tmp_path: Path) -> None:
    content = images.qcow2(8 * MIB).read_bytes()

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, len(content))
            upload = await sent(here, upload_id, 0, content)
            assert upload.format == Format("qcow2", "qcow2", 8 * MIB, InspectionState.FINAL)
            opened = 0
            reader = here.storage.reader

            def counted(name: str) -> Any:
                nonlocal opened
                opened += 1
                return reader(name)

            here.storage.reader = counted  # type: ignore[assignment,method-assign]
            await here.reaches(upload_id, State.ACTIVE)
            assert opened == 1

    asyncio.run(scenario())


def test_a_detected_format_is_set_before_the_bytes(tmp_path: Path) -> None:
    content = images.qcow2(8 * MIB).read_bytes()

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, len(content), AUTO)
            await sent(here, upload_id, 0, content)
            await here.reaches(upload_id, State.ACTIVE)
            upload = (await here.inspect(upload_id)).upload
            assert upload.image is not None
            described = (here.images / f"{upload.image.id}.json").read_text()
            assert '"disk_format": "qcow2"' in described
            assert '"min_disk": 1' in described

    asyncio.run(scenario())


@pytest.mark.parametrize("options", [{"image_format.enabled": False}, {}])
def test_without_inspection_a_format_must_be_declared(tmp_path: Path, options: dict[str, object]) -> None:
    wrapped = ImageRequest({"disk_format": "auto", "container_format": "ovf"})

    async def scenario() -> None:
        async with rig(tmp_path, options=options) as here:
            asked = AUTO if options else wrapped
            assert await refusal(here.uploads.perform(Create(1, asked), ME, Pieces())) is Reason.IMAGE_REFUSED

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ({"image_format.enabled": False}, QCOW2),
        ({"image_format.require_image_format_match": False}, QCOW2),
        ({}, ImageRequest({"disk_format": "qcow2", "container_format": "ovf"})),
        ({}, IMAGE),
    ],
)
def test_uninspected_images_are_accepted(tmp_path: Path, options: dict[str, object], image: ImageRequest) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options=options) as here:
            upload_id = await created(here, len(CONTENT), image)
            await sent(here, upload_id, 0, CONTENT)
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_an_adopted_image_is_checked_and_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            made = await here.image_service.prepare(QCOW2, None, actor_of(here))
            upload_id = await created(here, 10 * MIB, ImageRequest(image_id=made.id))
            assert await refusal(sent(here, upload_id, 0, bytes(10 * MIB))) is Reason.FORMAT_MISMATCH
            assert [each.name for each in here.images.iterdir()] == [f"{made.id}.json"]

    asyncio.run(scenario())


def actor_of(here: Rig) -> Any:
    from resumable_glance.images.base import Actor

    return Actor(ME.owner)
