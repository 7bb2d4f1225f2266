"""A scratch that is really full: a file system of its own, small, in a mount namespace of the service's own."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service import development
from tests.tus_wire import created, native, offset, send
from tests.wire import Client, reason

MIB = 1024 * 1024
CONTENT = random.Random(51).randbytes(3 * MIB)
SIZE = len(CONTENT)
# Root needs no namespace of users. Others do, and some systems forbid it to them.
NAMESPACE = [
    shutil.which("unshare") or "unshare",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
    "--mount",
]
MOUNTED = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'


def skip_where_nothing_can_be_mounted() -> None:
    command = [*NAMESPACE, "sh", "-c", MOUNTED, "/mnt", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode:
        pytest.skip(f"this system lets us mount nothing: {tried.stderr.strip()}")


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))


def test_a_full_disk_costs_nothing_that_was_acknowledged_and_uploads_go_on_when_it_is_not(tmp_path: Path) -> None:
    skip_where_nothing_can_be_mounted()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    service = development(tmp_path)
    service.within = [*NAMESPACE, "/bin/sh", "-c", MOUNTED, str(scratch)]
    with service:
        client = Client(service.url)
        url = created(client, SIZE)
        assert send(client, url, 0, CONTENT[:1000]).status_code == 204
        with ThreadPoolExecutor(4) as threads:  # for two of these there is no space beside what was promised already
            answers = list(threads.map(client.create, [600 * 1024] * 4))
        assert sorted(each.status_code for each in answers) == [201, 507, 507, 507]
        ballast = Path(f"/proc/{service.pid}/root{scratch}/ballast")
        fill(ballast)
        for answer in (send(client, url, 1000, CONTENT[1000:]), client.send(native(client, url), CONTENT, MIB, SIZE)):
            assert (answer.status_code, reason(answer)) == (507, "no-scratch-space")
            assert int(answer.headers["Retry-After"]) > 0
            assert offset(client, url) == 1000
        ballast.unlink()
        assert send(client, url, 1000, CONTENT[1000:]).status_code == 204
        upload = client.wait(native(client, url), "active")
        assert (tmp_path / "images" / upload["image"]["id"]).read_bytes() == CONTENT
