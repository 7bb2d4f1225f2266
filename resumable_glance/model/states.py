"""The states of an upload, the events that change them, and one table of all transitions.

A transition that is not in the table can't happen:

    receiving --filled--> sealed --started--> delivering --delivered--> verifying --verified--> active
                            ^                ^    |                        |
                            +---postponed----|----+---------failed---------+------> failed
                            |                +--replaced-------------------+           |
                            +---------------------retried------------------------------+

An upload can be cancelled until it is active. It expires while it waits for someone: for a client that sends bytes, or
for an owner who lets a complete upload go on; never while it is delivered. A part is never sealed: with all of its
bytes it stays receiving until it is joined with others into one upload.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class State(enum.StrEnum):
    """The state of an upload; clients see the values."""

    RECEIVING = "receiving"  # bytes are missing
    SEALED = "sealed"  # all bytes are durable, and none can be written any more
    DELIVERING = "delivering"  # the image service is being given the bytes
    VERIFYING = "verifying"  # the image service has the bytes; its digests are compared with ours
    ACTIVE = "active"  # proven equal; our copy of the bytes is removed
    FAILED = "failed"  # stopped, with its bytes, until its owner retries or cancels it
    JOINED = "joined"  # a part whose bytes belong to another upload now
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Event(enum.StrEnum):
    """A change in the life of an upload."""

    FILLED = "filled"
    STARTED = "started"
    POSTPONED = "postponed"
    DELIVERED = "delivered"
    VERIFIED = "verified"
    FAILED = "failed"
    REPLACED = "replaced"
    RETRIED = "retried"
    JOINED = "joined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.RECEIVING, Event.FILLED): State.SEALED,
    (State.RECEIVING, Event.CANCELLED): State.CANCELLED,
    (State.RECEIVING, Event.EXPIRED): State.EXPIRED,
    (State.RECEIVING, Event.JOINED): State.JOINED,
    (State.RECEIVING, Event.FAILED): State.FAILED,  # storage has lost received bytes
    (State.SEALED, Event.STARTED): State.DELIVERING,
    (State.SEALED, Event.CANCELLED): State.CANCELLED,
    (State.SEALED, Event.EXPIRED): State.EXPIRED,  # between two attempts, after waiting for too long
    (State.DELIVERING, Event.STARTED): State.DELIVERING,  # after a crash in the middle
    (State.DELIVERING, Event.POSTPONED): State.SEALED,
    (State.DELIVERING, Event.DELIVERED): State.VERIFYING,
    (State.DELIVERING, Event.REPLACED): State.DELIVERING,  # the image can't be filled: another takes its place
    (State.DELIVERING, Event.FAILED): State.FAILED,
    (State.DELIVERING, Event.CANCELLED): State.CANCELLED,
    (State.VERIFYING, Event.STARTED): State.VERIFYING,
    (State.VERIFYING, Event.POSTPONED): State.VERIFYING,
    (State.VERIFYING, Event.VERIFIED): State.ACTIVE,
    (State.VERIFYING, Event.REPLACED): State.DELIVERING,
    (State.VERIFYING, Event.FAILED): State.FAILED,
    (State.VERIFYING, Event.CANCELLED): State.CANCELLED,
    (State.VERIFYING, Event.EXPIRED): State.EXPIRED,  # between two attempts, too
    (State.FAILED, Event.RETRIED): State.SEALED,  # at its owner's request
    (State.FAILED, Event.CANCELLED): State.CANCELLED,
    (State.FAILED, Event.EXPIRED): State.EXPIRED,
    (State.JOINED, Event.CANCELLED): State.CANCELLED,  # with the upload that it was joined into
    (State.JOINED, Event.EXPIRED): State.EXPIRED,  # with it, too
    (State.CANCELLED, Event.CANCELLED): State.CANCELLED,
}
WITH_HANDOFF = frozenset({State.SEALED, State.DELIVERING, State.VERIFYING})
HOLDING_STORAGE = WITH_HANDOFF | {State.RECEIVING, State.FAILED}
ENDED = frozenset({State.ACTIVE, State.CANCELLED, State.EXPIRED})


class IllegalTransition(Exception):
    """A transition that the table does not have."""


def follow(state: State, event: Event) -> State:
    """Return the state after `event`. Raise IllegalTransition where the table has none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"{event} can't happen to an upload that is {state}") from None
