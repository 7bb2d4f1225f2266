"""The file that is being uploaded: its bytes, whether it is still the same, and its digests.

Its one rule: whatever goes wrong with the file is a Failure, never an OSError, since that is how a broken
connection looks. Nothing here holds more than a piece of the file in memory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from resumable_glance.client import Failure
from resumable_glance.model.digests import MultiHasher, only_zeros
from resumable_glance.model.ranges import Range, merge

PIECE = 1024 * 1024  # bytes read at once
WIRE_PIECE = 64 * 1024  # bytes given to a socket at once: each must get away within the connection's timeout
BLOCK = 64 * 1024  # bytes: zeros are looked for in blocks of so many
SHORTEST_RUN = 1024 * 1024  # bytes of zeros; a request with its two flushes costs about what it costs to send these
_SAMPLE = 1024 * 1024  # bytes at the beginning, in the middle and at the end
# What a file says at its beginning that it is; Ubuntu's *.img, for one, are qcow2.
_MAGIC: Mapping[bytes, str] = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"vhdxfile": "vhdx", b"conectix": "vhd"}
_EXTENSIONS: Mapping[str, str] = {
    ".qcow2": "qcow2", ".raw": "raw", ".img": "raw", ".dd": "raw", ".iso": "iso", ".vmdk": "vmdk", ".vhd": "vhd",
    ".vhdx": "vhdx", ".vdi": "vdi",
}  # fmt: skip


class Paused(Exception):
    """Somebody asked to stop in the middle of reading."""


class ImageFile:
    """A file that is open for reading. `size` in bytes, as it was when it was opened."""

    def __init__(self, path: Path) -> None:
        """Raises Failure if it can't be read or is not a file."""
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as problem:
            raise Failure(f"{path} can't be read: {problem.strerror}.") from None
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise Failure(f"{path} is not a regular file.")
        self.size, self.mtime_ns = status.st_size, status.st_mtime_ns
        self.stop = threading.Event()  # once set, every reader raises Paused

    def close(self) -> None:
        self.stop.set()
        os.close(self._descriptor)

    def pieces(self, range_: Range, length: int = PIECE) -> Iterator[bytes]:
        """The bytes of a range. Failure if the file has become shorter or can't be read, Paused after `stop`."""
        position = range_.start
        while position < range_.stop:
            if self.stop.is_set():
                raise Paused
            try:
                piece = os.pread(self._descriptor, min(length, range_.stop - position), position)
            except OSError as problem:
                raise Failure(f"{self.path} can't be read: {problem.strerror}.") from None
            if not piece:
                raise Failure(f"{self.path} has become shorter while it was uploaded: it ends at byte {position}.")
            position += len(piece)
            yield piece

    def holes(self) -> list[Range]:
        """Runs of zeros that the file system knows of, without reading anything."""
        found, position = [], 0
        try:
            while position < self.size:
                hole = min(self.size, os.lseek(self._descriptor, position, os.SEEK_HOLE))
                position = self.size if hole == self.size else self._data_after(hole)
                found += worthwhile([Range(-(-hole // BLOCK) * BLOCK, position)])
        except OSError:  # no answer is no hole: what is there will be read
            return []
        return found

    def _data_after(self, hole: int) -> int:
        try:
            return min(self.size, os.lseek(self._descriptor, hole, os.SEEK_DATA))
        except OSError as problem:
            if problem.errno != errno.ENXIO:
                raise
            return self.size

    def zeros(self, range_: Range) -> list[Range]:
        """The runs of zeros in a range that are long enough to be declared. Failure as in pieces()."""
        blocks, position = [], range_.start
        for piece in self.pieces(range_):
            if only_zeros(piece):
                blocks.append(Range(position, position + len(piece)))
            else:
                starts = range(0, len(piece), BLOCK)
                parts = [(start, piece[start : start + BLOCK]) for start in starts]
                blocks += [Range(position + at, position + at + len(part)) for at, part in parts if only_zeros(part)]
            position += len(piece)
        return worthwhile(merge(blocks))

    def digest(self, range_: Range, algorithm: str) -> bytes:
        tally = MultiHasher(algorithm)
        for piece in self.pieces(range_):
            tally.update(piece)
        return tally.digest(algorithm).value

    def fingerprint(self) -> str:
        """What tells this content from another without reading all of it: a digest of three samples."""
        sample = hashlib.sha256(str(self.size).encode())
        for start in (0, max(0, self.size // 2 - _SAMPLE // 2), max(0, self.size - _SAMPLE)):
            for piece in self.pieces(Range(start, min(self.size, start + _SAMPLE))):
                sample.update(piece)
        return sample.hexdigest()

    def changed(self) -> bool:
        """Whether somebody has written to it since it was opened."""
        status = os.fstat(self._descriptor)
        return (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns)

    def disk_format(self) -> str:
        """Glance's disk_format for it. Failure if neither its beginning nor its name tells."""
        beginning = b"".join(self.pieces(Range(0, min(self.size, 8))))
        named = _EXTENSIONS.get(self.path.suffix.lower())
        for magic, found in _MAGIC.items():
            if beginning.startswith(magic):
                if named not in {None, "raw", found}:
                    raise Failure(f"{self.path} begins like {found}, but is named {named}: say which: --disk-format.")
                return found
        if named is None:
            raise Failure(f"{self.path.name} does not tell what it is: say --disk-format (raw, qcow2, iso ...).")
        return named


def worthwhile(runs: Iterable[Range]) -> list[Range]:
    """Those runs of zeros that are long enough to be declared."""
    return [each for each in runs if each.length >= SHORTEST_RUN]


class ChunkBody:
    """A chunk as the body of a request. It can be sent again, and gives the socket small pieces.

    urllib3 would give bytes to one sendall(), whose timeout is for all of them: slow links would never get through.
    """

    def __init__(self, file: ImageFile, range_: Range) -> None:
        self._file = file
        self._range = range_

    def __len__(self) -> int:
        return self._range.length

    def __iter__(self) -> Iterator[bytes]:
        return self._file.pieces(self._range, WIRE_PIECE)


class WholeDigests:
    """Digests of the whole file, computed by a thread of its own while the upload runs."""

    def __init__(self, file: ImageFile, *algorithms: str) -> None:
        self.done = 0  # bytes
        self._file = file
        self._tally = MultiHasher(*algorithms)
        self._algorithms = algorithms
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="digests", daemon=True)
        self._thread.start()

    def wait(self, tell: Callable[[int], None], interval: float = 0.2) -> Mapping[str, str]:
        """Hexadecimal digests by algorithm; `tell` is given the bytes done meanwhile. Failure as in pieces()."""
        while self._thread.is_alive():
            tell(self.done)
            self._thread.join(interval)
        if self._problem is not None:
            raise self._problem
        return {each: self._tally.digest(each).value.hex() for each in self._algorithms}

    def _run(self) -> None:
        try:
            for piece in self._file.pieces(Range(0, self._file.size)):
                self._tally.update(piece)
                self.done += len(piece)
        except BaseException as problem:
            self._problem = problem
