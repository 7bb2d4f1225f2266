"""Checks whether a chunk, a declaration or a join fits an upload as it is. Pure.

Each check is made before a byte is received, and again in the transaction that records the outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Chunk
from resumable_glance.model.digests import ZEROS, Digest
from resumable_glance.model.ranges import Range, segments
from resumable_glance.model.states import State
from resumable_glance.model.upload import FORMAT_FAILURES, Extent, Upload, check_alive


def check_writable(upload: Upload) -> None:
    """Check that bytes can be sent to an upload.

    Raises Refused: CANCELLED, EXPIRED, JOINED for parts and the upload that they were joined into, or as
    check_not_rejected().
    """
    check_alive(upload)
    check_not_rejected(upload)
    if upload.state is State.JOINED or upload.parts:
        raise Refused(Reason.JOINED, "Uploads that were joined take no more bytes.")


def check_not_rejected(upload: Upload) -> None:
    """Check that the image of an upload was not rejected.

    Raises Refused: FORMAT_MISMATCH, UNSAFE_IMAGE or DISK_TOO_LARGE, as when it was rejected.
    """
    error = upload.delivery.last_error
    if upload.state is State.FAILED and error is not None and error.reason in FORMAT_FAILURES:
        raise Refused(Reason(error.reason.value), error.detail, state=upload.state)


def declare(upload: Upload, size: int | None, digests: Sequence[Digest]) -> Upload:
    """Return the upload with the size and digests that a client declared of the whole.

    Raises Refused: WRONG_TOTAL, WRONG_DIGEST where other values were declared before, or more bytes have come.
    """
    if size is not None:
        if upload.size is not None and size != upload.size:
            sentence = f"This upload has {upload.size} bytes, not {size}. Is it the same file?"
            raise Refused(Reason.WRONG_TOTAL, sentence, size=upload.size)
        if size < upload.received:
            sentence = f"This upload already has {upload.received} bytes, more than {size}. Is it the same file?"
            raise Refused(Reason.WRONG_TOTAL, sentence, offset=upload.offset)
        upload = dataclasses.replace(upload, size=size, reserved=size)
    for each in digests:
        if any(each.algorithm == old.algorithm and each != old for old in upload.declared):
            sentence = f"A different {each.algorithm} digest was declared for this upload before. Is it the same file?"
            raise Refused(Reason.WRONG_DIGEST, sentence)
    added = tuple(each for each in digests if each not in upload.declared)
    return dataclasses.replace(upload, declared=upload.declared + added)


def total_of(append: Append) -> int | None:
    """Return the size of the upload that an append declares, as a total or by its last byte.

    Raises Refused: WRONG_TOTAL if both are declared and differ.
    """
    chunk = append.chunk
    end = None if chunk.length is None or not chunk.last else chunk.start + chunk.length
    if end is not None and append.total not in {None, end}:
        sentence = f"This last chunk ends after {end} bytes, but the declared size is {append.total}."
        raise Refused(Reason.WRONG_TOTAL, sentence)
    return append.total if end is None else end


def target_of(upload: Upload, append: Append, longest: int) -> Range:
    """Return the range that a chunk may fill.

    A chunk of unknown length may fill the upload to its end, or `longest` bytes of an upload of unknown size.
    Raises Refused: BODY_TOO_LONG, or as check_writable(), total_of() and declare().
    """
    check_writable(upload)
    upload, chunk = declare(upload, total_of(append), append.declared), append.chunk
    if chunk.length is not None:
        stop = chunk.start + chunk.length
    else:
        stop = chunk.start + longest if upload.size is None else upload.size
    if upload.size is not None and stop > upload.size:
        sentence = f"The body ends {stop - upload.size} bytes beyond the end of the upload."
        raise Refused(Reason.BODY_TOO_LONG, sentence, offset=upload.offset, size=upload.size)
    return Range(min(chunk.start, stop), stop)


def check_offset(upload: Upload, chunk: Chunk) -> None:
    """Check that a chunk of a protocol with ordered chunks begins at the offset. Raises Refused: WRONG_OFFSET."""
    if chunk.in_order and chunk.start != upload.offset:
        sentence = f"The offset is {upload.offset}, not {chunk.start}. Continue at {upload.offset}."
        raise Refused(Reason.WRONG_OFFSET, sentence, offset=upload.offset, provided=chunk.start)


def repeats(chunk: Chunk, target: Range, extents: Sequence[Extent]) -> bool:
    """Return whether a chunk repeats durable `extents`, judging by digests alone."""
    if chunk.zeros:
        marked = [each.range for each in extents if each.digest == ZEROS]
        return all(each.durable for each in segments(target, marked))
    return any(Extent(target, each) in extents for each in chunk.declared)


def check_parts(parts: Sequence[Upload]) -> int:
    """Return the size in bytes of these uploads once they are joined.

    Raises Refused: UNFINISHED for a part that lacks bytes, JOINED for other uploads, or as check_writable().
    """
    for each in parts:
        check_writable(each)
        if each.image is not None:
            raise Refused(Reason.JOINED, f"Upload {each.id} has an image of its own. Join only parts.")
        if not each.filled:
            raise Refused(Reason.UNFINISHED, f"Upload {each.id} lacks bytes. Send them before you join it.")
    return sum(each.received for each in parts)
