"""What Glance would refuse after the last byte is refused after the first MiB, and nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_utils.imageutils.format_inspector import FileInspector

from resumable_glance.api.http11.body import RequestBody
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.inspection import (
    HEAD_LENGTH,
    FormatRules,
    ImageHead,
    ImageRejected,
    Inspection,
    inspect_head,
)
from resumable_glance.model.commands import Append, Appended, Cancel, Chunk, Create, Created, Join
from resumable_glance.model.states import State
from resumable_glance.model.upload import FailureReason, Format, ImageRequest, InspectionState, Upload
from tests.clients.test_cli import DevelopmentServer, server, surroundings, upload
from tests.fakes.memory_body import PATIENCE, MemoryReceiver
from tests.support import images
from tests.support import inspected_images as verdicts
from tests.support.chaos import BadLink
from tests.support.cloud import DEMO, Cloud
from tests.support.images import MIB
from tests.support.inspected_images import CASES, Case
from tests.support.rig import CONTENT, IMAGE, ME, Pieces, Rig, refusal, rig
from tests.support.service import Service
from tests.support.wire import Client, md5, reason

__all__ = ["server", "surroundings"]
each_case = pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in CASES])
RULES = FormatRules()
QCOW2 = ImageRequest({"name": "test", "disk_format": "qcow2", "container_format": "bare"})
AUTO = ImageRequest({"name": "test", "disk_format": "auto", "container_format": "bare"})


def of(case: Case) -> tuple[bytes, Format]:
    content = case.make().read_bytes()
    return content, Format(case.declared, case.detected, case.virtual_size or len(content), InspectionState.FINAL)


# What is said of images


@each_case
def test_what_an_image_is_is_told_by_its_head_as_far_as_it_can_be(case: Case) -> None:
    content, expected = of(case)
    if case.refused is not None and not case.open:
        with pytest.raises(ImageRejected) as objection:
            inspect_head(content[:HEAD_LENGTH], Format(case.declared), len(content), RULES)
        assert objection.value.reason is case.refused
        return
    found = inspect_head(content[:HEAD_LENGTH], Format(case.declared), len(content), RULES)
    assert (found.declared, found.detected) == (case.declared, case.detected)
    assert found.inspection is (InspectionState.PARTIAL if case.open else InspectionState.FINAL)
    assert found.virtual_size in ({None, expected.virtual_size} if case.open else {expected.virtual_size})


@pytest.mark.parametrize("declared", ["raw", "qcow2"])
def test_nothing_of_a_head_is_kept_when_it_was_judged(declared: str) -> None:
    """Inspectors refer to themselves, and each would stay, with tens of kibibytes, until Python looks for garbage."""

    def inspectors() -> int:
        return sum(isinstance(each, FileInspector) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = inspectors()
        with contextlib.suppress(ImageRejected):
            inspect_head(bytes(HEAD_LENGTH), Format(declared), HEAD_LENGTH, RULES)
        assert inspectors() == before
    finally:
        gc.enable()


@each_case
def test_what_an_image_is_is_told_by_all_of_its_bytes(case: Case) -> None:
    content, expected = of(case)
    inspection = Inspection(Format(case.declared), len(content), RULES)
    for start in range(0, len(content), 100_000):
        inspection.update(content[start : start + 100_000])
    if case.refused is not None:
        with pytest.raises(ImageRejected) as objection:
            inspection.finish()
        assert objection.value.reason is case.refused
    else:
        assert inspection.finish() == expected


@pytest.mark.parametrize(
    ("make", "disk_format", "min_disk"),
    [
        (lambda: images.raw_disk(4 * MIB), "raw", 1),
        (lambda: images.made_by_qemu("large.qcow2", "-f", "qcow2", size=4 * 1024 * MIB), "qcow2", 4),
        (images.bootable_iso, "iso", 1),
        (verdicts._LUKS, "raw", 1),
    ],
)
def test_what_is_not_declared_is_found_out_with_the_smallest_disk_for_it(
    make: Any, disk_format: str, min_disk: int
) -> None:
    content = make().read_bytes()
    found = inspect_head(content[:HEAD_LENGTH], Format(None), len(content), RULES)
    assert (found.declared, found.disk_format, found.min_disk) == (None, disk_format, min_disk)


def test_a_disk_that_is_too_large_is_refused_however_small_its_file_is() -> None:
    content = images.made_by_qemu("large.qcow2", "-f", "qcow2", size=4 * 1024 * MIB).read_bytes()
    size = len(content)
    assert (
        inspect_head(content[:HEAD_LENGTH], Format("qcow2"), size, FormatRules(largest=4 * 1024 * MIB)).inspection
        is InspectionState.FINAL
    )
    with pytest.raises(ImageRejected) as objection:
        inspect_head(content[:HEAD_LENGTH], Format("qcow2"), size, FormatRules(largest=4 * 1024 * MIB - 1))
    assert objection.value.reason is FailureReason.DISK_TOO_LARGE


def test_what_glance_can_be_told_to_let_through_we_can_be_told_too() -> None:
    qcow2 = images.qcow2(8 * MIB).read_bytes()
    assert (
        inspect_head(qcow2[:HEAD_LENGTH], Format("vmdk"), len(qcow2), FormatRules(must_match=False)).detected == "qcow2"
    )
    disk = bytearray(images.raw_disk(4 * MIB).read_bytes())
    disk[446] = 0x55  # no boot flag that there is
    with pytest.raises(ImageRejected) as objection:
        inspect_head(bytes(disk[:HEAD_LENGTH]), Format("raw"), len(disk), RULES)
    assert objection.value.reason is FailureReason.UNSAFE_IMAGE
    for declared, rules in (("raw", FormatRules(lenient=frozenset({"mbr"}))), ("aki", FormatRules(must_match=False))):
        assert inspect_head(bytes(disk[:HEAD_LENGTH]), Format(declared), len(disk), rules).detected == "gpt"


def test_two_formats_at_once_are_a_trick() -> None:
    both = bytearray(images.qcow2(8 * MIB).read_bytes())
    both[510:512] = b"\x55\xaa"
    with pytest.raises(ImageRejected) as objection:
        inspect_head(bytes(both[:HEAD_LENGTH]), Format("qcow2"), len(both), RULES)
    assert objection.value.reason is FailureReason.FORMAT_MISMATCH
    assert (
        inspect_head(bytes(both[:HEAD_LENGTH]), Format("qcow2"), len(both), FormatRules(must_match=False)).inspection
        is InspectionState.FINAL
    )


MAGIC = [
    b"QFI\xfb",
    b"KDMV",
    b"vhdxfile",
    b"conectix",
    b"LUKS\xba\xbe",
    b"QED\0",
    b"# Disk DescriptorFile",
    b'createType="',
]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(MAGIC) | st.binary(max_size=600) | st.integers(0, 40_000).map(bytes), max_size=8).map(
        b"".join
    ),
    st.sampled_from(["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "ami", None]),
    st.integers(0, 5),
)
def test_whatever_the_bytes_are_there_is_a_format_or_an_objection(
    content: bytes, declared: str | None, more: int
) -> None:
    for size in (len(content) + more, None):
        try:
            found = inspect_head(content, Format(declared), size, RULES)
        except ImageRejected as objection:
            assert objection.detail
        else:
            assert found.virtual_size is None or found.virtual_size >= 0


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(CASES), st.lists(st.tuples(st.integers(0, 400_000), st.binary(max_size=8)), max_size=4))
def test_whatever_is_changed_in_a_real_image_there_is_a_format_or_an_objection(
    case: Case, changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(case.make().read_bytes())
    for place, data in changes:
        content[place : place + len(data)] = data
    inspection = Inspection(Format(case.declared), len(content), RULES)
    inspection.update(bytes(content))
    try:
        assert inspection.finish().inspection is InspectionState.FINAL
    except ImageRejected as objection:
        assert objection.reason in {FailureReason.FORMAT_MISMATCH, FailureReason.UNSAFE_IMAGE}


def test_a_head_has_as_many_bytes_as_it_takes_to_judge_it() -> None:
    large = ImageHead(Format("qcow2"), 10 * MIB, RULES)
    assert large.length == HEAD_LENGTH
    with pytest.raises(ImageRejected):
        large.inspect(bytes(HEAD_LENGTH))
    assert large.format is None
    small = ImageHead(Format("raw"), 10, RULES)
    assert small.length == 10
    small.inspect(b"0123456789")
    assert small.format == Format("raw", "raw", 10, InspectionState.FINAL)


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


async def assert_failed(here: Rig, upload_id: str, hitch: FailureReason) -> None:
    upload = (await here.inspect(upload_id)).upload
    assert (upload.state, upload.delivery.last_error and upload.delivery.last_error.reason) == (State.FAILED, hitch)


@pytest.mark.parametrize("declared", [True, False])
def test_a_chunk_with_the_head_is_refused_after_at_most_two_mebibytes(tmp_path: Path, declared: bool) -> None:
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


def test_a_head_in_small_pieces_in_any_order_is_judged_when_it_has_no_gap(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 10 * MIB)
            await sent(here, upload_id, MIB // 2, bytes(MIB))
            await sent(here, upload_id, 0, bytes(MIB // 4))
            assert await refusal(sent(here, upload_id, MIB // 4, bytes(MIB // 4))) is Reason.FORMAT_MISMATCH
            await assert_failed(here, upload_id, FailureReason.FORMAT_MISMATCH)

    asyncio.run(scenario())


def test_a_chunk_that_goes_on_with_the_head_is_judged_as_it_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 100 * MIB)
            await sent(here, upload_id, 0, bytes(MIB // 4), in_order=True)
            body = Counted(bytes(20 * MIB))
            append = Append(upload_id, Chunk(MIB // 4, 20 * MIB, in_order=True))
            assert await refusal(here.uploads.perform(append, ME, body)) is Reason.FORMAT_MISMATCH
            assert body.read_so_far <= 3 * MIB

    asyncio.run(scenario())


def test_a_head_of_declared_zeros_is_judged_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 100 * MIB)
            append = Append(upload_id, Chunk(0, 50 * MIB, zeros=True))
            assert await refusal(here.uploads.perform(append, ME, Pieces())) is Reason.FORMAT_MISMATCH

    asyncio.run(scenario())


def test_whoever_else_sends_to_an_upload_that_is_refused_is_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, 100 * MIB)
            other = await here.begun(upload_id, Chunk(50 * MIB, MIB))
            assert await refusal(sent(here, upload_id, 0, bytes(2 * MIB))) is Reason.FORMAT_MISMATCH
            with pytest.raises(Refused) as stopped:
                await asyncio.wait_for(other, 10)
            assert stopped.value.reason in {Reason.FORMAT_MISMATCH, Reason.SEALED}

    asyncio.run(scenario())


def test_what_is_sealed_before_its_head_could_be_judged_is_judged_before_the_sink_gets_a_byte(tmp_path: Path) -> None:
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
def test_what_only_the_tail_tells_is_told_before_the_sink_gets_a_byte(tmp_path: Path, honest: bool) -> None:
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


def test_the_plain_case_is_read_once(tmp_path: Path) -> None:
    content = images.qcow2(8 * MIB).read_bytes()

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await created(here, len(content))
            upload = await sent(here, upload_id, 0, content)
            assert upload.format == Format("qcow2", "qcow2", 8 * MIB, InspectionState.FINAL)
            opened = 0
            reader = here.scratch.reader

            def counted(name: str) -> Any:
                nonlocal opened
                opened += 1
                return reader(name)

            here.scratch.reader = counted  # type: ignore[assignment,method-assign]
            await here.reaches(upload_id, State.ACTIVE)
            assert opened == 1

    asyncio.run(scenario())


def test_a_format_that_is_found_out_is_set_before_the_bytes_come(tmp_path: Path) -> None:
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
def test_where_nobody_looks_a_format_has_to_be_said(tmp_path: Path, options: dict[str, object]) -> None:
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
def test_what_is_not_to_be_looked_into_or_may_be_anything_is_taken(
    tmp_path: Path, options: dict[str, object], image: ImageRequest
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options=options) as here:
            upload_id = await created(here, len(CONTENT), image)
            await sent(here, upload_id, 0, CONTENT)
            await here.reaches(upload_id, State.ACTIVE)

    asyncio.run(scenario())


def test_an_image_that_the_client_made_is_judged_by_what_it_is_declared_there_and_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            made = await here.sink.prepare(QCOW2, None, actor_of(here))
            upload_id = await created(here, 10 * MIB, ImageRequest(image_id=made.id))
            assert await refusal(sent(here, upload_id, 0, bytes(10 * MIB))) is Reason.FORMAT_MISMATCH
            assert [each.name for each in here.images.iterdir()] == [f"{made.id}.json"]

    asyncio.run(scenario())


def actor_of(here: Rig) -> Any:
    from resumable_glance.images.base import Actor

    return Actor(ME.owner)


# By our own command line, and beside the real Glance


def test_a_file_of_a_wrong_format_is_refused_after_two_mebibytes_of_a_gigabyte(
    server: DevelopmentServer, tmp_path: Path
) -> None:
    path = tmp_path / "disk.qcow2"
    with path.open("wb") as file:
        file.write(b"no qcow2 " * 200_000)
        file.truncate(1024 * MIB)
    with BadLink(server.port) as link:
        ended = upload(link.url, path)
        assert ended.returncode == 1
        assert "declared as qcow2" in ended.stderr
        print(f"{link.carried} bytes on the wire")
        assert link.carried <= 2 * MIB
    (shown,) = server.uploads()
    assert shown["state"] == "failed"
    assert list(server.images.iterdir()) == []


@pytest.mark.openstack
def test_what_we_take_glance_takes_and_what_glance_would_refuse_we_refuse(
    cloud: Cloud, glance_service: Service
) -> None:
    client = Client(glance_service.url, {"X-Auth-Token": cloud.token(DEMO)})
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(lambda case: (ours(cloud, client, case), glances(cloud, client, case)), CASES))
    told = {case.name: said for case, said in zip(CASES, answers, strict=True)}
    assert told == {case.name: (str(case.refused or "taken"), "415" if case.refused else "taken") for case in CASES}


def ours(cloud: Cloud, client: Client, case: Case) -> str:
    """What comes of an image that is uploaded through us: taken, or why not."""
    content = case.make().read_bytes()
    url = client.created(len(content), image=described(case))
    answer = client.send(url, content, 0, len(content), md5(content))
    if answer.status_code == 422:
        return reason(answer)
    assert answer.status_code == 204, answer.text
    if case.refused is not None:
        return str(client.wait(url, "failed")["handoff"]["last_error"]["reason"])
    shown = client.wait(url, "active")
    address = f"{cloud.image_url}/v2/images/{shown['image']['id']}"
    image = client.request("GET", address).json()
    assert (image["disk_format"], image["virtual_size"]) == (case.declared, shown["format"]["virtual_size"])
    client.request("DELETE", address)
    return "taken"


def glances(cloud: Cloud, client: Client, case: Case) -> str:
    """What Glance itself says to an image that we would not give to it."""
    if case.refused is None:
        return "taken"  # by way of us
    images_of = f"{cloud.image_url}/v2/images"
    address = f"{images_of}/{client.request('POST', images_of, json=described(case)).json()['id']}"
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.request("PUT", f"{address}/file", headers, data=case.make().read_bytes())
    client.request("DELETE", address)
    return "taken" if answer.ok else str(answer.status_code)


def described(case: Case) -> dict[str, str]:
    return {"name": case.name, "disk_format": case.declared, "container_format": "bare"}


@pytest.mark.openstack
def test_a_format_that_glance_was_not_told_is_told_before_the_bytes(cloud: Cloud, glance_service: Service) -> None:
    content = images.qcow2(8 * MIB).read_bytes()
    client = Client(glance_service.url, {"X-Auth-Token": cloud.token(DEMO)})
    url = client.created(len(content), image={"disk_format": "auto", "container_format": "bare"})
    waiting = cloud.glance(DEMO).images.get(client.show(url)["image"]["id"])
    assert (waiting.status, waiting.disk_format) == ("queued", None)
    client.send(url, content, 0, len(content), md5(content))
    image = cloud.glance(DEMO).images.get(client.wait(url, "active")["image"]["id"])
    assert (image.disk_format, image.min_disk, image.virtual_size) == ("qcow2", 1, 8 * MIB)
    cloud.glance(DEMO).images.delete(image.id)


@pytest.mark.openstack
def test_the_image_of_an_upload_that_is_refused_goes_at_once(cloud: Cloud, glance_service: Service) -> None:
    client = Client(glance_service.url, {"X-Auth-Token": cloud.token(DEMO)})
    url = client.created(5 * MIB, image={"disk_format": "qcow2", "container_format": "bare"})
    image_id = client.show(url)["image"]["id"]
    assert reason(client.send(url, bytes(5 * MIB), 0, 5 * MIB)) == "format-mismatch"
    deadline = time.monotonic() + 10
    while any(each.id == image_id for each in cloud.glance(DEMO).images.list()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.show(url)["state"] == "failed"
