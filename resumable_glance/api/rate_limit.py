"""How often somebody may ask: buckets that fill with time, and that each request takes one token from."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from resumable_glance.errors import Reason, Refused

KNOWN = 100_000  # buckets; who has not asked for longest is forgotten, and begins with a full one again


class Rate:
    """So many requests a minute for each key; all of them may come at once. 0: any number.

    `clock` gives seconds. Costs about a microsecond a request, and about 200 bytes for each key that is known.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(KNOWN)  # tokens, and when there were so many

    def take(self, key: str) -> None:
        """Refused: OVER_LIMIT, with the seconds after which there is a token again."""
        if not self._per_minute:
            return
        now = self._clock()
        tokens, then = self._buckets.get(key, (float(self._per_minute), now))
        tokens = min(self._per_minute, tokens + (now - then) * self._per_minute / 60)
        if tokens < 1:
            self._buckets[key] = tokens, now
            wait = max(1, round((1 - tokens) * 60 / self._per_minute))
            sentence = f"More than {self._per_minute} requests came within a minute. Wait {wait} s, then go on."
            raise Refused(Reason.OVER_LIMIT, sentence, retry_after=wait)
        self._buckets[key] = tokens - 1, now


def network_of(address: str) -> str:
    """Whom requests from an address count for: of IPv6 everybody has a whole /64 to choose from."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address  # whatever a proxy that is trusted has written there
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False).network_address)
    return address


def is_one_of(address: str, networks: Sequence[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(each) for each in networks)
