"""Limits on how often clients may ask: token buckets, which refill with time, and turns."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from resumable_glance.errors import Reason, Refused

MAX_KEYS = 100_000  # buckets; the least recently used one is forgotten first, and is full again then


class RateLimiter:
    """A token bucket for each key: `per_minute` of `what`, even all at once. 0: no limit.

    `clock` gives seconds. Costs about a microsecond a request, and about 200 bytes a key. It counts in this process.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic, what: str = "requests") -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._what = what
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(MAX_KEYS)  # tokens, and when they were counted

    def take(self, key: str) -> None:
        """Take a token. Raises Refused: OVER_LIMIT, with the seconds until there is one again."""
        if not self._per_minute:
            return
        now = self._clock()
        tokens, then = self._buckets.get(key, (float(self._per_minute), now))
        tokens = min(self._per_minute, tokens + max(0.0, now - then) * self._per_minute / 60)  # a clock may be set back
        if tokens < 1:
            self._buckets[key] = tokens, now
            wait = max(1, round((1 - tokens) * 60 / self._per_minute))
            sentence = f"More than {self._per_minute} {self._what} came within a minute. Continue in {wait} s."
            raise Refused(Reason.OVER_LIMIT, sentence, retry_after=wait)
        self._buckets[key] = tokens - 1, now


class Pacer:
    """Gives `per_second` turns a second, and the turns of a second at once after a pause. `clock` gives seconds."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._next = float("-inf")

    def delay(self) -> float:
        """Take the next turn; return the seconds until it comes."""
        now = self._clock()
        self._next = max(self._next, now - 1) + 1 / self._per_second
        return max(0.0, self._next - now)


def network_of(address: str) -> str:
    """Return the key for requests from an address: for IPv6 its /64, which usually belongs to one client."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address  # a trusted proxy may write anything here
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return address


def is_one_of(address: str, networks: Sequence[str]) -> bool:
    """Return whether an address is in one of these networks."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(each) for each in networks)
