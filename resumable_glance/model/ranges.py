"""Ranges of bytes: half-open, ordered, never empty.

On the wire a range is its first and last byte (RFC 9110, section 14.1.2). Here it is `start` and `stop`, so that
lengths and neighbours need no plus or minus one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Range(NamedTuple):
    """The bytes from `start` up to, but not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.stop - self.start

    def overlaps(self, other: Range) -> bool:
        """Return whether both have a byte in common."""
        return self.start < other.stop and other.start < self.stop


class Segment(NamedTuple):
    """A part of a chunk that is either durable already or still missing."""

    range: Range
    durable: bool


def merge(ranges: Iterable[Range]) -> Iterator[Range]:
    """Join adjacent and overlapping ranges; yield them in order, with a gap between any two."""
    return joined(sorted(ranges))


def joined(ordered: Iterable[Range]) -> Iterator[Range]:
    """Do what merge() does with ordered ranges, taking no more of them than each result needs."""
    current: Range | None = None
    for each in ordered:
        if current is None:
            current = each
        elif each.start <= current.stop:
            current = Range(current.start, max(current.stop, each.stop))
        else:
            yield current
            current = each
    if current is not None:
        yield current


def segments(target: Range, durable: Iterable[Range]) -> Iterator[Segment]:
    """Cut `target` where durable ranges begin and end, in order and without a gap."""
    position = target.start
    for each in merge(durable):
        if not each.overlaps(target):
            continue
        if position < each.start:
            yield Segment(Range(position, each.start), durable=False)
            position = each.start
        stop = min(each.stop, target.stop)
        yield Segment(Range(position, stop), durable=True)
        position = stop
    if position < target.stop:
        yield Segment(Range(position, target.stop), durable=False)


def missing(size: int, durable: Iterable[Range]) -> list[Range]:
    """Return the gaps in an upload of `size` bytes."""
    return [each.range for each in segments(Range(0, size), durable) if not each.durable]
