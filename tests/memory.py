"""The memory that the service takes for a big upload: `python3 noxfile.py -s memory`.

Random bytes, three chunks at a time, without OpenStack: the service receives them, checks their md5, and writes, reads
and delivers them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import images
from tests.support.service import Service, development
from tests.support.wire import Client, md5

MIB = 1024 * 1024
CHUNK = 64 * MIB
LIMIT = 64 * MIB


def main() -> int:
    parser = argparse.ArgumentParser("python3 noxfile.py -s memory --", description=__doc__)
    parser.add_argument(
        "--size", type=int, default=2048, metavar="MIB", help="size of the upload (default: %(default)s)"
    )
    arguments = parser.parse_args()
    file = images.raw_disk(arguments.size * MIB)
    with tempfile.TemporaryDirectory() as directory, development(Path(directory)) as service:
        client = Client(service.url)
        client.wait(upload(client, images.raw_disk(64 * MIB)), "active")  # for late imports
        before = service.memory()
        watch = Watch(service)
        client.wait(upload(client, file), "active", seconds=600)
        grown = watch.end() - before
    print(f"{arguments.size} MiB uploaded: RSS was {before / MIB:.1f} MiB and grew by {grown / MIB:.1f} MiB at most")
    if grown > LIMIT:
        print(f"FAILED: more than {LIMIT / MIB:.0f} MiB", file=sys.stderr)
        return 1
    return 0


class Watch:
    """Measures the most resident memory of a service, until end()."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def end(self) -> int:
        """Stop measuring; return bytes."""
        self._ended.set()
        self._thread.join()
        return self._most

    def _look(self) -> None:
        while not self._ended.is_set():
            self._most = max(self._most, self._service.memory())
            time.sleep(0.02)


def upload(client: Client, file: Path) -> str:
    """Send a file with three chunks at a time; return the upload's URL."""
    size = file.stat().st_size
    url = client.created(size)

    def send(start: int) -> None:
        stop = min(start + CHUNK, size)
        with file.open("rb") as content:
            content.seek(start)
            chunk = content.read(stop - start)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{size}", **md5(chunk)}
        answer = client.request("PATCH", url, headers, data=chunk)
        if answer.status_code != 204:
            raise RuntimeError(answer.text)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(send, range(0, size, CHUNK)))
    return url


if __name__ == "__main__":
    sys.exit(main())
