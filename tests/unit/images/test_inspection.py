"""The format of an image, from its head and from all of its bytes."""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_utils.imageutils.format_inspector import FileInspector

from resumable_glance.images.inspection import (
    HEAD_LENGTH,
    FormatRules,
    ImageHead,
    ImageRejected,
    Inspection,
    inspect_head,
)
from resumable_glance.model.upload import FailureReason, Format, InspectionState
from tests.support import images
from tests.support import inspected_images as verdicts
from tests.support.images import MIB
from tests.support.inspected_images import CASES, Case

each_case = pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in CASES])


RULES = FormatRules()


def of(case: Case) -> tuple[bytes, Format]:
    content = case.make().read_bytes()
    return content, Format(case.declared, case.detected, case.virtual_size or len(content), InspectionState.FINAL)


@each_case
def test_the_head_shows_as_much_of_the_format_as_it_can(case: Case) -> None:
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
def test_an_inspected_head_is_freed(declared: str) -> None:
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
def test_all_bytes_show_the_format(case: Case) -> None:
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
def test_an_undeclared_format_is_found_with_min_disk(make: Any, disk_format: str, min_disk: int) -> None:
    content = make().read_bytes()
    found = inspect_head(content[:HEAD_LENGTH], Format(None), len(content), RULES)
    assert (found.declared, found.disk_format, found.min_disk) == (None, disk_format, min_disk)


def test_a_virtual_size_above_the_limit_is_refused() -> None:
    content = images.made_by_qemu("large.qcow2", "-f", "qcow2", size=4 * 1024 * MIB).read_bytes()
    size = len(content)
    assert (
        inspect_head(content[:HEAD_LENGTH], Format("qcow2"), size, FormatRules(largest=4 * 1024 * MIB)).inspection
        is InspectionState.FINAL
    )
    with pytest.raises(ImageRejected) as objection:
        inspect_head(content[:HEAD_LENGTH], Format("qcow2"), size, FormatRules(largest=4 * 1024 * MIB - 1))
    assert objection.value.reason is FailureReason.DISK_TOO_LARGE


def test_glances_exceptions_can_be_configured_here_too() -> None:
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


def test_two_formats_at_once_are_refused() -> None:
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
def test_any_bytes_have_a_format_or_are_rejected(content: bytes, declared: str | None, more: int) -> None:
    for size in (len(content) + more, None):
        try:
            found = inspect_head(content, Format(declared), size, RULES)
        except ImageRejected as objection:
            assert objection.detail
        else:
            assert found.virtual_size is None or found.virtual_size >= 0


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(CASES), st.lists(st.tuples(st.integers(0, 400_000), st.binary(max_size=8)), max_size=4))
def test_any_mutated_image_has_a_format_or_is_rejected(case: Case, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(case.make().read_bytes())
    for place, data in changes:
        content[place : place + len(data)] = data
    inspection = Inspection(Format(case.declared), len(content), RULES)
    inspection.update(bytes(content))
    try:
        assert inspection.finish().inspection is InspectionState.FINAL
    except ImageRejected as objection:
        assert objection.reason in {FailureReason.FORMAT_MISMATCH, FailureReason.UNSAFE_IMAGE}


def test_a_head_is_as_long_as_its_inspection_needs() -> None:
    large = ImageHead(Format("qcow2"), 10 * MIB, RULES)
    assert large.length == HEAD_LENGTH
    with pytest.raises(ImageRejected):
        large.inspect(bytes(HEAD_LENGTH))
    assert large.format is None
    small = ImageHead(Format("raw"), 10, RULES)
    assert small.length == 10
    small.inspect(b"0123456789")
    assert small.format == Format("raw", "raw", 10, InspectionState.FINAL)
