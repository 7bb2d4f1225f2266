"""Bytes that count less and less."""

from resumable_glance.handoff.recent_bytes import HALF_LIFE, RecentBytes


def test_bytes_count_half_after_a_while_and_are_forgotten_in_the_end() -> None:
    now = 0.0
    recent = RecentBytes(lambda: now)
    recent.add("a", 1000)
    recent.add("a", 1000)
    recent.add("b", 10)
    assert recent.amounts() == {"a": 2000, "b": 10}
    now += HALF_LIFE
    recent.add("b", 3)
    assert recent.amounts() == {"a": 1000, "b": 6.5}
    now += 5 * HALF_LIFE
    assert list(recent.amounts()) == ["a"]
    now += 100 * HALF_LIFE
    assert recent.amounts() == {}
