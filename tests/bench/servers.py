"""The contestants of the way in: each is a running server that knows how its uploads are sent.

No upload becomes complete: a byte stays missing, so that what a server does with a whole upload (ours would begin a
handoff) takes no time from the next contestant.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from signal import SIGTERM
from typing import Protocol
from urllib.parse import urlsplit

import requests

from tests.bench.others import OTHERS, Command
from tests.bench.sender import Piece, piece
from tests.support import images, process
from tests.support.service import UNLIMITED, Service, development
from tests.support.wire import Client

MIB = 1024 * 1024
CONTENT = 64 * MIB  # bytes of the file that all chunks are taken from
RECEIVING_ONLY = {
    **UNLIMITED,
    "handoff": {"early_workers": 0},  # the others deliver nothing, so neither may we
}
NATIVE, TUS, BARE = "ours", "ours, tus", "bare loop"
TUS_RESUMABLE = {"Tus-Resumable": "1.0.0"}
PATIENCE = 30  # seconds for a server to listen


@dataclass(frozen=True, slots=True)
class Work:
    """So many streams at once, each a file in so many chunks of so many bytes, with or without their md5."""

    streams: int
    chunks: int
    chunk: int
    md5: bool

    @property
    def total(self) -> int:
        return self.streams * self.chunks * self.chunk

    @property
    def setting(self) -> str:
        many = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{many}, {self.chunk // MIB} MiB chunks" + (", md5" if self.md5 else "")


class Contestant(Protocol):
    """A server, which writes into `directory`."""

    @property
    def pid(self) -> int: ...

    @property
    def port(self) -> int: ...

    def begin(self, work: Work) -> list[list[Piece]]:
        """Create the uploads; return the requests of each stream."""

    def clean(self) -> None:
        """Remove the uploads."""


def content() -> Path:
    """Make the file that is sent."""
    return images.raw_disk(CONTENT)


@cache
def md5(length: int) -> str:
    """Return the md5 of the first bytes of the file, in base64. All chunks are these bytes: hashing takes no time."""
    with content().open("rb") as file:
        return base64.b64encode(hashlib.md5(file.read(length), usedforsecurity=False).digest()).decode()


@dataclass
class Native:
    """Our service with its native protocol."""

    service: Service
    _uploads: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.service.pid

    @property
    def port(self) -> int:
        return self.service.port

    def begin(self, work: Work) -> list[list[Piece]]:
        size = work.chunks * work.chunk + 1
        client = Client(self.service.url)
        self._uploads = [client.created(size) for _ in range(work.streams)]
        declared = {"Content-MD5": md5(work.chunk)} if work.md5 else {}
        return [
            [
                piece(
                    "PATCH",
                    urlsplit(url).path,
                    {"Content-Range": f"bytes {start}-{start + work.chunk - 1}/{size}", **declared},
                    length=work.chunk,
                )
                for start in range(0, size - 1, work.chunk)
            ]
            for url in self._uploads
        ]

    def clean(self) -> None:
        for url in self._uploads:
            requests.delete(url, timeout=60).raise_for_status()


@dataclass
class Tus:
    """A server with tus at `path`. `directory` is emptied after each turn; our service deletes its uploads itself."""

    pid: int
    port: int
    path: str
    directory: Path | None
    _uploads: list[str] = field(default_factory=list)

    def begin(self, work: Work) -> list[list[Piece]]:
        url = f"http://127.0.0.1:{self.port}{self.path}"
        size = work.chunks * work.chunk + 1
        self._uploads = []
        for _ in range(work.streams):
            answer = requests.post(url, headers={**TUS_RESUMABLE, "Upload-Length": str(size)}, timeout=60)
            answer.raise_for_status()
            self._uploads.append(answer.headers["Location"])
        headers = {**TUS_RESUMABLE, "Content-Type": "application/offset+octet-stream"}
        if work.md5:
            headers["Upload-Checksum"] = f"md5 {md5(work.chunk)}"
        return [
            [
                piece("PATCH", urlsplit(each).path, {**headers, "Upload-Offset": str(start)}, length=work.chunk)
                for start in range(0, size - 1, work.chunk)
            ]
            for each in self._uploads
        ]

    def clean(self) -> None:
        if self.directory is not None:
            empty(self.directory)
            return
        for each in self._uploads:
            requests.delete(each, headers=TUS_RESUMABLE, timeout=60).raise_for_status()


@dataclass
class Bare:
    """The bare loop: one process without and one with md5."""

    pid: int
    port: int
    directory: Path

    def begin(self, work: Work) -> list[list[Piece]]:
        return [[piece("PATCH", "/", {}, length=work.chunk) for _ in range(work.chunks)] for _ in range(work.streams)]

    def clean(self) -> None:
        empty(self.directory)


@contextlib.contextmanager
def native(directory: Path) -> Iterator[Contestant]:
    with development(directory, RECEIVING_ONLY) as service:
        yield Native(service)


@contextlib.contextmanager
def our_tus(directory: Path) -> Iterator[Contestant]:
    with development(directory, RECEIVING_ONLY) as service:
        yield Tus(service.pid, service.port, "/v1/tus", None)


@contextlib.contextmanager
def bare(directory: Path, *, md5: bool = False) -> Iterator[Contestant]:
    options = ["md5"] if md5 else []

    def command(port: int, place: Path) -> list[str]:
        return [sys.executable, "-m", "tests.bench.bare", str(port), str(place), *options]

    with _running(command, directory) as (pid, port, place):
        yield Bare(pid, port, place)


@contextlib.contextmanager
def other(name: str, directory: Path) -> Iterator[Contestant]:
    """Give one of the other servers. Missing if it can't be installed here."""
    with _running(OTHERS[name](), directory) as (pid, port, place):
        yield Tus(pid, port, "/files", place)


def empty(directory: Path) -> None:
    """Remove all files below a directory, and leave the directories."""
    for each in directory.rglob("*"):
        if not each.is_dir():
            each.unlink(missing_ok=True)


@contextlib.contextmanager
def _running(command: Command, directory: Path) -> Iterator[tuple[int, int, Path]]:
    place = directory / "uploads"
    place.mkdir(parents=True)
    (port,) = process.free_ports(1)
    log = directory / "log"
    running = process.launch(command(port, place), log=log, variables={**os.environ, "NO_COLOR": "1"})
    try:
        deadline = time.monotonic() + PATIENCE
        while not _listens(port):
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command(port, place)[0]} did not start\n{process.tail(log)}")
            time.sleep(0.05)
        yield running.pid, port, place
    finally:
        process.end(running, SIGTERM)
        shutil.rmtree(directory, ignore_errors=True)


def _listens(port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        requests.get(f"http://127.0.0.1:{port}/", timeout=5)
        return True
    return False
