"""The model of an upload: a bytearray, and a mark for each durable byte.

It shares no code with the service; it follows docs/native-protocol.md, docs/tus.md and docs/rufh.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.reliability.protocols import Chunk

EXPIRY = 10_000  # seconds
TICK = 4_000  # seconds: the third tick without a new byte exceeds EXPIRY, however long the test itself takes
LIFE = 3  # ticks
FIRST_BYTE_EXPIRY = 6_000  # seconds
FIRST_LIFE = 2  # ticks: of an upload that never had a byte
ENDLESS = 10**9  # bytes: more than a body of unknown length has here
PATH_TO_ACTIVE = ("sealed", "delivering", "verifying", "active")
PATH_TO_FAILED = ("sealed", "delivering", "failed")


@dataclass(frozen=True)
class Kept:
    """The number of bytes of a body that may count: `least` to `most`, or only one of the two."""

    least: int
    most: int
    all_or_nothing: bool = False

    def allows(self, count: int) -> bool:
        return count in {self.least, self.most} if self.all_or_nothing else self.least <= count <= self.most


NOTHING = Kept(0, 0)
Outcomes = Mapping[str, Kept]  # by the reason of a refusal; empty for success


@dataclass(eq=False)
class Modelled:
    """One upload. `size` is None until it was announced; `goal` is the planned size.

    `doomed`: a digest of the whole was declared that can't hold. `part`: it is joined with others, or will be; an
    upload that was joined from parts has them in `parts`.
    """

    id: str
    project: str
    size: int | None
    goal: int
    image_id: str
    doomed: bool = False
    part: bool = False
    parts: tuple[Modelled, ...] = field(default=(), repr=False)
    state: str = "receiving"
    age: int = 0  # ticks since the last new byte
    freed: bool = False  # the image is active, and scratch was seen to be empty
    content: bytearray = field(default_factory=bytearray, repr=False)
    proven: dict[tuple[int, int], tuple[str, bytes]] = field(default_factory=dict, repr=False)
    _durable: bytearray = field(default_factory=bytearray, repr=False)  # a mark for each byte
    _zeroed: bytearray = field(default_factory=bytearray, repr=False)  # a mark for each byte that was declared zero
    _seen: str = "sealed"  # the last state seen

    def __post_init__(self) -> None:
        self._empty = self.size == 0  # it had all of its bytes when it was created
        self._become(self.size)

    @property
    def offset(self) -> int:
        gap = self._durable.find(0)
        return len(self._durable) if gap < 0 else gap

    @property
    def received(self) -> int:
        return self._durable.count(1)

    @property
    def full(self) -> bool:
        """Whether it has all of its bytes, although it may not be sealed."""
        return self.received == self.size

    @property
    def complete(self) -> bool:
        """Whether no byte can be added. A part is never sealed."""
        return self.state != "receiving" or (self.part and self.full)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        return _runs(self._durable, 1)

    @property
    def gaps(self) -> list[tuple[int, int]]:
        return _runs(self._durable, 0)

    @property
    def alive(self) -> bool:
        return self.state in {"receiving", "sealed", "joined"}

    @property
    def expired(self) -> bool:
        return self.state == "expired"

    @property
    def expiry(self) -> int:
        """The seconds after its last new byte, or its creation, after which it expires."""
        return FIRST_BYTE_EXPIRY if self.received == 0 and not self._empty else EXPIRY

    def tick(self) -> None:
        self.age += 1
        if self.state == "receiving" and self.age >= (LIFE if self.expiry == EXPIRY else FIRST_LIFE):
            self.state = "expired"

    def right_state(self, state: str) -> bool:
        """Return whether the service may report this state now: it never goes back to an earlier one."""
        if self.state != "sealed":
            return state == self.state
        path = PATH_TO_FAILED if self.doomed else PATH_TO_ACTIVE
        if state not in path or path.index(state) < path.index(self._seen):
            return False
        self._seen = state
        return True

    @property
    def gone(self) -> str:
        """The reason why every request is refused; empty if it is not."""
        return {"cancelled": "upload-cancelled", "expired": "upload-expired"}.get(self.state, "")

    @property
    def closed(self) -> str:
        """The reason why chunks are refused by a part that was joined, or by the whole; empty otherwise."""
        return "upload-joined" if self.state == "joined" or self.parts else ""

    def cancel(self) -> None:
        for each in (self, *self.parts):
            each.state = "cancelled"

    def asked(self) -> None:
        """Seal an upload that has all of its bytes, after a question in a protocol that completes uploads."""
        if self.state == "receiving" and self.full and not self.part:
            self.state = "sealed"

    def announced(self, chunk: Chunk) -> int | None:
        """Return the size that the head of a chunk announces, else the known one."""
        end = chunk.start + len(chunk.body) if chunk.last and not chunk.chunked else chunk.total
        return self.size if end is None else end

    def place(self, chunk: Chunk) -> tuple[int, int]:
        """Return the range that a chunk may fill."""
        if not chunk.in_order:
            return chunk.start, chunk.stop
        announced = self.announced(chunk)
        end = chunk.start + ENDLESS if announced is None else announced
        return chunk.start, end if chunk.chunked else chunk.start + len(chunk.body)

    def refused_by_head(self, chunk: Chunk) -> str:
        """Return why a chunk is refused whatever its body is; empty if it is not."""
        start, stop = self.place(chunk)
        if not chunk.in_order and not chunk.chunked and len(chunk.body) > stop - start:
            return "body-too-long"
        if self.gone or self.closed:
            return self.gone or self.closed
        if chunk.in_order and start != self.offset:
            return "wrong-offset"
        announced = self.announced(chunk)
        if announced is None:
            return ""
        if chunk.total not in {None, announced} or self.size not in {None, announced} or announced < self.received:
            return "wrong-total"
        if stop > announced:  # in RUFH a chunk that ends behind the upload announces another size
            return "body-too-long" if chunk.last is None else "wrong-total"
        return ""

    def outcomes(self, chunk: Chunk) -> Outcomes:
        """Return the right answers to a chunk that was not interrupted."""
        refused = self.refused_by_head(chunk)
        if refused:
            return {refused: NOTHING}
        found: dict[str, Kept] = {}
        if not self.freed:
            reason, kept = self._taken(chunk)
            found[reason] = kept
        if self.state == "sealed" and not self.doomed:  # scratch may be freed at any time
            found.setdefault(self._repeated(chunk), NOTHING)
        return found

    def _taken(self, chunk: Chunk) -> tuple[str, Kept]:
        start, stop = self.place(chunk)
        length = stop - start
        given = chunk.body[:length]
        short = len(chunk.body) < length and not chunk.in_order
        wrong = "body-too-short" if short else "body-too-long" if len(chunk.body) > length else ""
        differs = self.difference(chunk.start, given)
        kept = Kept(len(given), len(given))
        if chunk.declared:
            if not wrong and not chunk.holds():
                wrong = "chunk-digest-mismatch"
            if not wrong and differs is not None:
                wrong = "different-bytes"
            return (wrong, NOTHING) if wrong else (self._ended(chunk), kept)
        if differs is not None:
            return "different-bytes", NOTHING if chunk.zeros else Kept(0, differs)
        return wrong or self._ended(chunk), kept

    def _ended(self, chunk: Chunk) -> str:
        """Return wrong-total for a whole chunk that was declared the last one while bytes are missing."""
        stop = chunk.start + len(chunk.body)
        missing = any(end > stop for _, end in self.gaps) or (self.announced(chunk) or stop) > max(
            stop, len(self._durable)
        )
        return "wrong-total" if chunk.last and missing else ""

    def _repeated(self, chunk: Chunk) -> str:
        place = self.place(chunk)
        if chunk.zeros:
            again = self._zeroed[place[0] : place[1]].count(1) == place[1] - place[0]
        else:
            again = (place[0] == place[1] and not chunk.body) or self.proven.get(place) in chunk.declared
        return "" if again else "upload-sealed"

    def interrupted(self, chunk: Chunk, sent: int) -> Kept:
        """Return how many bytes may count of a chunk that was interrupted after `sent` bytes of its body."""
        if chunk.zeros:
            refused = self.refused_by_head(chunk) or self.difference(chunk.start, chunk.body) is not None
            return NOTHING if refused else Kept(0, len(chunk.body), all_or_nothing=True)
        if self.refused_by_head(chunk) or (chunk.declared and (sent < len(chunk.body) or not chunk.holds())):
            return NOTHING
        start, stop = self.place(chunk)
        given = chunk.body[: min(sent, stop - start)]
        differs = self.difference(start, given)
        if chunk.declared:
            whole = len(chunk.body) == stop - start or chunk.in_order
            return NOTHING if differs is not None or not whole else Kept(0, len(given), all_or_nothing=True)
        return Kept(0, len(given) if differs is None else differs)

    def difference(self, start: int, body: bytes) -> int | None:
        """Return the index in `body` of the first byte that differs from a durable one; None if none does."""
        for first, last in self.ranges:
            first, last = max(first, start), min(last, start + len(body))
            if first < last and body[first - start : last - start] != self.content[first:last]:
                return next(each - start for each in range(first, last) if body[each - start] != self.content[each])
        return None

    def with_offset(self, offset: int) -> list[tuple[int, int]]:
        """Return the durable ranges that a new offset means."""
        marks = self._durable.ljust(offset, b"\0")
        marks[:offset] = b"\1" * offset
        return _runs(marks, 1)

    def adopt(self, observed: list[tuple[int, int]], size: int | None, chunk: Chunk, kept: Kept) -> None:
        """Take over the size, and the bytes of a chunk, that the service reports. AssertionError if it may not."""
        ends = {self.size} if kept is NOTHING and self.refused_by_head(chunk) else {self.size, self.announced(chunk)}
        counts = [kept.least, kept.most]
        covers = [stop - chunk.start for start, stop in observed if start <= chunk.start < stop]
        counts += [min(each, kept.most) for each in covers if kept.allows(min(each, kept.most))]
        for count in counts:
            marks = self._durable.ljust(chunk.start + count, b"\0")
            marks[chunk.start : chunk.start + count] = b"\1" * count
            if _runs(marks, 1) == observed:
                ends |= {len(marks)} if chunk.last and chunk.chunked and self.size is None else set()
                assert size in ends, f"it has {size} bytes, and {ends} were announced"
                self._become(size)
                self._grow(chunk, count)
                return
        raise AssertionError(f"durable are {observed}; before {chunk!r} it was {self.ranges}, and it may keep {kept}")

    def _become(self, size: int | None) -> None:
        if size is not None:
            self.size = self.goal = size
            self._extend(size)

    def _extend(self, stop: int) -> None:
        self._durable = self._durable.ljust(stop, b"\0")
        self._zeroed = self._zeroed.ljust(stop, b"\0")
        self.content = self.content.ljust(stop, b"\0")
        self.goal = max(self.goal, stop)

    def _grow(self, chunk: Chunk, count: int) -> None:
        stop = chunk.start + count
        self._extend(stop if count else 0)
        missing = [(max(start, chunk.start), min(end, stop)) for start, end in self.gaps]
        missing = [(start, end) for start, end in missing if start < end]
        for start, end in missing:
            self.content[start:end] = chunk.body[start - chunk.start : end - chunk.start]
            self._durable[start:end] = b"\1" * (end - start)
            self._zeroed[start:end] = bytes([chunk.zeros]) * (end - start)
        if not missing:
            return
        self.age = 0
        if chunk.declared and missing == [(chunk.start, stop)]:
            self.proven[chunk.start, stop] = chunk.declared[0]


def unfit(parts: Sequence[Modelled]) -> str:
    """Return why these can't be joined; empty if they can."""
    for each in parts:
        if each.gone or each.closed or not each.part:
            return each.gone or "upload-joined"
        if not each.full:
            return "upload-unfinished"
    return ""


def joined(upload_id: str, image_id: str, parts: tuple[Modelled, ...]) -> Modelled:
    """Join parts into one upload."""
    content = bytearray().join(each.content for each in parts)
    whole = Modelled(upload_id, parts[0].project, len(content), len(content), image_id, parts=parts, state="sealed")
    whole.content, whole._durable = content, bytearray(b"\1" * len(content))
    for each in parts:
        each.state = "joined"
    return whole


def _runs(marks: bytearray, mark: int) -> list[tuple[int, int]]:
    return [each.span() for each in re.finditer(b"%c+" % mark, marks)]


def ranges(document: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges of a native description, half-open."""
    return [(first, last + 1) for first, last in document]
