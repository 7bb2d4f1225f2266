"""Glance's limits, and for how long their absence is remembered."""

from __future__ import annotations

import pytest

from resumable_glance.errors import Refused
from resumable_glance.images.glance.quota import NO_LIMITS_TTL, Quota

MIB = 1024 * 1024


class Limits:
    """glanceclient where Glance says this of its limits."""

    def __init__(self, usage: dict[str, dict[str, int]]) -> None:
        self.info = self
        self.usage = usage
        self.asked = 0

    def get_usage(self) -> dict[str, dict[str, int]]:
        self.asked += 1
        return self.usage


def test_the_absence_of_limits_is_cached() -> None:
    now, glance = 100.0, Limits({})
    quota = Quota(lambda: now)
    quota.check(glance, MIB)
    glance.usage = {"image_size_total": {"usage": 3, "limit": 3}}  # Glance was started again, with limits
    now += NO_LIMITS_TTL - 1
    quota.check(glance, MIB)
    assert glance.asked == 1
    now += 1
    for times in (2, 3):
        with pytest.raises(Refused, match="3 MiB"):
            quota.check(glance, MIB)
        assert glance.asked == times
