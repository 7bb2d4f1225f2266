"""What a handoff does next. Pure: it looks at what is recorded and at what the sink says, and decides.

Each step ends in one catalog transaction, so wherever the service is killed, the same question asked
again gives the step that is still to be done.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from resumable_glance.protocol.upload import Proof, State, Upload

FIRST_DELAY = 1.0  # seconds
LONGEST_DELAY = 60.0  # seconds: a Glance that is back is found within this


class Presence(enum.Enum):
    """What the sink has under the image's id."""

    AWAITED = "awaited"  # it waits for its bytes (Glance: queued)
    BUSY = "busy"  # it is taking bytes right now, perhaps those of an earlier attempt (Glance: saving)
    COMPLETE = "complete"  # it has bytes and shows them to people (Glance: active)
    GONE = "gone"  # there is no such image, or it can't be used any more


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sink says that it has. Size in bytes, digests in hexadecimal."""

    presence: Presence
    size: int | None = None
    md5: str | None = None
    sha512: str | None = None


class Step(enum.Enum):
    PROVE = "prove"  # read scratch and compute our own proof; the sink is not touched
    DELIVER = "deliver"  # stream scratch into the sink
    RECORD = "record"  # the sink has bytes: write down that they were delivered
    VERIFY = "verify"  # compare the receipt with our proof
    WAIT = "wait"  # ask again later
    GIVE_UP = "give up"  # the image is gone


def next_step(upload: Upload, receipt: Receipt) -> Step:
    """The next step of a handoff whose attempt has been recorded (state delivering or verifying)."""
    if receipt.presence is Presence.GONE:
        return Step.GIVE_UP
    if receipt.presence is Presence.BUSY:
        return Step.WAIT
    if upload.state is State.VERIFYING:
        return Step.VERIFY
    if upload.proof is None and (upload.declared or receipt.presence is Presence.COMPLETE):
        return Step.PROVE
    return Step.RECORD if receipt.presence is Presence.COMPLETE else Step.DELIVER


def differences(size: int, proof: Proof, receipt: Receipt) -> list[str]:
    """In words, where the receipt is not our proof. Empty means: the image is the file."""
    pairs = [
        ("size", str(size), str(receipt.size)),
        ("md5", proof.md5, str(receipt.md5)),
        ("sha512", proof.sha512, str(receipt.sha512)),
    ]
    return [f"{name} is {theirs} there and {ours} here" for name, ours, theirs in pairs if ours != theirs]


def pause(upload: Upload, now: float) -> float:
    """Seconds until a handoff is due; 0 if it is.

    A time further away than any delay was written under a clock that has been set back since.
    """
    left = upload.next_attempt_at - now
    return left if 0 < left <= LONGEST_DELAY else 0.0


def delay(attempts: int) -> float:
    """Seconds until the next attempt: doubled each time, up to a minute."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempts - 1, 16))
