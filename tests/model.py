"""What an upload should be, as plainly as it can be said: a bytearray, and a mark for each byte that is durable.

It shares no code with the service. What it says follows docs/native-protocol.md and docs/tus.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.speakers import Chunk

EXPIRY = 10_000  # seconds
TICK = 4_000  # seconds: the third one without a new byte ends an upload, however long a test takes in between
LIFE = 3  # ticks
PATH_TO_ACTIVE = ("sealed", "delivering", "verifying", "active")
PATH_TO_FAILED = ("sealed", "delivering", "failed")


@dataclass(frozen=True)
class Kept:
    """How many bytes of a body may count after a request: `least` to `most` of them, or nothing between the two."""

    least: int
    most: int
    all_or_nothing: bool = False

    def allows(self, count: int) -> bool:
        return count in {self.least, self.most} if self.all_or_nothing else self.least <= count <= self.most


NOTHING = Kept(0, 0)
Outcomes = Mapping[str, Kept]  # by the reason of a refusal, empty for success


@dataclass(eq=False)
class Modelled:
    """One upload. `doomed`: a digest of the whole image was declared that can't hold."""

    id: str
    project: str
    size: int
    dialect: str
    image_id: str
    doomed: bool = False
    state: str = "receiving"
    age: int = 0  # ticks since the last new byte
    freed: bool = False  # the image is active, and scratch known to be empty
    content: bytearray = field(default_factory=bytearray, repr=False)
    proven: dict[tuple[int, int], tuple[str, bytes]] = field(default_factory=dict, repr=False)
    _durable: bytearray = field(default_factory=bytearray, repr=False)
    _seen: str = "sealed"  # how far on its path to the end it was seen

    def __post_init__(self) -> None:
        self.content, self._durable = bytearray(self.size), bytearray(self.size)
        self._seal_if_full()

    @property
    def offset(self) -> int:
        gap = self._durable.find(0)
        return self.size if gap < 0 else gap

    @property
    def received(self) -> int:
        return self._durable.count(1)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        return _runs(self._durable, 1)

    @property
    def gaps(self) -> list[tuple[int, int]]:
        return _runs(self._durable, 0)

    @property
    def alive(self) -> bool:
        return self.state in {"receiving", "sealed"}

    @property
    def expired(self) -> bool:
        return self.state == "expired"

    def tick(self) -> None:
        self.age += 1
        if self.state == "receiving" and self.age >= LIFE:
            self.state = "expired"

    def right_state(self, state: str) -> bool:
        """Whether the service may call it this now. Forgets nothing: no state is ever gone back to."""
        if self.state != "sealed":
            return state == self.state
        path = PATH_TO_FAILED if self.doomed else PATH_TO_ACTIVE
        if state not in path or path.index(state) < path.index(self._seen):
            return False
        self._seen = state
        return True

    @property
    def gone(self) -> str:
        """Why nothing can be asked of it any more; empty if something can."""
        return {"cancelled": "upload-cancelled", "expired": "upload-expired"}.get(self.state, "")

    def place(self, chunk: Chunk, in_order: bool) -> tuple[int, int]:
        """The bytes that a chunk may fill."""
        if in_order:
            return chunk.start, self.size if chunk.chunked else chunk.start + len(chunk.body)
        return chunk.start, chunk.stop

    def refused_by_head(self, chunk: Chunk, in_order: bool) -> str:
        """Why a chunk is refused whatever its body is; empty if it is not."""
        start, stop = self.place(chunk, in_order)
        if not in_order and not chunk.chunked and len(chunk.body) > stop - start:
            return "body-too-long"
        if self.gone:
            return self.gone
        if not in_order and chunk.total != self.size:
            return "wrong-total"
        if stop > self.size:
            return "body-too-long"
        return "wrong-offset" if in_order and start != self.offset else ""

    def outcomes(self, chunk: Chunk, in_order: bool) -> Outcomes:
        """The right answers to a chunk that came as it was sent."""
        refused = self.refused_by_head(chunk, in_order)
        if refused:
            return {refused: NOTHING}
        found: dict[str, Kept] = {}
        if not self.freed:
            reason, kept = self._taken(chunk, in_order)
            found[reason] = kept
        if self.state == "sealed" and not self.doomed:  # scratch may be free, or become so any time
            found.setdefault(self._repeated(chunk, in_order), NOTHING)
        return found

    def _taken(self, chunk: Chunk, in_order: bool) -> tuple[str, Kept]:
        start, stop = self.place(chunk, in_order)
        length = stop - start
        given = chunk.body[:length]
        short = len(chunk.body) < length and not in_order
        wrong = "body-too-short" if short else "body-too-long" if len(chunk.body) > length else ""
        differs = self.difference(chunk.start, given)
        if chunk.declared:
            if not wrong and not chunk.holds():
                wrong = "chunk-digest-mismatch"
            if not wrong and differs is not None:
                wrong = "different-bytes"
            return wrong, NOTHING if wrong else Kept(len(given), len(given))
        if differs is not None:
            return "different-bytes", Kept(0, differs)
        return wrong, Kept(len(given), len(given))

    def _repeated(self, chunk: Chunk, in_order: bool) -> str:
        place = self.place(chunk, in_order)
        again = place[0] == place[1] or self.proven.get(place) in chunk.declared
        return "" if again else "upload-sealed"

    def interrupted(self, chunk: Chunk, in_order: bool, sent: int) -> Kept:
        """What may count of a chunk that was broken off after `sent` bytes of its body."""
        if self.refused_by_head(chunk, in_order) or (chunk.declared and (sent < len(chunk.body) or not chunk.holds())):
            return NOTHING
        start, stop = self.place(chunk, in_order)
        given = chunk.body[: min(sent, stop - start)]
        differs = self.difference(start, given)
        if chunk.declared:
            whole = len(chunk.body) == stop - start or in_order
            return NOTHING if differs is not None or not whole else Kept(0, len(given), all_or_nothing=True)
        return Kept(0, len(given) if differs is None else differs)

    def difference(self, start: int, body: bytes) -> int | None:
        """How many bytes of `body` there are before the first that differs from a durable one; None if none does."""
        for first, last in self.ranges:
            first, last = max(first, start), min(last, start + len(body))
            if first < last and body[first - start : last - start] != self.content[first:last]:
                return next(each - start for each in range(first, last) if body[each - start] != self.content[each])
        return None

    def adopt(self, observed: list[tuple[int, int]], chunk: Chunk, kept: Kept) -> None:
        """Let those bytes of a chunk count that the service says are durable. AssertionError if they may not be."""
        counts = [kept.least, kept.most]
        covers = [stop - chunk.start for start, stop in observed if start <= chunk.start < stop]
        counts += [min(each, kept.most) for each in covers if kept.allows(min(each, kept.most))]
        for count in counts:
            marks = bytearray(self._durable)
            marks[chunk.start : chunk.start + count] = b"\1" * count
            if _runs(marks, 1) == observed:
                self._grow(chunk, count)
                return
        raise AssertionError(f"durable are {observed}; before {chunk!r} it was {self.ranges}, and it may keep {kept}")

    def _grow(self, chunk: Chunk, count: int) -> None:
        stop = chunk.start + count
        missing = [(max(start, chunk.start), min(end, stop)) for start, end in self.gaps]
        missing = [(start, end) for start, end in missing if start < end]
        for start, end in missing:
            self.content[start:end] = chunk.body[start - chunk.start : end - chunk.start]
            self._durable[start:end] = b"\1" * (end - start)
        if not missing:
            return
        self.age = 0
        if chunk.declared and missing == [(chunk.start, stop)]:
            self.proven[chunk.start, stop] = chunk.declared[0]
        self._seal_if_full()

    def _seal_if_full(self) -> None:
        if self.state == "receiving" and 0 not in self._durable:
            self.state = "sealed"


def _runs(marks: bytearray, mark: int) -> list[tuple[int, int]]:
    return [each.span() for each in re.finditer(b"%c+" % mark, marks)]


def ranges(document: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges of a native description, half-open."""
    return [(first, last + 1) for first, last in document]
