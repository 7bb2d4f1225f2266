"""Ranges of bytes: half-open, ordered, never empty.

The wire speaks of first and last byte (RFC 9110, section 14.1.2); in here it is start and stop, so that
lengths and neighbours need no plus or minus one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Range(NamedTuple):
    """The bytes `start` up to, but not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def overlaps(self, other: Range) -> bool:
        return self.start < other.stop and other.start < self.stop


class Segment(NamedTuple):
    """A part of a chunk that is either durable already or still missing."""

    range: Range
    durable: bool


def merge(ranges: Iterable[Range]) -> Iterator[Range]:
    """Join neighbours and overlaps; the result is ordered and has a gap between any two."""
    return joined(sorted(ranges))


def joined(ordered: Iterable[Range]) -> Iterator[Range]:
    """As merge(), of what is ordered already; no more of it is taken than each result needs."""
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
    for known in merge(durable):
        if not known.overlaps(target):
            continue
        if position < known.start:
            yield Segment(Range(position, known.start), durable=False)
            position = known.start
        stop = min(known.stop, target.stop)
        yield Segment(Range(position, stop), durable=True)
        position = stop
    if position < target.stop:
        yield Segment(Range(position, target.stop), durable=False)


def missing(size: int, durable: Iterable[Range]) -> list[Range]:
    """The gaps in an upload of `size` bytes."""
    return [each.range for each in segments(Range(0, size), durable) if not each.durable]
