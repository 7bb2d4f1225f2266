"""What is welcome to an upload, and what is refused before a byte is taken."""

from __future__ import annotations

import dataclasses

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Chunk
from resumable_glance.model.digests import ZEROS, Digest
from resumable_glance.model.preconditions import (
    check_not_rejected,
    check_offset,
    check_parts,
    check_writable,
    declare,
    repeats,
    target_of,
    total_of,
)
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import FORMAT_FAILURES, Extent, FailureReason, Image, LastError, Owner, Upload

LONGEST = 50
UPLOAD = Upload(
    id="a-0",
    owner=Owner("project", "user"),
    size=100,
    state=State.RECEIVING,
    image=Image("image"),
    created_at=0.0,
    updated_at=0.0,
    expires_at=1000.0,
    reserved=100,
)
UNSIZED = dataclasses.replace(UPLOAD, size=None, reserved=0, offset=10, received=10)
PART = dataclasses.replace(UPLOAD, image=None, received=100, offset=100)
MD5, OTHER_MD5, SHA512 = Digest("md5", b"1" * 16), Digest("md5", b"2" * 16), Digest("sha512", b"3" * 64)


def refusal_of(upload: Upload, chunk: Chunk, total: int | None = None, declared: tuple[Digest, ...] = ()) -> Refused:
    with pytest.raises(Refused) as refusal:
        target_of(upload, Append(upload.id, chunk, total, declared), LONGEST)
    return refusal.value


@pytest.mark.parametrize("total", [0, 99, 101])
def test_a_wrong_total_is_refused_with_the_right_one(total: int) -> None:
    refusal = refusal_of(UPLOAD, Chunk(0, 10), total)
    assert refusal.reason is Reason.WRONG_TOTAL
    assert refusal.facts == {"size": 100}


@pytest.mark.parametrize("total", [None, 100])
def test_a_chunk_with_the_right_total_is_accepted(total: int | None) -> None:
    assert target_of(UPLOAD, Append(UPLOAD.id, Chunk(90, 10), total), LONGEST) == Range(90, 100)


@pytest.mark.parametrize(("state", "reason"), [(State.CANCELLED, Reason.CANCELLED), (State.EXPIRED, Reason.EXPIRED)])
def test_an_ended_upload_is_reported_before_a_wrong_total(state: State, reason: Reason) -> None:
    assert refusal_of(dataclasses.replace(UPLOAD, state=state), Chunk(0, 10), total=99).reason is reason


@pytest.mark.parametrize(("start", "length"), [(0, 101), (100, 1), (91, 10), (101, 0), (2**53 - 1, 2**53 - 1)])
def test_a_chunk_past_the_end_is_refused(start: int, length: int) -> None:
    upload = dataclasses.replace(UPLOAD, offset=7)
    refusal = refusal_of(upload, Chunk(start, length))
    assert refusal.reason is Reason.BODY_TOO_LONG
    assert refusal.facts == {"offset": 7, "size": 100}


@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 100), (99, 1), (100, 0)])
def test_a_chunk_of_known_length_has_its_target_range(start: int, length: int) -> None:
    assert target_of(UPLOAD, Append(UPLOAD.id, Chunk(start, length)), LONGEST) == Range(start, start + length)


@pytest.mark.parametrize(("start", "place"), [(0, (0, 100)), (99, (99, 100)), (100, (100, 100)), (150, (100, 100))])
def test_a_chunk_of_unknown_length_ends_with_the_upload(start: int, place: tuple[int, int]) -> None:
    assert target_of(UPLOAD, Append(UPLOAD.id, Chunk(start, None)), LONGEST) == Range(*place)


@pytest.mark.parametrize("start", [0, 9, 11, 100, 150])
def test_a_chunk_out_of_order_gets_the_offset(start: int) -> None:
    upload = dataclasses.replace(UPLOAD, offset=10)
    with pytest.raises(Refused) as refusal:
        check_offset(upload, Chunk(start, None, in_order=True))
    assert refusal.value.reason is Reason.WRONG_OFFSET
    assert refusal.value.facts == {"offset": 10, "provided": start}


@pytest.mark.parametrize("start", [0, 9, 10, 11])
def test_a_chunk_without_order_goes_anywhere(start: int) -> None:
    check_offset(dataclasses.replace(UPLOAD, offset=10), Chunk(start, 1))


def test_a_chunk_at_the_offset_is_in_order() -> None:
    check_offset(dataclasses.replace(UPLOAD, offset=10), Chunk(10, None, in_order=True))


@pytest.mark.parametrize(
    "upload",
    [
        dataclasses.replace(PART, state=State.JOINED),
        dataclasses.replace(UPLOAD, state=State.SEALED, parts=("a-1", "a-2")),
    ],
)
def test_a_part_and_its_joined_upload_take_no_chunk(upload: Upload) -> None:
    assert refusal_of(upload, Chunk(0, 10)).reason is Reason.JOINED
    with pytest.raises(Refused) as refusal:
        check_writable(upload)
    assert refusal.value.reason is Reason.JOINED


def test_a_chunk_of_unknown_length_and_size_has_a_limit() -> None:
    assert target_of(UNSIZED, Append(UNSIZED.id, Chunk(10, None)), LONGEST) == Range(10, 60)


def test_a_chunk_that_tells_the_size_is_limited_by_it() -> None:
    assert target_of(UNSIZED, Append(UNSIZED.id, Chunk(10, None), 300), LONGEST) == Range(10, 300)
    assert refusal_of(UNSIZED, Chunk(10, 6), 15).reason is Reason.BODY_TOO_LONG


@pytest.mark.parametrize(
    ("chunk", "total", "size"),
    [
        (Chunk(10, 5, last=True), None, 15),
        (Chunk(10, 5, last=True), 15, 15),
        (Chunk(10, None, last=True), 15, 15),
        (Chunk(10, None, last=True), None, None),
        (Chunk(10, 5, last=False), None, None),
        (Chunk(10, 5), 40, 40),
    ],
)
def test_the_end_of_the_last_chunk_tells_the_size_too(chunk: Chunk, total: int | None, size: int | None) -> None:
    assert total_of(Append("a-0", chunk, total)) == size


def test_two_ways_of_telling_the_size_must_agree() -> None:
    assert refusal_of(UNSIZED, Chunk(10, 5, last=True), 16).reason is Reason.WRONG_TOTAL


def test_a_size_is_declared_once_and_reserved() -> None:
    declared = declare(UNSIZED, 30, ())
    assert (declared.size, declared.reserved) == (30, 30)
    assert declare(declared, 30, ()) == declared
    with pytest.raises(Refused) as refusal:
        declare(declared, 31, ())
    assert refusal.value.reason is Reason.WRONG_TOTAL


def test_a_size_equal_to_the_received_bytes_can_be_declared() -> None:
    assert declare(UNSIZED, 10, ()).size == 10


def test_no_declared_size_changes_no_reservation() -> None:
    promised = dataclasses.replace(UNSIZED, reserved=40)
    assert declare(promised, None, ()) == promised


def test_a_size_below_the_received_bytes_is_refused() -> None:
    refusal = refusal_of(UNSIZED, Chunk(10, 0), 9)
    assert refusal.reason is Reason.WRONG_TOTAL
    assert refusal.facts == {"offset": 10}


def test_digests_of_the_whole_are_added_and_never_changed() -> None:
    declared = declare(declare(UPLOAD, None, (MD5,)), 100, (MD5, SHA512))
    assert declared.declared == (MD5, SHA512)
    assert refusal_of(declared, Chunk(0, 1), declared=(OTHER_MD5,)).reason is Reason.WRONG_DIGEST


def test_parts_that_have_all_of_their_bytes_have_a_size_together() -> None:
    assert check_parts([PART, dataclasses.replace(PART, size=0, received=0, offset=0)]) == 100


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (dataclasses.replace(PART, received=99), Reason.UNFINISHED),
        (dataclasses.replace(PART, size=None), Reason.UNFINISHED),
        (dataclasses.replace(PART, state=State.JOINED), Reason.JOINED),
        (dataclasses.replace(PART, state=State.CANCELLED), Reason.CANCELLED),
        (dataclasses.replace(PART, state=State.EXPIRED), Reason.EXPIRED),
        (dataclasses.replace(UPLOAD, received=100), Reason.JOINED),
    ],
)
def test_only_finished_parts_can_be_joined(part: Upload, reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        check_parts([PART, part])
    assert refusal.value.reason is reason


@pytest.mark.parametrize(
    ("declared", "extents", "known"),
    [
        ((MD5,), [Extent(Range(10, 20), MD5)], True),
        ((OTHER_MD5, MD5), [Extent(Range(10, 20), MD5)], True),
        ((MD5,), [Extent(Range(10, 20), OTHER_MD5)], False),
        ((MD5,), [Extent(Range(10, 21), MD5)], False),
        ((), [Extent(Range(10, 20), MD5)], False),
        ((MD5,), [], False),
    ],
)
def test_a_chunk_is_known_by_its_range_and_digest(
    declared: tuple[Digest, ...], extents: list[Extent], known: bool
) -> None:
    assert repeats(Chunk(10, 10, declared), Range(10, 20), extents) is known


@pytest.mark.parametrize(
    ("extents", "known"),
    [
        ([Extent(Range(10, 20), ZEROS)], True),
        ([Extent(Range(0, 15), ZEROS), Extent(Range(15, 90), ZEROS)], True),
        ([Extent(Range(0, 15), ZEROS), Extent(Range(16, 90), ZEROS)], False),
        ([Extent(Range(0, 15), ZEROS), Extent(Range(15, 20), MD5)], False),
        ([], False),
    ],
)
def test_a_run_of_zeros_repeats_declared_zeros(extents: list[Extent], known: bool) -> None:
    assert repeats(Chunk(10, 10, zeros=True), Range(10, 20), extents) is known


@pytest.mark.parametrize("hitch", FailureReason)
def test_a_rejected_upload_repeats_its_reason(hitch: FailureReason) -> None:
    failed = dataclasses.replace(UPLOAD, state=State.FAILED).with_delivery(
        last_error=LastError(hitch, "It is another format.")
    )
    if hitch not in FORMAT_FAILURES:
        check_not_rejected(failed)
        return
    refusal = refusal_of(failed, Chunk(0, 10))
    assert (refusal.reason.value, refusal.detail) == (hitch.value, "It is another format.")
    assert refusal.facts == {"state": State.FAILED}


def test_an_upload_without_an_error_is_not_rejected() -> None:
    check_not_rejected(dataclasses.replace(UPLOAD, state=State.FAILED))
    check_not_rejected(UPLOAD)
