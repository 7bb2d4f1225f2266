"""The file being uploaded: its bytes, its runs of zeros, its digests, and whether it has changed.

Every problem with the file is a ClientError, never an OSError: OSErrors mean broken connections. At most one piece of
the file is in memory at a time for each reader.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from resumable_glance.client.errors import ClientError
from resumable_glance.model.ranges import Range, merge

PIECE = 1024 * 1024  # bytes per read
WIRE_PIECE = 64 * 1024  # bytes per write to a socket: each has to be sent within the connection's timeout
BLOCK = 64 * 1024  # bytes: the granularity of the scan for zeros
SHORTEST_RUN = 1024 * 1024  # bytes of zeros; declaring fewer costs about as much as sending them
POLL_INTERVAL = 0.2  # seconds between two reports of progress
_SAMPLE = 1024 * 1024  # bytes at the beginning, in the middle and at the end
# Signatures take precedence over extensions: Ubuntu's *.img files, for example, are qcow2.
_SIGNATURES: Mapping[bytes, str] = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"vhdxfile": "vhdx", b"conectix": "vhd"}
_EXTENSIONS: Mapping[str, str] = {
    ".qcow2": "qcow2", ".raw": "raw", ".img": "raw", ".dd": "raw", ".iso": "iso", ".vmdk": "vmdk", ".vhd": "vhd",
    ".vhdx": "vhdx", ".vdi": "vdi",
}  # fmt: skip


class Paused(Exception):
    """Reading was stopped on request."""


class ImageFile:
    """A file open for reading. `size` in bytes and `mtime_ns` as they were when it was opened."""

    def __init__(self, path: Path) -> None:
        """Raise ClientError if the file cannot be read or is not a regular file."""
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as problem:
            raise ClientError(f"{path} cannot be read: {problem.strerror}.") from None
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise ClientError(f"{path} is not a regular file.")
        self.size, self.mtime_ns = status.st_size, status.st_mtime_ns
        self.stop = threading.Event()  # once set, every reader raises Paused

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stop.set()
        os.close(self._descriptor)

    def read(self, range_: Range, length: int = PIECE) -> Iterator[bytes]:
        """Yield a range in pieces of `length` bytes. Raise ClientError for a shorter file, Paused after `stop`."""
        position = range_.start
        while position < range_.stop:
            if self.stop.is_set():
                raise Paused
            try:
                piece = os.pread(self._descriptor, min(length, range_.stop - position), position)
            except OSError as problem:
                raise ClientError(f"{self.path} cannot be read: {problem.strerror}.") from None
            if not piece:
                raise ClientError(f"{self.path} became shorter during the upload: it ends at byte {position}.")
            position += len(piece)
            yield piece

    def holes(self) -> list[Range]:
        """Return the runs of zeros that the file system knows of, without reading any data."""
        found, position = [], 0
        try:
            while position < self.size:
                hole = min(self.size, os.lseek(self._descriptor, position, os.SEEK_HOLE))
                position = self.size if hole == self.size else self._data_after(hole)
                found += _long_enough([Range(-(-hole // BLOCK) * BLOCK, position)])
        except OSError:  # the file system cannot tell: the scan will find them
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
        """Return the runs of zeros in a range that are long enough to be declared. Raise as read() does."""
        blocks, position = [], range_.start
        for piece in self.read(range_):
            if _only_zeros(piece):
                blocks.append(Range(position, position + len(piece)))
            else:
                parts = [(at, piece[at : at + BLOCK]) for at in range(0, len(piece), BLOCK)]
                blocks += [Range(position + at, position + at + len(part)) for at, part in parts if _only_zeros(part)]
            position += len(piece)
        return _long_enough(merge(blocks))

    def md5(self, range_: Range) -> bytes:
        """Return the md5 of a range. Raise as read() does."""
        digest = hashlib.md5(usedforsecurity=False)
        for piece in self.read(range_):
            digest.update(piece)
        return digest.digest()

    def fingerprint(self) -> str:
        """Return a digest of three samples, which tells most changed files apart without reading all of them."""
        sample = hashlib.sha256(str(self.size).encode())
        for start in (0, max(0, self.size // 2 - _SAMPLE // 2), max(0, self.size - _SAMPLE)):
            for piece in self.read(Range(start, min(self.size, start + _SAMPLE))):
                sample.update(piece)
        return sample.hexdigest()

    def changed(self) -> bool:
        """Return whether the file was written to since it was opened."""
        status = os.fstat(self._descriptor)
        return (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns)

    def disk_format(self) -> str:
        """Return Glance's disk_format by signature and extension. Raise ClientError if they do not tell."""
        beginning = b"".join(self.read(Range(0, min(self.size, 8))))
        named = _EXTENSIONS.get(self.path.suffix.lower())
        found = next((each for signature, each in _SIGNATURES.items() if beginning.startswith(signature)), None)
        if found and named not in {None, "raw", found}:
            raise ClientError(
                f"{self.path} has the signature of {found} and the extension of {named}: set --disk-format."
            )
        disk_format = found or named
        if disk_format is None:
            raise ClientError(
                f"The format of {self.path.name} is not known: set --disk-format (raw, qcow2, iso ... or auto)."
            )
        return disk_format


def _only_zeros(data: bytes) -> bool:
    return data == bytes(len(data))  # a memcmp, far faster than any loop


def _long_enough(runs: Iterable[Range]) -> list[Range]:
    return [each for each in runs if each.length >= SHORTEST_RUN]


class ChunkBody:
    """A chunk as the body of a request: iterable more than once, in small pieces.

    urllib3 would pass bytes to a single sendall(), whose timeout covers all of them, so slow links would always fail.
    """

    def __init__(self, file: ImageFile, range_: Range) -> None:
        self._file = file
        self._range = range_

    def __len__(self) -> int:
        return self._range.length

    def __iter__(self) -> Iterator[bytes]:
        return self._file.read(self._range, WIRE_PIECE)


class WholeDigests:
    """Digests of the whole file, computed in a thread while the upload runs. `done` in bytes."""

    def __init__(self, file: ImageFile, *algorithms: str) -> None:
        self.done = 0
        self._file = file
        self._digests = {each: hashlib.new(each, usedforsecurity=False) for each in algorithms}
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="digests", daemon=True)
        self._thread.start()

    def wait(self, on_progress: Callable[[int], None]) -> Mapping[str, str]:
        """Return hexadecimal digests by algorithm. Raise as ImageFile.read() does.

        `on_progress` is called with the bytes done, several times a second.
        """
        while self._thread.is_alive():
            on_progress(self.done)
            self._thread.join(POLL_INTERVAL)
        if self._problem is not None:
            raise self._problem
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def _run(self) -> None:
        try:
            for piece in self._file.read(Range(0, self._file.size)):
                for digest in self._digests.values():
                    digest.update(piece)
                self.done += len(piece)
        except BaseException as problem:
            self._problem = problem
