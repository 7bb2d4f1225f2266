"""Ranges are compared with the plainest model there is: a set of positions."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resumable_glance.model.ranges import Range, Segment, merge, missing, segments

MOST = 40  # bytes: small, so that ranges touch, overlap and swallow each other often
many = settings(deadline=None, max_examples=150)


def ranges(most: int = MOST) -> st.SearchStrategy[Range]:
    return st.tuples(st.integers(0, most - 1), st.integers(1, most)).map(
        lambda pair: Range(pair[0], min(most, pair[0] + pair[1]))
    )


def positions(of: Iterable[Range]) -> set[int]:
    return {position for each in of for position in range(each.start, each.stop)}


def test_the_length_of_a_range_is_the_number_of_its_bytes() -> None:
    assert Range(3, 10).length == 7


@many
@given(ranges(), ranges())
def test_two_ranges_overlap_where_they_share_a_byte(one: Range, other: Range) -> None:
    assert one.overlaps(other) == bool(positions([one]) & positions([other]))


@pytest.mark.parametrize(("one", "other"), [(Range(0, 5), Range(5, 9)), (Range(5, 9), Range(0, 5))])
def test_neighbours_do_not_overlap(one: Range, other: Range) -> None:
    assert not one.overlaps(other)


@many
@given(st.lists(ranges()))
@example([])
@example([Range(0, 2), Range(2, 4)])
def test_merged_ranges_have_the_same_bytes_and_gaps_between(given_: list[Range]) -> None:
    merged = list(merge(given_))
    assert positions(merged) == positions(given_)
    assert all(each.start < each.stop for each in merged)
    assert all(left.stop < right.start for left, right in pairwise(merged))


def test_a_range_within_another_does_not_shorten_it() -> None:
    assert list(merge([Range(0, 10), Range(2, 3)])) == [Range(0, 10)]


@many
@given(ranges(), st.lists(ranges()))
def test_segments_show_each_byte_as_durable_or_missing(target: Range, durable: list[Range]) -> None:
    cut = list(segments(target, durable))
    assert positions(each.range for each in cut if each.durable) == positions([target]) & positions(durable)
    assert positions(each.range for each in cut if not each.durable) == positions([target]) - positions(durable)


@many
@given(ranges(), st.lists(ranges()))
def test_segments_cover_the_chunk_without_gaps(target: Range, durable: list[Range]) -> None:
    cut = list(segments(target, durable))
    assert cut[0].range.start == target.start
    assert cut[-1].range.stop == target.stop
    assert all(each.range.length > 0 for each in cut)
    for left, right in pairwise(cut):
        assert left.range.stop == right.range.start
        assert left.durable != right.durable  # otherwise it would be one segment


def test_an_unknown_chunk_is_one_missing_segment() -> None:
    assert list(segments(Range(3, 8), [Range(0, 3), Range(8, 9)])) == [Segment(Range(3, 8), durable=False)]


def test_durable_bytes_split_a_chunk_into_segments() -> None:
    assert list(segments(Range(3, 8), [Range(0, 1), Range(4, 6), Range(9, 12)])) == [
        Segment(Range(3, 4), durable=False),
        Segment(Range(4, 6), durable=True),
        Segment(Range(6, 8), durable=False),
    ]


@many
@given(st.integers(0, MOST), st.lists(ranges()))
def test_missing_ranges_are_all_that_are_not_durable(size: int, durable: list[Range]) -> None:
    gaps = missing(size, durable)
    assert positions(gaps) == set(range(size)) - positions(durable)
    assert gaps == list(merge(gaps))


def test_an_upload_of_no_bytes_misses_nothing() -> None:
    assert missing(0, []) == []


@many
@given(st.integers(0, 2**53 - 1), st.integers(1, 2**53 - 1))
def test_ranges_of_any_size_cost_nothing(start: int, length: int) -> None:
    size = start + length + 1
    gaps = missing(size, [Range(start, start + length)])
    assert sum(each.length for each in gaps) == size - length
