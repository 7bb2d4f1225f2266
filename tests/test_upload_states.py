"""The life of an upload: what is in the table can happen, and nothing else can."""

import dataclasses
import itertools

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.protocol.commands import Append, Chunk, check_order, place_of
from resumable_glance.protocol.ranges import Range
from resumable_glance.protocol.upload import (
    ENDED,
    HOLDING_SCRATCH,
    TRANSITIONS,
    WITH_HANDOFF,
    Event,
    Hitch,
    IllegalTransition,
    Image,
    Owner,
    State,
    Upload,
    check_alive,
    follow,
    lapsed,
)

ENDS = {State.ACTIVE, State.CANCELLED, State.EXPIRED}
UPLOAD = Upload(
    id="a-" + "0" * 32,
    owner=Owner("project", "user"),
    size=100,
    state=State.RECEIVING,
    image=Image("11111111-2222-3333-4444-555555555555"),
    created_at=1000.0,
    updated_at=1000.0,
    expires_at=2000.0,
)
ALL_PAIRS = list(itertools.product(State, Event))


def reachable(state: State) -> set[State]:
    found, fresh = {state}, [state]
    while fresh:
        here = fresh.pop()
        following = {to for (origin, _), to in TRANSITIONS.items() if origin is here} - found
        found |= following
        fresh += following
    return found


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
def test_what_the_table_has_can_happen(state: State, event: Event) -> None:
    assert follow(state, event) is TRANSITIONS[state, event]


@pytest.mark.parametrize(("state", "event"), [pair for pair in ALL_PAIRS if pair not in TRANSITIONS])
def test_what_the_table_does_not_have_cannot_happen(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition):
        follow(state, event)


def test_an_upload_that_goes_well_is_sealed_delivered_verified_and_active() -> None:
    state = State.RECEIVING
    for event in (Event.FILLED, Event.STARTED, Event.DELIVERED, Event.VERIFIED):
        state = follow(state, event)
    assert state is State.ACTIVE


def test_nothing_becomes_active_except_by_being_verified() -> None:
    assert [pair for pair, to in TRANSITIONS.items() if to is State.ACTIVE] == [(State.VERIFYING, Event.VERIFIED)]


def test_nothing_is_verified_that_was_not_sealed_before() -> None:
    ways_in = {to: {origin for (origin, _), target in TRANSITIONS.items() if target is to} - {to} for to in State}
    assert ways_in[State.VERIFYING] == {State.DELIVERING}
    assert ways_in[State.DELIVERING] == {State.SEALED}
    assert ways_in[State.SEALED] == {State.RECEIVING, State.DELIVERING}


@pytest.mark.parametrize("state", sorted(set(State) - ENDS))
def test_every_state_that_is_not_an_end_leads_to_one(state: State) -> None:
    assert reachable(state) & ENDS


@pytest.mark.parametrize("state", [State.RECEIVING, State.SEALED, State.DELIVERING, State.VERIFYING])
def test_an_upload_on_its_way_can_become_active(state: State) -> None:
    assert State.ACTIVE in reachable(state)


@pytest.mark.parametrize("state", [State.ACTIVE, State.EXPIRED])
def test_from_active_and_expired_no_way_leads_out(state: State) -> None:
    assert [pair for pair in TRANSITIONS if pair[0] is state] == []


def test_a_cancelled_upload_stays_cancelled() -> None:
    assert reachable(State.CANCELLED) == {State.CANCELLED}


def test_a_failed_upload_becomes_nothing_but_cancelled() -> None:
    assert reachable(State.FAILED) == {State.FAILED, State.CANCELLED}


def test_every_state_can_be_reached() -> None:
    assert reachable(State.RECEIVING) == set(State)


def test_active_cancelled_and_expired_are_the_ends() -> None:
    assert ENDED == ENDS


def test_what_clients_are_told_of_troubles_keeps_its_values() -> None:
    assert {each.value for each in Hitch} >= set(
        "sink-unavailable token-expired image-busy image-gone image-refused over-quota digest-mismatch receipt-differs "
        "scratch-differs scratch-lost internal-error".split()
    )


def test_an_upload_expires_only_while_it_is_receiving() -> None:
    assert [pair for pair, to in TRANSITIONS.items() if to is State.EXPIRED] == [(State.RECEIVING, Event.LAPSED)]


def test_whatever_is_not_at_an_end_holds_scratch() -> None:
    assert set(State) - ENDS == HOLDING_SCRATCH


def test_a_handoff_works_on_whatever_is_sealed_and_neither_active_nor_failed() -> None:
    assert {State.SEALED, State.DELIVERING, State.VERIFYING} == WITH_HANDOFF


@pytest.mark.parametrize("state", State)
def test_only_a_cancelled_or_expired_upload_is_not_spoken_about(state: State) -> None:
    upload = dataclasses.replace(UPLOAD, state=state)
    reasons = {State.CANCELLED: Reason.CANCELLED, State.EXPIRED: Reason.EXPIRED}
    if state not in reasons:
        check_alive(upload)
        return
    with pytest.raises(Refused) as refusal:
        check_alive(upload)
    assert refusal.value.reason is reasons[state]


@pytest.mark.parametrize("state", State)
def test_an_upload_lapses_at_its_time_and_only_while_it_is_receiving(state: State) -> None:
    upload = dataclasses.replace(UPLOAD, state=state)
    assert not lapsed(upload, 1999.9)
    assert lapsed(upload, 2000.0) == lapsed(upload, 9999.0) == (state is State.RECEIVING)


def refusal_of(upload: Upload, chunk: Chunk, total: int | None = None) -> Refused:
    with pytest.raises(Refused) as refusal:
        place_of(upload, Append(upload.id, chunk, total))
    return refusal.value


@pytest.mark.parametrize("total", [0, 99, 101])
def test_a_chunk_of_an_upload_with_another_size_is_refused_and_told_the_right_one(total: int) -> None:
    refusal = refusal_of(UPLOAD, Chunk(0, 10), total)
    assert refusal.reason is Reason.WRONG_TOTAL
    assert refusal.facts == {"size": 100}


@pytest.mark.parametrize("total", [None, 100])
def test_a_chunk_of_an_upload_with_the_same_size_is_welcome(total: int | None) -> None:
    assert place_of(UPLOAD, Append(UPLOAD.id, Chunk(90, 10), total)) == Range(90, 100)


@pytest.mark.parametrize(("state", "reason"), [(State.CANCELLED, Reason.CANCELLED), (State.EXPIRED, Reason.EXPIRED)])
def test_a_chunk_of_an_upload_that_has_ended_is_told_so_even_if_its_total_is_wrong(
    state: State, reason: Reason
) -> None:
    assert refusal_of(dataclasses.replace(UPLOAD, state=state), Chunk(0, 10), total=99).reason is reason


@pytest.mark.parametrize(("start", "length"), [(0, 101), (100, 1), (91, 10), (101, 0), (2**53 - 1, 2**53 - 1)])
def test_a_chunk_that_would_end_behind_the_upload_is_refused_before_a_byte_is_read(start: int, length: int) -> None:
    upload = dataclasses.replace(UPLOAD, offset=7)
    refusal = refusal_of(upload, Chunk(start, length))
    assert refusal.reason is Reason.BODY_TOO_LONG
    assert refusal.facts == {"offset": 7, "size": 100}


@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 100), (99, 1), (100, 0)])
def test_a_chunk_of_known_length_fills_exactly_its_place(start: int, length: int) -> None:
    assert place_of(UPLOAD, Append(UPLOAD.id, Chunk(start, length))) == Range(start, start + length)


@pytest.mark.parametrize(("start", "place"), [(0, (0, 100)), (99, (99, 100)), (100, (100, 100)), (150, (100, 100))])
def test_a_chunk_of_unknown_length_may_fill_the_upload_to_its_end_and_no_more(
    start: int, place: tuple[int, int]
) -> None:
    assert place_of(UPLOAD, Append(UPLOAD.id, Chunk(start, None))) == Range(*place)


@pytest.mark.parametrize("start", [0, 9, 11, 100, 150])
def test_a_chunk_that_must_be_in_order_and_is_not_is_told_the_offset(start: int) -> None:
    upload = dataclasses.replace(UPLOAD, offset=10)
    with pytest.raises(Refused) as refusal:
        check_order(upload, Chunk(start, None, in_order=True))
    assert refusal.value.reason is Reason.WRONG_OFFSET
    assert refusal.value.facts == {"offset": 10}


@pytest.mark.parametrize("start", [0, 9, 10, 11])
def test_a_chunk_that_need_not_be_in_order_goes_anywhere(start: int) -> None:
    check_order(dataclasses.replace(UPLOAD, offset=10), Chunk(start, 1))


def test_a_chunk_that_goes_on_where_the_upload_is_is_in_order() -> None:
    check_order(dataclasses.replace(UPLOAD, offset=10), Chunk(10, None, in_order=True))
