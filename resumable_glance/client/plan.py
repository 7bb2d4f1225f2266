"""What to send next, what an answer means, and how long to wait. Pure: no I/O, no clock, no chance.

Its one rule: a byte counts only when the service has said that it is durable. No two chunks in flight overlap.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from resumable_glance.errors import Reason
from resumable_glance.model.ranges import Range, merge, missing, segments

MIB = 1024 * 1024
SMALLEST_CHUNK = MIB  # bytes; a bad link makes chunks shrink down to this
FIRST_CHUNK = 8 * MIB  # bytes; what the link is tried with
HEAD = MIB  # bytes by which the service tells whether it wants the image: they go first, and alone
LOOK = 32 * MIB  # bytes that are looked at for zeros at once: the first chunk must not wait long for a slow disk
QUICK, SLOW = 10.0, 30.0  # seconds that a chunk takes: larger ones are tried below, smaller ones above
FIRST_DELAY = 0.5  # seconds
LONGEST_DELAY = 15.0  # seconds: a service that is back is found within this
LONGEST_RETRY_AFTER = 300.0  # seconds; a longer wish of the service is not believed
SUCCESSES = 4  # quick ones, before larger chunks are tried
MOST_MISMATCHES = 5  # times in a row that a chunk's digest may not hold before it is no accident any more
_PREFIX = "urn:problem-type:resumable-glance:"
_GONE = {Reason.UNKNOWN_UPLOAD, Reason.CANCELLED, Reason.EXPIRED, Reason.LOST}
_RETRIABLE_STATUS = {408, 425, 429}
_RETRIABLE = {Reason.CHUNK_DIGEST_MISMATCH, Reason.SUPERSEDED}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a request. `status` is None where nothing did; then `detail` says why.

    `document` is the JSON object of the body, `retry_after` in seconds.
    """

    status: int | None
    detail: str = ""
    document: Mapping[str, object] = field(default_factory=dict)
    request_id: str | None = None
    retry_after: float | None = None

    @property
    def reason(self) -> str | None:
        """The service's own reason; None if somebody else answered (a proxy), or nobody."""
        kind = self.document.get("type")
        return kind.removeprefix(_PREFIX) if isinstance(kind, str) and kind.startswith(_PREFIX) else None

    @property
    def limit(self) -> int | None:
        """Bytes that the service would have taken."""
        limit = self.document.get("limit")
        return limit if isinstance(limit, int) else None


class Action(enum.Enum):
    DONE = "done"  # it was carried out
    RETRY = "retry"  # wait, ask what is durable, and go on
    ASK = "ask"  # the upload has moved on: ask where it is, at once
    SHRINK = "shrink"  # send smaller chunks
    GONE = "gone"  # there is no such upload any more
    GIVE_UP = "give up"  # trying again would not help


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do after an answer. `detail` is a sentence for a person, `after` a wish of the service in seconds."""

    action: Action
    detail: str = ""
    after: float | None = None


def decide(answer: Answer) -> Decision:
    """What an answer means, whatever was asked for."""
    status, reason = answer.status, answer.reason
    if status is not None and 200 <= status < 300:
        return Decision(Action.DONE)
    if reason == Reason.SEALED:
        return Decision(Action.ASK, answer.detail, answer.retry_after)
    if reason in _GONE:
        return Decision(Action.GONE, answer.detail)
    if status is None or reason in _RETRIABLE or status in _RETRIABLE_STATUS:
        return Decision(Action.RETRY, answer.detail, answer.retry_after)
    if status >= 500 and status != 501:
        return Decision(Action.RETRY, answer.detail, answer.retry_after)
    if reason == Reason.CHUNK_TOO_LARGE or (status == 413 and reason is None):  # or a proxy's own limit
        return Decision(Action.SHRINK, answer.detail)
    return Decision(Action.GIVE_UP, explain(answer))


def explain(answer: Answer) -> str:
    """A refusal for a person: what was said, and the id under which the operator finds it."""
    sentence = answer.detail or f"The answer was {answer.status}."
    if answer.status == 401:
        sentence += " A fresh token was refused too: look at the credentials (clouds.yaml, OS_*)."
    elif answer.status is not None and answer.reason is None:
        sentence += " This is not an answer of resumable-glance itself: is the service URL right?"
    return sentence + (f" (request id {answer.request_id})" if answer.request_id else "")


def delay(attempts: int, chance: float, wish: float | None = None) -> float:
    """Seconds to wait after `attempts` failures in a row: doubled each time, up to 15 s.

    `chance` from 0 to 1 spreads clients that failed together. `wish` is a Retry-After, which is waited for.
    """
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(attempts, 1) - 1, 16))
    return max(longest * (0.5 + chance / 2), min(wish or 0.0, LONGEST_RETRY_AFTER))


class Sending:
    """Which bytes are durable, which are in flight, and which go next. `chunk_size` is the largest; in bytes.

    A chunk with a digest counts as a whole or not at all. So on a link that is cut again and again chunks get
    smaller until they fit between two cuts, and larger again as they succeed. On a slow link they get smaller, too.

    With `looks` a piece of the file is sent only after somebody has looked at it; the runs of zeros that were found are
    declared. They say nothing about the link, and may have any length.
    """

    def __init__(self, size: int, chunk_size: int, durable: Iterable[Range] = (), *, looks: bool = False) -> None:
        self.size = size
        self.in_flight: set[Range] = set()
        self.chunk_size = min(chunk_size, FIRST_CHUNK)
        self._largest = chunk_size
        self._smallest = min(chunk_size, SMALLEST_CHUNK)
        self._successes = 0
        self._mismatches: dict[int, int] = {}
        self._durable = list(merge(durable))
        self._zeros: list[Range] = []
        self._looked = [] if looks or not size else [Range(0, size)]

    @property
    def acknowledged(self) -> int:
        """Durable bytes. Never decreases."""
        return sum(each.length for each in self._durable)

    @property
    def complete(self) -> bool:
        return self.acknowledged == self.size

    def unlooked(self) -> Range | None:
        """What has to be looked at before the next chunk can be told; None if nothing has."""
        chunk = self._following()
        unknown = [] if chunk is None else [each for each in segments(chunk, self._looked) if not each.durable]
        if not unknown:
            return None
        start = unknown[0].range.start
        (rest, *_) = [each for each in missing(self.size, [*self._durable, *self.in_flight]) if start < each.stop]
        return Range(start, min(rest.stop, start + LOOK))

    def looked(self, place: Range, zeros: Iterable[Range]) -> None:
        """These are the runs of zeros in a place that are worth a request of their own."""
        self._looked = list(merge([*self._looked, place]))
        self._zeros = list(merge([*self._zeros, *zeros]))

    def zeros(self, chunk: Range) -> bool:
        """Whether a chunk is to be declared, not sent."""
        return any(each.start <= chunk.start and chunk.stop <= each.stop for each in self._zeros)

    def next(self) -> Range | None:
        """The next chunk, from now on in flight; None if nothing is left that is not on its way."""
        chunk = self._following()
        if chunk is not None:
            self.in_flight.add(chunk)
        return chunk

    def _following(self) -> Range | None:
        gaps = missing(self.size, [*self._durable, *self.in_flight])
        if not gaps:
            return None
        start, stop = gaps[0]
        if any(each.start < HEAD for each in missing(self.size, self._durable)):
            if self.in_flight:
                return None  # whether more of it is wanted is not known
            stop = min(stop, HEAD)
        for each in self._zeros:
            if each.start <= start < each.stop:
                return Range(start, min(stop, each.stop))
            if start < each.start:
                stop = min(stop, each.start)
                break
        return Range(start, min(stop, start + self.chunk_size))

    def succeeded(self, chunk: Range, seconds: float) -> None:
        """The service has said that a chunk is durable, `seconds` after it was begun."""
        self.in_flight.discard(chunk)
        self._mismatches.pop(chunk.start, None)
        self.learn([chunk])
        if self.zeros(chunk):
            return
        self._successes += seconds < QUICK
        if seconds > SLOW:
            self._resize(min(self.chunk_size, chunk.length // 2))
        elif self._successes >= SUCCESSES:
            self._resize(self.chunk_size * 2)

    def failed(self, chunk: Range, answer: Answer) -> Decision:
        """A chunk is not known to be durable: what to do before it is sent again, if anything of it is missing."""
        self.in_flight.discard(chunk)
        decision = decide(answer)
        if self.zeros(chunk):  # its length is nobody's trouble
            return Decision(Action.GIVE_UP, explain(answer)) if decision.action is Action.SHRINK else decision
        if answer.status is None:
            self._resize(chunk.length // 2)
        elif decision.action is Action.SHRINK:
            return self._shrink(chunk, answer)
        elif answer.reason == Reason.CHUNK_DIGEST_MISMATCH:
            count = self._mismatches[chunk.start] = self._mismatches.get(chunk.start, 0) + 1
            if count >= MOST_MISMATCHES:
                return Decision(Action.GIVE_UP, explain(answer))
        return decision

    def learn(self, durable: Iterable[Range]) -> None:
        """The service has told what is durable. What it told before stays true."""
        self._durable = list(merge([*self._durable, *durable]))

    def _shrink(self, chunk: Range, answer: Answer) -> Decision:
        if chunk.length <= self._smallest:
            return Decision(Action.GIVE_UP, explain(answer))
        room = max(self._smallest, min(answer.limit or chunk.length, chunk.length // 2))
        self._largest = min(self._largest, room)
        self._resize(room)
        return Decision(Action.SHRINK, answer.detail)

    def _resize(self, size: int) -> None:
        self._successes = 0
        self.chunk_size = max(min(size, self._largest), min(self._smallest, self._largest))
