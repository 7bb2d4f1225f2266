"""The limit of this machine: a server that does nothing but receive, write and flush.

A body is received into a buffer that is reused, written to its file, and flushed at its end; with `md5` a second thread
of each connection hashes it meanwhile. It understands just enough HTTP for our sender.

    python -m tests.bench.bare PORT DIRECTORY [md5]
"""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import re
import socket
import sys
import threading
from pathlib import Path

BUFFER = 1024 * 1024  # bytes
BUFFERS = 4  # of a connection with md5
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def main() -> None:
    port, directory, checks = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["md5"]
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        for number in itertools.count():
            connection, _ = listener.accept()
            carrying = (connection, directory / str(number), checks)
            threading.Thread(target=carry, args=carrying, daemon=True).start()


def carry(connection: socket.socket, path: Path, checks: bool) -> None:
    """Write all bodies of a connection, one after the other, into one file."""
    position, hashing = 0, Hashing() if checks else None
    buffer = memoryview(bytearray(BUFFER))
    with connection, path.open("wb", buffering=0) as file:
        while (length := announced(connection)) is not None:
            stop = position + length
            while position < stop:
                filled = hashing.buffer() if hashing else buffer
                size = connection.recv_into(filled, min(BUFFER, stop - position), socket.MSG_WAITALL)
                if not size:
                    return
                os.pwrite(file.fileno(), filled[:size], position)
                if hashing:
                    hashing.put(filled, size)
                position += size
            os.fdatasync(file.fileno())
            if hashing:
                hashing.digest()
            connection.sendall(ANSWER)


def announced(connection: socket.socket) -> int | None:
    """Read a head, and nothing after it, from a connection; return the length of its body, or None at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (piece := connection.recv(4096, socket.MSG_PEEK)):
            return None
        end = (head + piece).find(b"\r\n\r\n")
        head += connection.recv(len(piece) if end < 0 else end + 4 - len(head))
    found = re.search(rb"content-length: ([0-9]+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


class Hashing:
    """A thread that hashes buffers, and gives them back."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
        self._digests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(memoryview(bytearray(BUFFER)))
        threading.Thread(target=self._run, daemon=True).start()

    def buffer(self) -> memoryview:
        return self._free.get()

    def put(self, buffer: memoryview, size: int) -> None:
        self._full.put((buffer, size))

    def digest(self) -> bytes:
        """Return the md5 of everything since the last call."""
        self._full.put(None)
        return self._digests.get()

    def _run(self) -> None:
        md5 = hashlib.md5(usedforsecurity=False)
        while True:
            match self._full.get():
                case None:
                    self._digests.put(md5.digest())
                    md5 = hashlib.md5(usedforsecurity=False)
                case buffer, size:
                    md5.update(buffer[:size])
                    self._free.put(buffer)


if __name__ == "__main__":
    main()
