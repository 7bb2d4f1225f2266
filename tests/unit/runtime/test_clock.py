"""A steady clock does not follow the clock on the wall."""

from __future__ import annotations

from resumable_glance.runtime.clock import SteadyClock


def test_a_set_wall_clock_is_drift_until_the_clock_jumps() -> None:
    wall, steady = [1000.0], [5.0]
    clock = SteadyClock(lambda: wall[0], lambda: steady[0])
    assert (clock(), clock.drift()) == (1000.0, 0.0)
    wall[0] += 10
    steady[0] += 10
    assert (clock(), clock.drift()) == (1010.0, 0.0)
    wall[0] += 3600  # somebody sets it
    assert (clock(), clock.drift()) == (1010.0, 3600.0)
    clock.jump(clock.drift())
    assert (clock(), clock.drift()) == (4610.0, 0.0)
