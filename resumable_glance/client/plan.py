"""The next chunk, the meaning of a response, and the delay before a retry. Pure: no I/O, no clock, no randomness.

A byte counts only once the service has reported it durable. No two chunks in flight overlap.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from resumable_glance.errors import Reason
from resumable_glance.model.ranges import Range, merge, missing, segments

MIB = 1024 * 1024
DEFAULT_CHUNK = 64 * MIB  # bytes; the largest chunk unless the user says otherwise
SMALLEST_CHUNK = MIB  # bytes; chunks do not shrink below this on a bad link
FIRST_CHUNK = 8 * MIB  # bytes; the size of chunks before the link is known
HEAD = MIB  # bytes; the service accepts or refuses the image by them, so they are sent first and alone
SCAN = 32 * MIB  # bytes scanned for zeros at a time, so that a slow disk does not hold up the first chunk
FAST, SLOW = 10.0, 30.0  # seconds for a chunk: below FAST chunks may grow, above SLOW they shrink
FIRST_DELAY = 0.5  # seconds
LONGEST_DELAY = 15.0  # seconds; a service that has come back is noticed within this time
LONGEST_RETRY_AFTER = 300.0  # seconds; a longer Retry-After is cut to this
SUCCESSES = 4  # fast chunks before larger ones are tried
MOST_MISMATCHES = 5  # digest mismatches of one chunk in a row before the upload ends
PROBLEM_TYPE = "urn:problem-type:resumable-glance:"
_GONE = {Reason.UNKNOWN_UPLOAD, Reason.CANCELLED, Reason.EXPIRED, Reason.LOST}
_RETRIABLE_STATUS = {408, 425, 429}
_RETRIABLE = {Reason.CHUNK_DIGEST_MISMATCH, Reason.SUPERSEDED}


def problem_reason(document: Mapping[str, object]) -> str | None:
    """Return the reason in a problem document (RFC 9457) of the service; None for any other document."""
    kind = document.get("type")
    return kind.removeprefix(PROBLEM_TYPE) if isinstance(kind, str) and kind.startswith(PROBLEM_TYPE) else None


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """The result of a request. `status` is None if no response arrived; `detail` then says why.

    `document` is the JSON object of the body; `retry_after` is in seconds.
    """

    status: int | None
    detail: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    retry_after: float | None = None

    @property
    def reason(self) -> str | None:
        """The reason of the service; None if something else responded, such as a proxy, or nothing did."""
        return problem_reason(self.document)

    @property
    def limit(self) -> int | None:
        """The largest number of bytes that the service would have accepted."""
        limit = self.document.get("limit")
        return limit if isinstance(limit, int) else None


class Action(enum.Enum):
    DONE = "done"
    RETRY = "retry"  # wait, ask for the durable ranges, go on
    REFRESH = "refresh"  # the upload is in another state: ask for it at once
    SHRINK = "shrink"  # send smaller chunks
    GONE = "gone"  # the upload does not exist any more
    GIVE_UP = "give up"  # a retry would not help


def decide(response: ApiResponse) -> Action:
    """Return the action for a response to any request."""
    status, reason = response.status, response.reason
    if status is not None and 200 <= status < 300:
        return Action.DONE
    if reason == Reason.SEALED:
        return Action.REFRESH
    if reason in _GONE:
        return Action.GONE
    if status is None or reason in _RETRIABLE or status in _RETRIABLE_STATUS or (status >= 500 and status != 501):
        return Action.RETRY
    if reason == Reason.CHUNK_TOO_LARGE or (status == 413 and reason is None):  # without a reason: a proxy's limit
        return Action.SHRINK
    return Action.GIVE_UP


def explain(response: ApiResponse) -> str:
    """Return a refusal as a sentence, with the request id by which the operator finds it in the log."""
    sentence = response.detail or f"The status was {response.status}."
    if response.status == 401:
        sentence += " A new token was refused as well: check the credentials (clouds.yaml, OS_* variables)."
    elif response.status is not None and response.reason is None:
        sentence += " This response is not from resumable-glance itself: check the service URL."
    return sentence + (f" (request id {response.request_id})" if response.request_id else "")


def delay(attempts: int, jitter: float, retry_after: float | None = None) -> float:
    """Return the seconds to wait after `attempts` failures in a row: doubled each time, up to 15 s.

    `jitter`, from 0 to 1, spreads clients that failed together. A longer `retry_after` is honoured.
    """
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(attempts, 1) - 1, 16))
    return max(longest * (0.5 + jitter / 2), min(retry_after or 0.0, LONGEST_RETRY_AFTER))


class ChunkScheduler:
    """The durable bytes, the chunks in flight and the next chunk of one upload. Sizes in bytes.

    The service keeps a chunk with a digest as a whole or not at all. On a link that breaks often, chunks therefore
    shrink until one fits between two breaks, and grow again as they succeed. On a slow link they shrink as well.

    With `scans`, bytes are scheduled only after a scan for zeros; runs of zeros become chunks of their own, of any
    length, that are declared instead of sent and say nothing about the link.
    """

    def __init__(self, size: int, chunk_size: int, durable: Iterable[Range] = (), *, scans: bool = False) -> None:
        self.size = size
        self.in_flight: set[Range] = set()
        self.chunk_size = min(chunk_size, FIRST_CHUNK)
        self._largest = chunk_size
        self._smallest = min(chunk_size, SMALLEST_CHUNK)
        self._successes = 0
        self._mismatches: dict[int, int] = {}
        self._durable = list(merge(durable))
        self._zeros: list[Range] = []
        self._scanned = [] if scans or not size else [Range(0, size)]

    @property
    def acknowledged(self) -> int:
        """The number of durable bytes; never decreases."""
        return sum(each.length for each in self._durable)

    @property
    def complete(self) -> bool:
        return self.acknowledged == self.size

    def to_scan(self) -> Range | None:
        """Return the range to scan before next() can decide; None if there is none."""
        chunk = self._following()
        unknown = [] if chunk is None else [each for each in segments(chunk, self._scanned) if not each.durable]
        if not unknown:
            return None
        start = unknown[0].range.start
        (rest, *_) = [each for each in missing(self.size, [*self._durable, *self.in_flight]) if start < each.stop]
        return Range(start, min(rest.stop, start + SCAN))

    def scanned(self, place: Range, zeros: Iterable[Range]) -> None:
        """Record the runs of zeros in a range that are long enough to be declared."""
        self._scanned = list(merge([*self._scanned, place]))
        self._zeros = list(merge([*self._zeros, *zeros]))

    def is_zeros(self, chunk: Range) -> bool:
        """Return whether a chunk is to be declared instead of sent."""
        return any(each.start <= chunk.start and chunk.stop <= each.stop for each in self._zeros)

    def next(self) -> Range | None:
        """Return the next chunk and count it as in flight; None if every missing byte is in flight."""
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
                return None  # the service may still refuse the image
            stop = min(stop, HEAD)
        for each in self._zeros:
            if each.start <= start < each.stop:
                return Range(start, min(stop, each.stop))
            if start < each.start:
                stop = min(stop, each.start)
                break
        return Range(start, min(stop, start + self.chunk_size))

    def succeeded(self, chunk: Range, seconds: float) -> None:
        """Record that a chunk is durable; it took `seconds`."""
        self.in_flight.discard(chunk)
        self._mismatches.pop(chunk.start, None)
        self.learn([chunk])
        if self.is_zeros(chunk):
            return
        self._successes += seconds < FAST
        if seconds > SLOW:
            self._resize(min(self.chunk_size, chunk.length // 2))
        elif self._successes >= SUCCESSES:
            self._resize(self.chunk_size * 2)

    def failed(self, chunk: Range, response: ApiResponse) -> Action:
        """Return the action after a chunk that is not known to be durable."""
        self.in_flight.discard(chunk)
        action = decide(response)
        if self.is_zeros(chunk):  # its length does not matter
            return Action.GIVE_UP if action is Action.SHRINK else action
        if response.status is None:
            self._resize(chunk.length // 2)
        elif action is Action.SHRINK:
            if chunk.length <= self._smallest:
                return Action.GIVE_UP
            self._largest = max(self._smallest, min(response.limit or chunk.length, chunk.length // 2, self._largest))
            self._resize(self._largest)
        elif response.reason == Reason.CHUNK_DIGEST_MISMATCH:
            count = self._mismatches[chunk.start] = self._mismatches.get(chunk.start, 0) + 1
            if count >= MOST_MISMATCHES:
                return Action.GIVE_UP
        return action

    def learn(self, durable: Iterable[Range]) -> None:
        """Add the durable ranges that the service has reported; earlier reports stay true."""
        self._durable = list(merge([*self._durable, *durable]))

    def _resize(self, size: int) -> None:
        self._successes = 0
        self.chunk_size = max(min(size, self._largest), self._smallest)
