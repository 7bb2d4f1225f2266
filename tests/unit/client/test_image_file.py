"""The file that becomes the image."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from resumable_glance.client import ClientError
from resumable_glance.client.image_file import WIRE_PIECE, ChunkBody, ImageFile, Paused, WholeDigests
from resumable_glance.client.plan import (
    MIB,
)
from resumable_glance.model.ranges import Range


def test_a_fingerprint_samples_beginning_middle_and_end(tmp_path: Path) -> None:
    content = bytearray(os.urandom(8 * MIB))
    prints = {fingerprint(tmp_path, content)}
    for place in (0, 4 * MIB, 8 * MIB - 1):
        content[place] ^= 1
        prints.add(fingerprint(tmp_path, content))
        content[place] ^= 1
    assert len(prints) == 4
    assert fingerprint(tmp_path, content) in prints
    assert fingerprint(tmp_path, b"") != fingerprint(tmp_path, b"\x00")


def test_a_chunk_is_iterable_twice_in_small_pieces(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    file = image(tmp_path, content)
    body = ChunkBody(file, Range(10, 150_010))
    assert len(body) == 150_000
    for _ in range(2):
        assert b"".join(body) == content[10:150_010]
    assert max(map(len, body)) <= WIRE_PIECE
    file.close()


@pytest.mark.parametrize("sparse", [True, False])
def test_long_runs_of_zeros_are_found(tmp_path: Path, sparse: bool) -> None:
    path = tmp_path / "disk.raw"
    size, data = 20 * MIB + 5, [Range(3 * MIB + 7, 4 * MIB), Range(5 * MIB, 6 * MIB - 9), Range(6 * MIB, 7 * MIB)]
    with path.open("wb") as writer:
        if sparse:
            writer.truncate(size)
        else:
            writer.write(bytes(size))
        for each in data:
            writer.seek(each.start)
            writer.write(b"x" * each.length)
    file = ImageFile(path)
    runs = [Range(0, 3 * MIB), Range(4 * MIB, 5 * MIB), Range(7 * MIB, size)]
    assert file.zeros(Range(0, size)) == runs
    assert file.zeros(Range(MIB + 3, 2 * MIB)) == []
    assert all(any(run.start <= each.start and each.stop <= run.stop for run in runs) for each in file.holes())
    assert bool(file.holes()) is sparse
    file.close()


def test_a_file_system_without_holes_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = image(tmp_path, bytes(4 * MIB))

    def lseek(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", lseek)
    assert file.holes() == []
    file.close()


def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    file = image(tmp_path, bytes(100))
    os.truncate(file.path, 50)
    assert file.changed()
    with pytest.raises(ClientError, match="shorter"):
        list(file.read(Range(0, 100)))
    with pytest.raises(ClientError, match="shorter"):
        WholeDigests(file, "md5").wait(lambda done: None)
    file.close()


def test_reading_stops_on_request(tmp_path: Path) -> None:
    file = image(tmp_path, bytes(100))
    file.stop.set()
    with pytest.raises(Paused):
        list(file.read(Range(0, 100)))
    file.close()


def test_directories_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="regular"):
        ImageFile(tmp_path)
    with pytest.raises(ClientError, match="No such file"):
        ImageFile(tmp_path / "missing")


def image(directory: Path, content: bytes | bytearray) -> ImageFile:
    path = directory / "disk.raw"
    path.write_bytes(content)
    return ImageFile(path)


def fingerprint(directory: Path, content: bytes | bytearray) -> str:
    file = image(directory, content)
    found = file.fingerprint()
    file.close()
    return found
