"""The life of an upload: what is in the table can happen, and nothing else can."""

import dataclasses
import itertools

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.states import (
    ENDED,
    HOLDING_STORAGE,
    TRANSITIONS,
    WITH_HANDOFF,
    Event,
    IllegalTransition,
    State,
    follow,
)
from resumable_glance.model.upload import FailureReason, Image, LastError, Owner, Upload, check_alive, expired

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
def test_transitions_of_the_table_are_legal(state: State, event: Event) -> None:
    assert follow(state, event) is TRANSITIONS[state, event]


@pytest.mark.parametrize(("state", "event"), [pair for pair in ALL_PAIRS if pair not in TRANSITIONS])
def test_other_transitions_are_illegal(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition):
        follow(state, event)


def test_a_successful_upload_passes_each_state() -> None:
    state = State.RECEIVING
    for event in (Event.FILLED, Event.STARTED, Event.DELIVERED, Event.VERIFIED):
        state = follow(state, event)
    assert state is State.ACTIVE


def test_nothing_becomes_active_except_by_being_verified() -> None:
    assert [pair for pair, to in TRANSITIONS.items() if to is State.ACTIVE] == [(State.VERIFYING, Event.VERIFIED)]


def test_nothing_is_verified_that_was_not_sealed_before() -> None:
    ways_in = {to: {origin for (origin, _), target in TRANSITIONS.items() if target is to} - {to} for to in State}
    assert ways_in[State.VERIFYING] == {State.DELIVERING}
    assert ways_in[State.DELIVERING] == {State.SEALED, State.VERIFYING}
    assert ways_in[State.SEALED] == {State.RECEIVING, State.DELIVERING, State.FAILED}


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


def test_a_failed_upload_is_tried_again_or_ends() -> None:
    events = {event for (state, event) in TRANSITIONS if state is State.FAILED}
    assert events == {Event.RETRIED, Event.CANCELLED, Event.EXPIRED}


def test_every_state_can_be_reached() -> None:
    assert reachable(State.RECEIVING) == set(State)


def test_active_cancelled_and_expired_are_the_ends() -> None:
    assert ENDED == ENDS


def test_only_what_waits_expires_and_nothing_that_is_delivered() -> None:
    waiting = {State.RECEIVING, State.SEALED, State.VERIFYING, State.FAILED, State.JOINED}
    assert {pair for pair, to in TRANSITIONS.items() if to is State.EXPIRED} == {
        (state, Event.EXPIRED) for state in waiting
    }


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("state", State)
def test_an_upload_has_an_expiry_while_it_waits_for_someone(state: State, waits: bool) -> None:
    error = LastError(FailureReason.TOKEN_EXPIRED, "A sentence.") if waits else None
    upload = dataclasses.replace(UPLOAD, state=state).with_delivery(last_error=error)
    has_one = state in {State.RECEIVING, State.FAILED} or (waits and state in WITH_HANDOFF)
    assert upload.expiry == (2000.0 if has_one else None)
    assert [expired(upload, now) for now in (1999.9, 2000.0)] == [False, has_one]


@pytest.mark.parametrize("state", State)
def test_an_upload_holds_what_is_promised_to_it_or_what_came(state: State) -> None:
    upload = dataclasses.replace(UPLOAD, state=state, reserved=100, received=70)
    assert upload.held == (100 if state is State.RECEIVING else 70 if state in HOLDING_STORAGE else 0)


def test_unended_uploads_hold_storage() -> None:
    assert set(State) - ENDS - {State.JOINED} == HOLDING_STORAGE  # what a part has is another upload's then


def test_sealed_delivering_and_verifying_have_a_handoff() -> None:
    assert {State.SEALED, State.DELIVERING, State.VERIFYING} == WITH_HANDOFF


@pytest.mark.parametrize("state", State)
def test_only_cancelled_and_expired_uploads_are_gone(state: State) -> None:
    upload = dataclasses.replace(UPLOAD, state=state)
    reasons = {State.CANCELLED: Reason.CANCELLED, State.EXPIRED: Reason.EXPIRED}
    if state not in reasons:
        check_alive(upload)
        return
    with pytest.raises(Refused) as refusal:
        check_alive(upload)
    assert refusal.value.reason is reasons[state]
