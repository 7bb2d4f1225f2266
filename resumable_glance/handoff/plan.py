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
from resumable_glance.model.upload import OF_THE_FORMAT, FailureReason, InspectionState, Proof, Upload

FIRST_DELAY = 1.0  # seconds
LONGEST_DELAY = 60.0  # seconds: a Glance that is back is found within this
LONGEST_EARLY_DELIVERY = 3600.0  # seconds for which a worker of the sink may be kept by one upload


class Step(enum.Enum):
    INSPECT = "inspect"  # look into the head of the bytes; the sink is not touched
    PROVE = "prove"  # read scratch and compute our own proof; the sink is not touched
    DELIVER = "deliver"  # stream scratch into the sink
    FINISH = "finish"  # the sink has all bytes staged: have it do what it is to do with them
    BACK_OFF = "back off"  # the sink has failed at that: remember it, and go on later with another image
    RECORD = "record"  # the sink has bytes: write down that they were delivered
    VERIFY = "verify"  # compare the receipt with our proof
    WAIT = "wait"  # ask again later
    REPLACE = "replace"  # make another image in place of this one
    GIVE_UP = "give up"  # nothing can be done with the image


def next_step(upload: Upload, receipt: ImageStatus, now: float) -> Step:
    """The next step of a handoff whose attempt has been recorded (state delivering or verifying)."""
    if upload.successor is not None:
        return Step.REPLACE
    if receipt.presence is Presence.DELETED:
        return Step.GIVE_UP  # somebody wanted it gone
    if receipt.presence is Presence.SAVING:
        return _instead(upload) if stuck(upload, now) else Step.WAIT
    if receipt.presence is Presence.IMPORT_FAILED or _let_go(upload, receipt):
        return _instead(upload) if upload.suspicion >= UNUSABLE else Step.BACK_OFF
    if receipt.presence is Presence.STAGED:
        return _go_on(upload, receipt)
    return _fill(upload, receipt)


def _go_on(upload: Upload, receipt: ImageStatus) -> Step:
    if receipt.size != upload.size:
        return _instead(upload)
    return Step.PROVE if upload.proof is None else Step.FINISH


def _fill(upload: Upload, receipt: ImageStatus) -> Step:
    """Of an image that waits for bytes, or shows them."""
    if upload.state is State.VERIFYING:
        return Step.VERIFY
    complete = receipt.presence is Presence.ACTIVE
    if not complete and upload.suspicion >= UNUSABLE:
        return _instead(upload)
    verdict = InspectionState.FINAL if upload.format is None or complete else upload.format.verdict
    if verdict is InspectionState.PENDING:
        return Step.INSPECT
    if upload.proof is None and (upload.declared or complete or verdict is InspectionState.PARTIAL):
        return Step.PROVE
    return Step.RECORD if complete else Step.DELIVER


def _let_go(upload: Upload, receipt: ImageStatus) -> bool:
    """Whether the sink has let go of all that it was to import."""
    imports = upload.image is not None and upload.image.imports
    return imports and upload.state is State.VERIFYING and receipt.presence is Presence.QUEUED


def _instead(upload: Upload) -> Step:
    return Step.GIVE_UP if upload.image is not None and upload.image.adopted else Step.REPLACE


def stuck(upload: Upload, now: float) -> bool:
    """Whether an image that is busy has been so for too long."""
    return 0 < upload.stuck_at <= now


def differences(size: int, proof: Proof, receipt: ImageStatus) -> list[str]:
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


def exhausted(attempts: int, limit: int, hitch: FailureReason) -> bool:
    """Whether so many attempts are enough (`limit` 0: never). An owner who has to show a token is waited for."""
    return 0 < limit <= attempts and hitch is not FailureReason.TOKEN_EXPIRED


def can_be_retried(upload: Upload) -> bool:
    """Whether another try of a failed upload could end otherwise: not if its own bytes are wrong, or lost."""
    return upload.trouble is None or upload.trouble.hitch not in _OF_THE_BYTES


def needs_another_image(upload: Upload) -> bool:
    """Whether a failed upload whose owner asks for another try has no image left to try it with."""
    gone = upload.trouble is not None and upload.trouble.hitch in {
        FailureReason.IMAGE_GONE,
        FailureReason.IMAGE_DIFFERS,
    }
    return gone and upload.image is not None and not upload.image.adopted


_OF_THE_BYTES = OF_THE_FORMAT | {FailureReason.DIGEST_MISMATCH, FailureReason.SCRATCH_LOST}


def follows(upload: Upload, now: float, smallest: int) -> bool:
    """Whether a delivery is worth beginning while its upload is receiving: that is neither too small nor too slow, its
    verdict can be told from its head, and its image is uploaded plainly."""
    if upload.state is not State.RECEIVING or upload.image is None or upload.size is None or upload.size < smallest:
        return False
    if upload.format is not None and upload.format.verdict is not InspectionState.FINAL:
        return False
    if upload.image.imports:  # its last step is the sink's own: nothing is won
        return False
    pace = upload.offset / max(1.0, now - upload.created_at)  # bytes a second
    return pace > 0 and (upload.size - upload.offset) / pace <= LONGEST_EARLY_DELIVERY
