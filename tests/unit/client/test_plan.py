"""What the client sends next, and what it makes of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_glance.client.plan import (
    FIRST_CHUNK,
    HEAD,
    LONGEST_DELAY,
    LONGEST_RETRY_AFTER,
    MIB,
    MOST_MISMATCHES,
    SCAN,
    SLOW,
    SUCCESSES,
    Action,
    ApiResponse,
    ChunkScheduler,
    decide,
    delay,
    explain,
)
from resumable_glance.errors import Reason
from resumable_glance.model.ranges import Range, merge


def problem(status: int, reason: Reason, **members: object) -> ApiResponse:
    """A refusal of the service itself."""
    kind = f"urn:problem-type:resumable-glance:{reason.value}"
    return ApiResponse(status, "A sentence.", {"type": kind, **members}, request_id="req-1")


LOST = ApiResponse(None, "connection refused")
BEGUN = [Range(0, HEAD)]  # what has to be durable before there is anything to choose


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        (ApiResponse(204), Action.DONE),
        (LOST, Action.RETRY),
        (ApiResponse(408), Action.RETRY),
        (ApiResponse(429), Action.RETRY),
        (ApiResponse(500), Action.RETRY),
        (ApiResponse(502), Action.RETRY),
        (problem(507, Reason.NO_SPACE), Action.RETRY),
        (problem(409, Reason.SUPERSEDED), Action.RETRY),
        (problem(422, Reason.CHUNK_DIGEST_MISMATCH), Action.RETRY),
        (problem(409, Reason.SEALED), Action.REFRESH),
        (problem(404, Reason.UNKNOWN_UPLOAD), Action.GONE),
        (problem(410, Reason.EXPIRED), Action.GONE),
        (problem(410, Reason.CANCELLED), Action.GONE),
        (problem(413, Reason.CHUNK_TOO_LARGE), Action.SHRINK),
        (ApiResponse(413), Action.SHRINK),
        (ApiResponse(404), Action.GIVE_UP),  # somebody else's: a wrong address is no lost upload
        (ApiResponse(302), Action.GIVE_UP),
        (ApiResponse(501), Action.GIVE_UP),
        (problem(401, Reason.UNAUTHENTICATED), Action.GIVE_UP),
        (problem(422, Reason.DIFFERENT_BYTES), Action.GIVE_UP),
        (problem(413, Reason.OVER_QUOTA), Action.GIVE_UP),
        (problem(409, Reason.IMAGE_NOT_QUEUED), Action.GIVE_UP),
    ],
)
def test_each_response_has_one_action(answer: ApiResponse, action: Action) -> None:
    assert decide(answer) is action


def test_a_refusal_names_its_request_id() -> None:
    assert "req-1" in explain(problem(403, Reason.FORBIDDEN))
    assert "credentials" in explain(problem(401, Reason.UNAUTHENTICATED))
    assert "service URL" in explain(ApiResponse(404))


@given(st.integers(0, 10_000), st.floats(0, 1), st.none() | st.floats(0, 10_000))
def test_delays_are_bounded_and_honour_retry_after(attempts: int, chance: float, wish: float | None) -> None:
    seconds = delay(attempts, chance, wish)
    assert 0 < seconds <= max(LONGEST_DELAY, LONGEST_RETRY_AFTER)
    assert seconds >= min(wish or 0, LONGEST_RETRY_AFTER)
    assert delay(attempts + 1, chance) >= delay(attempts, chance)


@given(st.data())
def test_every_byte_is_acknowledged_in_the_end(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 64 * MIB), "size")
    chunk_size = data.draw(st.integers(64 * 1024, 32 * MIB), "chunk size")
    stored: list[Range] = []  # what the service has
    begun = data.draw(st.integers(0, size), "stored before")
    if begun:
        stored.append(Range(0, begun))
    scans = data.draw(st.booleans(), "whether zeros are declared")
    some = st.lists(st.tuples(st.integers(0, max(0, size - 1)), st.integers(1, 40 * MIB)), max_size=4 if size else 0)
    holes = list(merge(Range(at, min(size, at + length)) for at, length in data.draw(some, "runs of zeros")))
    scheduler = ChunkScheduler(size, chunk_size, stored, scans=scans)
    for each in holes[: data.draw(st.integers(0, 2), "holes that are known before") if scans else 0]:
        scheduler.scanned(each, [each])

    def next_chunk() -> Range | None:
        while (place := scheduler.to_scan()) is not None:
            assert 0 < place.length <= SCAN
            both = [Range(max(place.start, each.start), min(place.stop, each.stop)) for each in holes]
            scheduler.scanned(place, [each for each in both if each.length > 0])
        return scheduler.next()

    trouble = data.draw(st.integers(0, 40), "how many requests may fail")
    shown = scheduler.acknowledged
    while not scheduler.complete:
        while len(scheduler.in_flight) < 3 and (chunk := next_chunk()) is not None:
            others = scheduler.in_flight - {chunk}
            assert not any(each.overlaps(chunk) for each in [*others, *stored])
            empty = any(each.start <= chunk.start and chunk.stop <= each.stop for each in holes)
            assert scheduler.is_zeros(chunk) is (scans and empty)
            assert 0 < chunk.length <= (size if scans and empty else chunk_size)
            assert empty or not scans or not any(each.overlaps(chunk) for each in holes)
        chunk = data.draw(st.sampled_from(sorted(scheduler.in_flight)), "chunk that ends")
        fate = data.draw(st.sampled_from(["stored", "lost", "answer lost"]), "fate") if trouble else "stored"
        if fate == "stored":
            stored.append(chunk)
            scheduler.succeeded(chunk, data.draw(st.sampled_from([0.1, 20.0, 100.0]), "seconds"))
        else:
            trouble -= 1
            assert scheduler.failed(chunk, LOST) is Action.RETRY
            if fate == "answer lost":
                stored.append(chunk)
            scheduler.learn(stored)
        assert scheduler.acknowledged >= shown
        shown = scheduler.acknowledged
    assert sum(each.length for each in set(stored)) >= size
    assert scheduler.acknowledged == size
    assert next_chunk() is None


def test_the_head_is_sent_first_and_alone() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB)
    assert take(scheduler) == Range(0, HEAD)
    assert scheduler.next() is None
    scheduler.succeeded(Range(0, HEAD), 0.1)
    assert [take(scheduler).start, take(scheduler).start] == [HEAD, HEAD + FIRST_CHUNK]


def test_chunks_grow_on_a_good_link() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    assert take(scheduler).length == FIRST_CHUNK
    grow(scheduler)
    assert scheduler.chunk_size == 64 * MIB


def test_chunks_shrink_when_connections_break() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    grow(scheduler)
    scheduler.failed(take(scheduler), LOST)
    assert scheduler.chunk_size == 32 * MIB
    for _ in range(20):
        scheduler.failed(take(scheduler), LOST)
    assert scheduler.chunk_size == 1 * MIB
    for _ in range(SUCCESSES):
        scheduler.succeeded(take(scheduler), 1.0)
    assert scheduler.chunk_size == 2 * MIB


def test_chunks_that_fail_together_shrink_once() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    for chunk in [take(scheduler), take(scheduler), take(scheduler)]:
        scheduler.failed(chunk, LOST)
    assert scheduler.chunk_size == FIRST_CHUNK // 2


def test_chunks_shrink_on_a_slow_link() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB, BEGUN)
    scheduler.succeeded(take(scheduler), SLOW + 1)
    assert scheduler.chunk_size == FIRST_CHUNK // 2


def test_chunks_stay_below_a_refused_size() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    grow(scheduler)
    assert scheduler.failed(take(scheduler), problem(413, Reason.CHUNK_TOO_LARGE, limit=10 * MIB)) is Action.SHRINK
    assert scheduler.chunk_size == 10 * MIB
    grow(scheduler)
    assert scheduler.chunk_size == 10 * MIB


def test_declared_zeros_do_not_resize_chunks() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN, scans=True)
    scheduler.scanned(Range(0, 4096 * MIB), [Range(0, 4096 * MIB)])
    for answer in (LOST, ApiResponse(503)):
        assert scheduler.failed(take(scheduler), answer) is Action.RETRY
    assert scheduler.failed(take(scheduler), ApiResponse(413)) is Action.GIVE_UP
    run = take(scheduler)
    scheduler.succeeded(run, SLOW + 1)
    assert run == Range(HEAD, 4096 * MIB)
    assert scheduler.chunk_size == FIRST_CHUNK


def test_a_proxy_that_refuses_every_chunk_ends_the_upload() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB, BEGUN)
    actions = [scheduler.failed(take(scheduler), ApiResponse(413)) for _ in range(4)]
    assert actions == [Action.SHRINK] * 3 + [Action.GIVE_UP]


def test_repeated_digest_mismatches_end_the_upload() -> None:
    scheduler = ChunkScheduler(8 * MIB, MIB, BEGUN)
    mismatch = problem(422, Reason.CHUNK_DIGEST_MISMATCH)
    actions = [scheduler.failed(take(scheduler), mismatch) for _ in range(MOST_MISMATCHES)]
    assert actions == [Action.RETRY] * (MOST_MISMATCHES - 1) + [Action.GIVE_UP]


def grow(scheduler: ChunkScheduler) -> None:
    """As much as it may."""
    for _ in range(4 * SUCCESSES):
        scheduler.succeeded(take(scheduler), 1.0)


def take(scheduler: ChunkScheduler) -> Range:
    chunk = scheduler.next()
    if chunk is None:
        pytest.fail("nothing is left to send")
    return chunk
