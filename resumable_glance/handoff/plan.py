"""The decisions of handoffs: the next step, the next attempt, the next upload. Pure.

Each step ends with one transaction of the catalog. So wherever the service is killed, next_step() returns the step that
is still to be done.

An image that can't be filled any more is replaced by a new one: when it has been busy for too long (Glance was killed
while saving), or when the remains of a failed attempt block every other one. An adopted image is never replaced, since
it belongs to its creator.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from resumable_glance.images.base import UNUSABLE, ImageStatus, Presence
from resumable_glance.model.states import State
from resumable_glance.model.upload import FORMAT_FAILURES, FailureReason, InspectionState, Proof, Upload

FIRST_DELAY = 1.0  # seconds
LONGEST_DELAY = 60.0  # seconds: within this, a Glance that works again is noticed
LONGEST_EARLY_DELIVERY = 3600.0  # seconds for which one upload may occupy a worker of the image service


class Step(enum.Enum):
    """A step of an attempt."""

    INSPECT = "inspect"  # the head of the bytes, read back from storage; the image is not touched
    PROVE = "prove"  # compute the digests of all bytes; the image is not touched
    DELIVER = "deliver"  # stream all bytes into the image
    IMPORT = "import"  # start the import of a staged image
    BACK_OFF = "back off"  # after a failed import: note it, and go on later with another image
    RECORD = "record"  # that the bytes of an image were delivered
    VERIFY = "verify"  # compare the image with the digests
    WAIT = "wait"  # look again later
    REPLACE = "replace"  # create another image in place of this one
    GIVE_UP = "give up"  # nothing can be done with the image


def next_step(upload: Upload, status: ImageStatus, now: float) -> Step:
    """Return the next step for an upload that is delivering or verifying."""
    if upload.delivery.successor is not None:
        return Step.REPLACE
    if status.presence is Presence.DELETED:
        return Step.GIVE_UP
    if status.presence is Presence.SAVING:
        return _instead(upload) if stuck(upload, now) else Step.WAIT
    if status.presence is Presence.IMPORT_FAILED or _import_was_undone(upload, status):
        return _instead(upload) if upload.delivery.suspicion >= UNUSABLE else Step.BACK_OFF
    if status.presence is Presence.STAGED:
        if status.size != upload.size:
            return _instead(upload)
        return Step.PROVE if upload.delivery.proof is None else Step.IMPORT
    return _step_to_active(upload, complete=status.presence is Presence.ACTIVE)


def _step_to_active(upload: Upload, *, complete: bool) -> Step:
    """Return the next step with a queued image, or an active, `complete` one."""
    if upload.state is State.VERIFYING:
        return Step.VERIFY
    if not complete and upload.delivery.suspicion >= UNUSABLE:
        return _instead(upload)
    inspection = InspectionState.FINAL if upload.format is None or complete else upload.format.inspection
    if inspection is InspectionState.PENDING:
        return Step.INSPECT
    if upload.delivery.proof is None and (upload.declared or complete or inspection is InspectionState.PARTIAL):
        return Step.PROVE
    return Step.RECORD if complete else Step.DELIVER


def _import_was_undone(upload: Upload, status: ImageStatus) -> bool:
    """Return whether the image service has discarded all bytes that it was to import."""
    imports = upload.image is not None and upload.image.imports
    return imports and upload.state is State.VERIFYING and status.presence is Presence.QUEUED


def _instead(upload: Upload) -> Step:
    return Step.GIVE_UP if upload.image is not None and upload.image.adopted else Step.REPLACE


def stuck(upload: Upload, now: float) -> bool:
    """Return whether an image has been busy for too long."""
    return 0 < upload.delivery.stuck_at <= now


def differences(size: int, proof: Proof, status: ImageStatus) -> list[str]:
    """Return in words how an image differs from the upload; empty if it does not."""
    ours = {"size": size, "md5": proof.md5, "sha512": proof.sha512}
    theirs = {"size": status.size, "md5": status.md5, "sha512": status.sha512}
    return [f"{name} is {theirs[name]} there and {ours[name]} here" for name in ours if ours[name] != theirs[name]]


def time_until_due(upload: Upload, now: float) -> float:
    """Return the seconds until a handoff is due; 0 if it is.

    A time further away than the longest delay was recorded before the clock was set back.
    """
    left = upload.delivery.next_attempt_at - now
    return left if 0 < left < LONGEST_DELAY + 1 else 0.0  # a second more, since floats of this size are rounded


def choose_next(
    waiting: Sequence[Upload], running: Iterable[Upload], workers: int, lately: Mapping[str, float]
) -> list[Upload]:
    """Return the handoffs to start, so that at most `workers` run, and no project has all of them.

    The project with the fewest running handoffs comes first, then the one for which the fewest bytes were read lately
    (`lately`, by project). So none has to wait for all images of another one. Among equals the first in `waiting`.
    """
    busy = Counter(each.owner.project_id for each in running)
    left, chosen = list(waiting), []
    while busy.total() < workers:
        left = [each for each in left if busy[each.owner.project_id] < most_of_one(workers)]
        if not left:
            break
        upload = min(left, key=lambda each: _turn(each.owner.project_id, busy, lately))
        left.remove(upload)
        busy[upload.owner.project_id] += 1
        chosen.append(upload)
    return chosen


def _turn(project_id: str, busy: Counter[str], lately: Mapping[str, float]) -> tuple[int, float]:
    return busy[project_id], lately.get(project_id, 0.0)


def most_of_one(workers: int) -> int:
    """Return the number of workers that one project may have: all but one, so that another never waits for it."""
    return max(1, workers - 1)


def delay(attempts: int, chance: float) -> float:
    """Return the seconds until the next attempt: exponential backoff up to LONGEST_DELAY, with jitter.

    `chance`, from 0 to 1, shortens it by up to a half, so that uploads that failed together are not retried together.
    """
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempts - 1, 16))
    return longest * (1 - chance / 2)


def exhausted(attempts: int, limit: int, reason: FailureReason) -> bool:
    """Return whether there were enough attempts (`limit` 0: never). A missing token is waited for without limit."""
    return 0 < limit <= attempts and reason is not FailureReason.TOKEN_EXPIRED


def can_be_retried(upload: Upload) -> bool:
    """Return whether a failed upload has bytes that are worth another try."""
    return upload.delivery.last_error is None or upload.delivery.last_error.reason not in _BYTES_ARE_WRONG


def needs_another_image(upload: Upload) -> bool:
    """Return whether another try of a failed upload needs a new image."""
    error, image = upload.delivery.last_error, upload.image
    gone = error is not None and error.reason in {FailureReason.IMAGE_GONE, FailureReason.IMAGE_DIFFERS}
    return gone and image is not None and not image.adopted


_BYTES_ARE_WRONG = FORMAT_FAILURES | {FailureReason.DIGEST_MISMATCH, FailureReason.SCRATCH_LOST}


def suits_early_delivery(upload: Upload, now: float, minimum_size: int) -> bool:
    """Return whether the delivery of an upload should start while it is receiving.

    The upload must be neither small nor slow, and its format settled. An image that is imported would gain nothing.
    """
    if upload.state is not State.RECEIVING or upload.image is None or upload.size is None:
        return False
    if upload.size < minimum_size or upload.image.imports:
        return False
    if upload.format is not None and upload.format.inspection is not InspectionState.FINAL:
        return False
    rate = upload.offset / max(1.0, now - upload.created_at)  # bytes per second
    return rate > 0 and (upload.size - upload.offset) / rate <= LONGEST_EARLY_DELIVERY
