"""A disk in memory that keeps only what was synced: stricter than any real disk.

It replaces `os` and `fcntl` in storage/local.py and runtime/durable.py. Every change goes into a log, from which
aftermath.py derives the possible states after a power cut. Any call can be made to fail; a failed sync forgets what it
was to make durable, as Linux does. Descriptors are reused, lowest first, so that late writes hit another file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resumable_glance.runtime import durable
from resumable_glance.storage import local

ROOT = Path("/strict")
SHORT = -1  # in place of an errno: a short write


@dataclass(eq=False, slots=True)
class Node:
    """A file or a directory, apart from its names. `data` is what processes read, `written` where they wrote."""

    is_directory: bool = False
    data: bytearray = field(default_factory=bytearray)
    written: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Written:
    node: Node
    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Sized:
    node: Node
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """A file was synced: all earlier changes of it are durable, except those of its name."""

    node: Node


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A sync failed: changes that were not durable before never will be."""

    node: Node


@dataclass(frozen=True, slots=True)
class Named:
    """A name was given to a node, or removed."""

    path: str
    node: Node | None


@dataclass(frozen=True, slots=True)
class NamesSynced:
    directory: str


@dataclass(frozen=True, slots=True)
class Noted:
    """A durable change elsewhere: in the catalog or the image service, or an acknowledgement to a client."""

    what: object


Event = Written | Sized | Synced | Forgotten | Named | NamesSynced | Noted
Fault = Callable[[str], int | None]  # called with each call's name before it; returns an errno, SHORT or None


def begun() -> dict[str, Node]:
    """Return the names of a new disk."""
    return {"/": Node(is_directory=True), str(ROOT): Node(is_directory=True)}


@dataclass(slots=True)
class _Opened:
    path: str
    node: Node
    position: int = 0


class StrictDisk:
    """A disk that begins with `names`, all durable. Its functions are those of `os`, as far as they are used."""

    O_RDONLY, O_WRONLY, O_RDWR = os.O_RDONLY, os.O_WRONLY, os.O_RDWR
    O_CREAT, O_EXCL, O_CLOEXEC, O_DIRECTORY = os.O_CREAT, os.O_EXCL, os.O_CLOEXEC, os.O_DIRECTORY
    SEEK_DATA, SEEK_HOLE = os.SEEK_DATA, os.SEEK_HOLE
    POSIX_FADV_DONTNEED = os.POSIX_FADV_DONTNEED
    LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB

    def __init__(self, names: Mapping[str, Node] | None = None, capacity: int = 1 << 20) -> None:
        self.names: dict[str, Node] = dict(names or begun())
        self.log: list[Event] = []
        self.fault: Fault = lambda _: None
        self.trespasses: list[str] = []  # calls on closed descriptors
        self.path = types.SimpleNamespace(isdir=self._is_directory)
        self._capacity = capacity
        self._opened: dict[int, _Opened] = {}
        self._locked: dict[int, Node] = {}

    def crash_of_the_process(self) -> None:
        """Close all descriptors, as the kernel does for a killed process. Nothing becomes durable or is lost."""
        self._opened.clear()
        self._locked.clear()

    def note(self, what: object) -> None:
        self.log.append(Noted(what))

    # The calls of local.py and durable.py

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        self._may_fail("open")
        name = str(path)
        node = self.names.get(name)
        if node is not None and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        if node is None:
            if not flags & os.O_CREAT or str(path.parent) not in self.names:
                raise FileNotFoundError(errno.ENOENT, "No such file", name)
            node = self._name(name, Node())
        number = next(each for each in range(3, 1 << 20) if each not in self._opened)
        self._opened[number] = _Opened(name, node)
        return number

    def close(self, descriptor: int) -> None:
        self._found(descriptor, "close")
        del self._opened[descriptor]
        self._locked.pop(descriptor, None)
        self._may_fail("close")  # Linux closes the descriptor in any case

    def flock(self, descriptor: int, _how: int) -> None:
        node = self._found(descriptor, "flock").node
        self._may_fail("flock")
        if node in self._locked.values():
            raise BlockingIOError(errno.EAGAIN, "locked")
        self._locked[descriptor] = node

    def mkdir(self, path: Path, _mode: int = 0o777) -> None:
        self._may_fail("mkdir")
        if str(path) in self.names:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        self._name(str(path), Node(is_directory=True))

    def unlink(self, path: Path) -> None:
        self._may_fail("unlink")
        if self.names.pop(str(path), None) is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        self.log.append(Named(str(path), None))

    def listdir(self, path: Path) -> list[str]:
        self._may_fail("listdir")
        return [os.path.basename(each) for each in self.names if os.path.dirname(each) == str(path)]

    def statvfs(self, _path: Path) -> types.SimpleNamespace:
        self._may_fail("statvfs")
        used = sum(len(each.data) for each in self.names.values())
        return types.SimpleNamespace(f_bavail=self._capacity - used, f_frsize=1)

    def pwrite(self, descriptor: int, data: bytes | memoryview, position: int) -> int:
        node = self._found(descriptor, "pwrite").node
        taken = bytes(data)
        if self._may_fail("pwrite") == SHORT:
            taken = taken[: max(1, len(taken) // 2)]
        if position + len(taken) > len(node.data):
            self._resize(node, position + len(taken))
        node.data[position : position + len(taken)] = taken
        node.written.update(range(position, position + len(taken)))
        self.log.append(Written(node, position, taken))
        return len(taken)

    def lseek(self, descriptor: int, position: int, how: int) -> int:
        """Return where data, or a hole, begins. A hole: never written, or zero at a power cut and not written since."""
        node = self._found(descriptor, "lseek").node
        self._may_fail("lseek")
        data = how == os.SEEK_DATA
        for place in range(position, len(node.data)):
            if (node.data[place] != 0 or place in node.written) == data:
                return place
        if data or position >= len(node.data):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return len(node.data)

    def pread(self, descriptor: int, length: int, position: int) -> bytes:
        node = self._found(descriptor, "pread").node
        self._may_fail("pread")
        return bytes(node.data[position : position + length])

    def ftruncate(self, descriptor: int, size: int) -> None:
        node = self._found(descriptor, "ftruncate").node
        self._may_fail("ftruncate")
        self._resize(node, size)

    def fstat(self, descriptor: int) -> types.SimpleNamespace:
        return types.SimpleNamespace(st_size=len(self._found(descriptor, "fstat").node.data))

    def fsync(self, descriptor: int) -> None:
        opened = self._found(descriptor, "fsync")
        if opened.node.is_directory:  # names are in a journal: a failed sync of them can be repeated
            self._may_fail("fsync")
            self.log.append(NamesSynced(opened.path))
        else:
            self._sync("fsync", opened.node)

    def fdatasync(self, descriptor: int) -> None:
        self._sync("fdatasync", self._found(descriptor, "fdatasync").node)

    def posix_fadvise(self, descriptor: int, _position: int, _length: int, _advice: int) -> None:
        """Do nothing: it is only advice."""
        self._found(descriptor, "posix_fadvise")
        self._may_fail("posix_fadvise")

    def fdopen(self, descriptor: int, _mode: str, buffering: int) -> io.RawIOBase:
        return _Reader(self, descriptor)

    def read(self, descriptor: int, length: int) -> bytes:
        opened = self._found(descriptor, "read")
        self._may_fail("read")
        piece = bytes(opened.node.data[opened.position : opened.position + length])
        opened.position += len(piece)
        return piece

    def skip(self, descriptor: int, length: int) -> int:
        opened = self._found(descriptor, "seek")
        opened.position += length
        return opened.position

    # Helpers

    def _is_directory(self, path: Path) -> bool:
        return str(path) in self.names

    def _may_fail(self, call: str) -> int | None:
        number = self.fault(call)
        if number is not None and number != SHORT:
            raise OSError(number, os.strerror(number))
        return number

    def _found(self, descriptor: int, call: str) -> _Opened:
        if descriptor not in self._opened:
            self.trespasses.append(call)
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._opened[descriptor]

    def _name(self, name: str, node: Node) -> Node:
        self.names[name] = node
        self.log.append(Named(name, node))
        return node

    def _resize(self, node: Node, size: int) -> None:
        node.data[size:] = bytes(max(0, size - len(node.data)))
        self.log.append(Sized(node, size))

    def _sync(self, call: str, node: Node) -> None:
        try:
            self._may_fail(call)
        except OSError:
            self.log.append(Forgotten(node))
            raise
        self.log.append(Synced(node))


class _Reader(io.RawIOBase):
    def __init__(self, disk: StrictDisk, descriptor: int) -> None:
        self._disk = disk
        self._descriptor = descriptor

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._disk.read(self._descriptor, size)

    def seek(self, offset: int, whence: int = os.SEEK_CUR) -> int:
        return self._disk.skip(self._descriptor, offset)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._disk.close(self._descriptor)


@contextlib.contextmanager
def mounted(disk: StrictDisk) -> Iterator[None]:
    """Put scratch on this disk."""
    places = [(local, "os"), (local, "fcntl"), (durable, "os")]
    before = [getattr(module, name) for module, name in places]
    for module, name in places:
        setattr(module, name, disk)
    try:
        yield
    finally:
        for (module, name), real in zip(places, before, strict=True):
            setattr(module, name, real)
