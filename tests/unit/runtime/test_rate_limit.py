"""Token buckets."""

from __future__ import annotations

import contextlib

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.runtime.rate_limit import Pacer, RateLimiter, network_of


def test_a_bucket_fills_with_time() -> None:
    now = 100.0
    rate = RateLimiter(60, lambda: now)

    def taken(key: str = "a") -> int:
        count = 0
        with contextlib.suppress(Refused):
            while count < 1000:
                rate.take(key)
                count += 1
        return count

    assert taken() == 60
    assert taken() == 0
    assert taken("b") == 60
    with pytest.raises(Refused) as refused:
        rate.take("a")
    assert (refused.value.reason, refused.value.facts) == (Reason.OVER_LIMIT, {"retry_after": 1})
    now += 1.5
    assert taken() == 1
    now += 3600
    assert taken() == 60
    for _ in range(1000):
        RateLimiter(0).take("a")


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    now = 1e9
    rate = RateLimiter(60, lambda: now)
    rate.take("a")
    now = 0.0
    rate.take("a")
    now += 1.0
    rate.take("a")


def test_an_ipv6_network_counts_once() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("unknown") == "unknown"


def test_turns_come_at_their_rate_after_a_burst_of_a_second() -> None:
    now = 100.0
    pacer = Pacer(10, lambda: now)
    assert [round(pacer.delay(), 3) for _ in range(13)] == [0.0] * 10 + [0.1, 0.2, 0.3]
    now = 100.3
    assert round(pacer.delay(), 3) == 0.1
    now = 1000.0
    assert [round(pacer.delay(), 3) for _ in range(11)] == [0.0] * 10 + [0.1]
