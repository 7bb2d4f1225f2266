"""A sender that is never the bottleneck: the kernel copies bodies from a file to a socket.

It is a process of its own. Each line of its standard input is a job, each line of its standard output the times:

    python -m tests.bench.sender
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tests import ROOT
from tests.support.raw import Line


@dataclass(frozen=True, slots=True)
class Piece:
    """A request: its head, and the range of the file that is its body."""

    head: str
    start: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """The times of the first byte, the last byte and the last answer (of the monotonic clock)."""

    began: float
    sent: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Sender:
    """The sender's process; `within` is a prefix of its command."""

    def __init__(self, within: Sequence[str] = ()) -> None:
        command = [*within, sys.executable, "-m", "tests.bench.sender"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def send(self, port: int, file: Path, streams: Sequence[Sequence[Piece]]) -> Sent:
        """Send each stream of requests over a connection of its own, all at the same time. RuntimeError if one fails"""
        job = {"port": port, "file": str(file), "streams": [[asdict(each) for each in stream] for stream in streams]}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Sent(**self._read())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        report = json.loads(self._process.stdout.readline() or '{"failed": "the sender has ended"}')
        if "failed" in report:
            raise RuntimeError(report["failed"])
        return cast(dict[str, float], report)


@contextlib.contextmanager
def sending(within: Sequence[str] = ()) -> Iterator[Sender]:
    sender = Sender(within)
    try:
        yield sender
    finally:
        sender.close()


def piece(method: str, path: str, headers: dict[str, str], start: int = 0, length: int = 0) -> Piece:
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", *(f"{name}: {value}" for name, value in headers.items())]
    return Piece("\r\n".join([*lines, f"Content-Length: {length}", "", ""]), start, length)


def main() -> None:
    print("{}", flush=True)
    for job in sys.stdin:
        try:
            report = asdict(done(**json.loads(job)))
        except Exception as problem:
            report = {"failed": repr(problem)}
        print(json.dumps(report), flush=True)


def done(port: int, file: str, streams: list[list[dict[str, object]]]) -> Sent:
    """Do a job: connect all streams, then begin all at once."""
    pieces = [[Piece(**each) for each in stream] for stream in streams]  # type: ignore[arg-type]
    works = [Stream(port, file, each) for each in pieces]
    began = time.monotonic()
    for each in works:
        each.start()
    for each in works:
        each.join()
    ended = time.monotonic()
    for each in works:
        if each.failed is not None:
            raise each.failed
    return Sent(began, max(each.sent for each in works), ended)


class Stream(threading.Thread):
    """Requests one after the other over one connection."""

    def __init__(self, port: int, file: str, pieces: list[Piece]) -> None:
        super().__init__(daemon=True)
        self.failed: Exception | None = None
        self.sent = 0.0  # when the last byte was
        self._port = port
        self._file = file
        self._pieces = pieces
        self._line = Line(port)

    def run(self) -> None:
        try:
            with Path(self._file).open("rb") as file:
                for each in self._pieces:
                    self._send(file, each)
        except Exception as problem:
            self.failed = problem
        finally:
            self._line.close()

    def _send(self, file: BinaryIO, piece: Piece) -> None:
        self._line.send(piece.head.encode())
        if piece.length:
            self._line.send_file(file, piece.start, piece.length)
        self.sent = time.monotonic()
        answer = self._line.answer(piece.head.partition(" ")[0])
        if answer.status >= 300:
            raise RuntimeError(f"{piece.head.splitlines()[0]} is answered with {answer.status}: {answer.content!r}")
        if self._line.ends:
            self._line.close()
            self._line = Line(self._port)


if __name__ == "__main__":
    main()
