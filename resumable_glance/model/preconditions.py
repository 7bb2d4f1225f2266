"""What is welcome: whether a chunk, a declaration or a join fits the upload as it is. Pure; each question is asked
before a byte is taken, and again where the catalog writes the answer down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Chunk
from resumable_glance.model.digests import ZEROS, Digest
from resumable_glance.model.ranges import Range, segments
from resumable_glance.model.states import State
from resumable_glance.model.upload import OF_THE_FORMAT, Extent, Upload, check_alive


def check_writable(upload: Upload) -> None:
    """Refused: CANCELLED, EXPIRED, JOINED for a part that was joined and for what it was joined into, or as
    check_verdict."""
    check_alive(upload)
    check_verdict(upload)
    if upload.state is State.JOINED or upload.parts:
        raise Refused(Reason.JOINED, "This upload and others were joined into one. Nothing can be sent to it any more.")


def check_verdict(upload: Upload) -> None:
    """Refused: FORMAT_MISMATCH, UNSAFE_IMAGE or DISK_TOO_LARGE, again, where an upload has failed for what it is."""
    if upload.state is State.FAILED and upload.trouble is not None and upload.trouble.hitch in OF_THE_FORMAT:
        raise Refused(Reason(upload.trouble.hitch.value), upload.trouble.detail, state=upload.state)


def declare(upload: Upload, size: int | None, digests: Sequence[Digest]) -> Upload:
    """The upload with what a client says of the whole: its size, and digests.

    Refused: WRONG_TOTAL, WRONG_DIGEST where it said something else before, or has sent more.
    """
    if size is not None and upload.size is not None and size != upload.size:
        raise Refused(
            Reason.WRONG_TOTAL,
            f"This upload has {upload.size} bytes, not {size}. Is it the same file?",
            size=upload.size,
        )
    if size is not None and size < upload.received:
        raise Refused(
            Reason.WRONG_TOTAL, f"{upload.received} bytes came already: it can't have {size}.", offset=upload.offset
        )
    for each in digests:
        if any(each.algorithm == old.algorithm and each != old for old in upload.declared):
            raise Refused(
                Reason.WRONG_DIGEST, f"Another {each.algorithm} of the whole was declared before. Is it the same file?"
            )
    news = tuple(each for each in digests if each not in upload.declared)
    return dataclasses.replace(
        upload,
        size=upload.size if size is None else size,
        reserved=upload.reserved if size is None else size,
        declared=upload.declared + news,
    )


def total_of(append: Append) -> int | None:
    """The size that an append says the upload has, in either of two ways. Refused: WRONG_TOTAL if they differ."""
    chunk = append.chunk
    end = None if chunk.length is None or not chunk.last else chunk.start + chunk.length
    if end is not None and append.total not in {None, end}:
        raise Refused(
            Reason.WRONG_TOTAL, f"With its last byte the upload would have {end} bytes, and not {append.total}."
        )
    return append.total if end is None else end


def place_of(upload: Upload, append: Append, longest: int) -> Range:
    """The bytes that a chunk may fill: up to the upload's end where it does not say its length, or `longest` bytes
    of them where nobody knows that end either.

    Refused: as check_writable, total_of and declare, BODY_TOO_LONG.
    """
    check_writable(upload)
    upload, chunk = declare(upload, total_of(append), append.declared), append.chunk
    if chunk.length is not None:
        stop = chunk.start + chunk.length
    else:
        stop = chunk.start + longest if upload.size is None else upload.size
    if upload.size is not None and stop > upload.size:
        raise Refused(
            Reason.BODY_TOO_LONG,
            f"The body would end {stop - upload.size} bytes after the upload's end.",
            offset=upload.offset,
            size=upload.size,
        )
    return Range(min(chunk.start, stop), stop)


def check_order(upload: Upload, chunk: Chunk) -> None:
    """Refused: WRONG_OFFSET where a chunk that must begin at the offset does not."""
    if chunk.in_order and chunk.start != upload.offset:
        raise Refused(
            Reason.WRONG_OFFSET,
            f"The offset is {upload.offset}, not {chunk.start}. Go on from there.",
            offset=upload.offset,
            provided=chunk.start,
        )


def known_before(chunk: Chunk, place: Range, extents: Sequence[Extent]) -> bool:
    """Whether a chunk is known to bring what the `extents` in its place have, without a look at any byte."""
    if chunk.zeros:
        marked = [each.range for each in extents if each.digest == ZEROS]
        return all(each.durable for each in segments(place, marked))
    return any(Extent(place, each) in extents for each in chunk.declared)


def check_parts(parts: Sequence[Upload]) -> int:
    """The size of these uploads when they are joined.

    Refused: CANCELLED or EXPIRED, JOINED for what is part of another upload, UNFINISHED for what lacks bytes.
    """
    for each in parts:
        check_writable(each)
        if each.image is not None:
            raise Refused(Reason.JOINED, f"Upload {each.id} has an image of its own: it can't become part of another.")
        if not each.filled:
            raise Refused(Reason.UNFINISHED, f"Upload {each.id} lacks bytes. Send them before you join it with others.")
    return sum(each.received for each in parts)
