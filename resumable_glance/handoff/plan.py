"""What a handoff does next. Pure: it looks at what is recorded and at what the sink says, and decides.

Each step ends in one catalog transaction, so wherever the service is killed, the same question asked
again gives the step that is still to be done.

An image that can't be filled any more is replaced by a new one. That is so where it has been busy for longer than
anybody may be (Glance was killed while saving), and where the sink keeps something of a failed attempt that stands in
the way of every other one. An adopted image is never replaced: its id is its maker's, and it is not ours to delete.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence

from resumable_glance.images.base import UNUSABLE, ImageStatus, Presence
from resumable_glance.model.states import State
from resumable_glance.model.upload import FORMAT_FAILURES, FailureReason, InspectionState, Proof, Upload

FIRST_DELAY = 1.0  # seconds
LONGEST_DELAY = 60.0  # seconds: a Glance that is back is found within this
LONGEST_EARLY_DELIVERY = 3600.0  # seconds for which a worker of the sink may be kept by one upload


class Step(enum.Enum):
    """What an attempt does next."""

    INSPECT = "inspect"  # the head of the bytes, read back from storage; the image is not touched
    PROVE = "prove"  # compute our digests of all bytes; the image is not touched
    DELIVER = "deliver"  # stream all bytes into the image
    IMPORT = "import"  # the image has all bytes staged: have them imported
    BACK_OFF = "back off"  # its import has failed: remember that, and go on later with another image
    RECORD = "record"  # the image has bytes: record that they were delivered
    VERIFY = "verify"  # compare the image with our digests
    WAIT = "wait"  # look again later
    REPLACE = "replace"  # make another image in place of this one
    GIVE_UP = "give up"  # nothing can be done with the image


def next_step(upload: Upload, status: ImageStatus, now: float) -> Step:
    """The next step of a handoff whose attempt has been recorded (state delivering or verifying)."""
    if upload.delivery.successor is not None:
        return Step.REPLACE
    if status.presence is Presence.DELETED:
        return Step.GIVE_UP  # somebody wanted it gone
    if status.presence is Presence.SAVING:
        return _instead(upload) if stuck(upload, now) else Step.WAIT
    if status.presence is Presence.IMPORT_FAILED or _let_go(upload, status):
        return _instead(upload) if upload.delivery.suspicion >= UNUSABLE else Step.BACK_OFF
    if status.presence is Presence.STAGED:
        return _go_on(upload, status)
    return _fill(upload, status)


def _go_on(upload: Upload, status: ImageStatus) -> Step:
    if status.size != upload.size:
        return _instead(upload)
    return Step.PROVE if upload.delivery.proof is None else Step.IMPORT


def _fill(upload: Upload, status: ImageStatus) -> Step:
    """Of an image that waits for bytes, or shows them."""
    if upload.state is State.VERIFYING:
        return Step.VERIFY
    complete = status.presence is Presence.ACTIVE
    if not complete and upload.delivery.suspicion >= UNUSABLE:
        return _instead(upload)
    verdict = InspectionState.FINAL if upload.format is None or complete else upload.format.inspection
    if verdict is InspectionState.PENDING:
        return Step.INSPECT
    if upload.delivery.proof is None and (upload.declared or complete or verdict is InspectionState.PARTIAL):
        return Step.PROVE
    return Step.RECORD if complete else Step.DELIVER


def _let_go(upload: Upload, status: ImageStatus) -> bool:
    """Whether the sink has let go of all that it was to import."""
    imports = upload.image is not None and upload.image.imports
    return imports and upload.state is State.VERIFYING and status.presence is Presence.QUEUED


def _instead(upload: Upload) -> Step:
    return Step.GIVE_UP if upload.image is not None and upload.image.adopted else Step.REPLACE


def stuck(upload: Upload, now: float) -> bool:
    """Whether an image that is busy has been so for too long."""
    return 0 < upload.delivery.stuck_at <= now


def differences(size: int, proof: Proof, status: ImageStatus) -> list[str]:
    """In words, where the status is not our proof. Empty means: the image is the file."""
    pairs = [
        ("size", str(size), str(status.size)),
        ("md5", proof.md5, str(status.md5)),
        ("sha512", proof.sha512, str(status.sha512)),
    ]
    return [f"{name} is {theirs} there and {ours} here" for name, ours, theirs in pairs if ours != theirs]


def pause(upload: Upload, now: float) -> float:
    """Seconds until a handoff is due; 0 if it is.

    A time further away than any delay was written under a clock that has been set back since.
    """
    left = upload.delivery.next_attempt_at - now
    return left if 0 < left < LONGEST_DELAY + 1 else 0.0  # a second more, since floats of this size are rounded


def turns(waiting: Sequence[Upload], running: Iterable[Upload], workers: int) -> list[Upload]:
    """Which of the handoffs that are due begin now, so that `workers` run in all.

    The project that has the fewest running goes first, so that none waits for all images of another one; among equals
    the upload that stands first in `waiting`.
    """
    busy = Counter(each.owner.project_id for each in running)
    left, chosen = list(waiting), []
    for _ in range(min(len(left), workers - busy.total())):
        upload = min(left, key=lambda each: busy[each.owner.project_id])
        left.remove(upload)
        busy[upload.owner.project_id] += 1
        chosen.append(upload)
    return chosen


def delay(attempts: int, chance: float) -> float:
    """Seconds until the next attempt: doubled each time, up to a minute, less up to a half of it.

    `chance` (0 up to 1) spreads those that have failed together: a Glance that is back does not get all at once.
    """
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempts - 1, 16))
    return longest * (1 - chance / 2)


def exhausted(attempts: int, limit: int, reason: FailureReason) -> bool:
    """Whether so many attempts are enough (`limit` 0: never). An owner who has to show a token is waited for."""
    return 0 < limit <= attempts and reason is not FailureReason.TOKEN_EXPIRED


def can_be_retried(upload: Upload) -> bool:
    """Whether another try of a failed upload could end otherwise: not if its own bytes are wrong, or lost."""
    return upload.delivery.last_error is None or upload.delivery.last_error.reason not in _BYTES_ARE_WRONG


def needs_another_image(upload: Upload) -> bool:
    """Whether a failed upload whose owner asks for another try has no image left to try it with."""
    gone = upload.delivery.last_error is not None and upload.delivery.last_error.reason in {
        FailureReason.IMAGE_GONE,
        FailureReason.IMAGE_DIFFERS,
    }
    return gone and upload.image is not None and not upload.image.adopted


_BYTES_ARE_WRONG = FORMAT_FAILURES | {FailureReason.DIGEST_MISMATCH, FailureReason.SCRATCH_LOST}


def worth_an_early_delivery(upload: Upload, now: float, smallest: int) -> bool:
    """Whether a delivery is worth beginning while its upload is receiving: that is neither too small nor too slow, its
    verdict can be told from its head, and its image is uploaded plainly."""
    if upload.state is not State.RECEIVING or upload.image is None or upload.size is None or upload.size < smallest:
        return False
    if upload.format is not None and upload.format.inspection is not InspectionState.FINAL:
        return False
    if upload.image.imports:  # its last step is the sink's own: nothing is won
        return False
    pace = upload.offset / max(1.0, now - upload.created_at)  # bytes a second
    return pace > 0 and (upload.size - upload.offset) / pace <= LONGEST_EARLY_DELIVERY
