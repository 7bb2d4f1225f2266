"""An upload: what it is, what may be asked of it, and which state follows which.

The whole life is one table. Whatever is not in it can't happen:

    receiving --filled--> sealed --started--> delivering --delivered--> verifying --verified--> active
                            ^                ^    |                        |
                            +---postponed----|----+----------refuted-------+------> failed
                            |                +--replaced-------------------+           |
                            +---------------------retried------------------------------+

An upload can be discarded until it is active, and lapses only while it is receiving. A part is never sealed by
itself: when it has all of its bytes it waits, receiving, until it is joined with others into one that is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class State(enum.StrEnum):
    RECEIVING = "receiving"  # bytes are missing
    SEALED = "sealed"  # all bytes are durable; nothing can be written any more
    DELIVERING = "delivering"  # the sink is being given the bytes
    VERIFYING = "verifying"  # the sink has the bytes; its receipt is being compared with our proof
    ACTIVE = "active"  # proven equal; scratch is free again
    FAILED = "failed"  # will not go on by itself; the bytes are kept for a decision
    JOINED = "joined"  # a part whose bytes are another upload's now
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Event(enum.StrEnum):
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
    (State.RECEIVING, Event.FAILED): State.FAILED,  # scratch has lost what was received
    (State.SEALED, Event.STARTED): State.DELIVERING,
    (State.SEALED, Event.CANCELLED): State.CANCELLED,
    (State.DELIVERING, Event.STARTED): State.DELIVERING,  # after a crash in the middle
    (State.DELIVERING, Event.POSTPONED): State.SEALED,
    (State.DELIVERING, Event.DELIVERED): State.VERIFYING,
    (State.DELIVERING, Event.REPLACED): State.DELIVERING,  # the image can't be filled any more: into a new one
    (State.DELIVERING, Event.FAILED): State.FAILED,
    (State.DELIVERING, Event.CANCELLED): State.CANCELLED,
    (State.VERIFYING, Event.STARTED): State.VERIFYING,
    (State.VERIFYING, Event.POSTPONED): State.VERIFYING,
    (State.VERIFYING, Event.VERIFIED): State.ACTIVE,
    (State.VERIFYING, Event.REPLACED): State.DELIVERING,
    (State.VERIFYING, Event.FAILED): State.FAILED,
    (State.VERIFYING, Event.CANCELLED): State.CANCELLED,
    (State.FAILED, Event.RETRIED): State.SEALED,  # its owner has asked for another try
    (State.FAILED, Event.CANCELLED): State.CANCELLED,
    (State.JOINED, Event.CANCELLED): State.CANCELLED,  # with the upload that it was joined into
    (State.CANCELLED, Event.CANCELLED): State.CANCELLED,
}
WITH_HANDOFF = frozenset({State.SEALED, State.DELIVERING, State.VERIFYING})
HOLDING_SCRATCH = WITH_HANDOFF | {State.RECEIVING, State.FAILED}
ENDED = frozenset({State.ACTIVE, State.CANCELLED, State.EXPIRED})


class IllegalTransition(Exception):
    """Our own code asked for what the table does not have."""


def follow(state: State, event: Event) -> State:
    """The state after `event`. IllegalTransition where the table has none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"{event} can't happen to an upload that is {state}") from None
