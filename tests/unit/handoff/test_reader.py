"""Bytes that are read back for a handoff, each extent checked before its last byte is given."""

from __future__ import annotations

import hashlib
import io
import threading

import pytest

from resumable_glance.handoff.reader import ConcatReader, HandoffStopped, StorageDiffers, VerifyingReader
from resumable_glance.images.base import PIECE
from resumable_glance.model.digests import ZEROS, Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.upload import Extent

CONTENT = bytes(range(256)) * 4
CUTS = [(0, 100), (100, 700), (700, len(CONTENT))]


def sha256(data: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(data).digest())


def reader(content: bytes = CONTENT, *declared: Digest, stop: threading.Event | None = None) -> VerifyingReader:
    """A reader of `content`, where CONTENT was received."""
    extents = iter([Extent(Range(start, end), sha256(CONTENT[start:end])) for start, end in CUTS])
    return VerifyingReader(io.BytesIO(content), extents, declared, stop or threading.Event(), lambda _: None)


@pytest.mark.parametrize("size", [1, 99, 100, PIECE, 10 * PIECE])
def test_all_bytes_are_given_with_their_proof(size: int) -> None:
    right, wrong = sha256(CONTENT), Digest("sha1", bytes(20))
    read = reader(CONTENT, right, wrong)
    assert b"".join(iter(lambda: read.read(size), b"")) == CONTENT
    assert read.proof().sha512 == hashlib.sha512(CONTENT).hexdigest()
    assert read.mismatches() == ["sha1"]
    assert (read.holds(right), read.holds(wrong)) == (True, False)


@pytest.mark.parametrize("position", [0, 99, 100, 699, len(CONTENT) - 1])
def test_the_last_byte_of_a_changed_extent_is_not_given(position: int) -> None:
    changed = bytearray(CONTENT)
    changed[position] ^= 1
    read, given = reader(bytes(changed)), 0
    try:
        while piece := read.read(10):
            given += len(piece)
    except StorageDiffers:
        pass
    else:
        pytest.fail("the change was not noticed")
    assert given < next(end for _, end in CUTS if position < end)


def test_a_file_that_ends_early_differs() -> None:
    read = reader(CONTENT[:150])
    assert read.read(100) + read.read(50) == CONTENT[:150]
    with pytest.raises(StorageDiffers):
        read.read(1)


def test_a_stop_ends_the_reading() -> None:
    stop = threading.Event()
    read = reader(stop=stop)
    read.read(10)
    stop.set()
    with pytest.raises(HandoffStopped):
        read.read(10)


class Unread(io.BytesIO):
    """A file whose zeros nobody may read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.taken += len(piece)
        assert any(piece), "zeros were read"
        return piece


def test_declared_zeros_are_given_without_being_read() -> None:
    content = b"ab" + bytes(1000) + b"cd" + bytes(500)
    borders = [(0, 2), (2, 600), (600, 1002), (1002, 1004), (1004, 1504)]
    extents = [
        Extent(Range(start, end), sha256(content[start:end]) if any(content[start:end]) else ZEROS)
        for start, end in borders
    ]
    file = Unread(content)
    read = VerifyingReader(file, iter(extents), (), threading.Event(), lambda _: None)
    assert b"".join(iter(lambda: read.read(100), b"")) == content
    assert read.proof().sha512 == hashlib.sha512(content).hexdigest()
    assert file.taken == 4


def test_parts_are_skipped_as_one_file() -> None:
    files = [(io.BytesIO(b"abcd"), 3), (io.BytesIO(b""), 0), (io.BytesIO(b"efgh"), 4)]
    read = ConcatReader(iter(files))
    assert read.read(1) == b"a"
    read.seek(3)
    assert b"".join(iter(lambda: read.read(2), b"")) == b"fgh"


def test_parts_are_read_as_one_file() -> None:
    files = [(io.BytesIO(b"abcd"), 3), (io.BytesIO(b""), 0), (io.BytesIO(b"ef"), 2)]
    read = ConcatReader(iter(files))
    assert b"".join(iter(lambda: read.read(2), b"")) == b"abcef"
