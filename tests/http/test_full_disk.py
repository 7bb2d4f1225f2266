"""A scratch that is really full: a file system of its own, small, in a mount namespace of the service's own."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import small_disk
from tests.support.service import development
from tests.support.tus_wire import created, native, offset, send
from tests.support.wire import Client, reason

MIB = 1024 * 1024
CONTENT = random.Random(51).randbytes(3 * MIB)
SIZE = len(CONTENT)


def test_a_full_disk_loses_nothing_and_uploads_continue_after_it(tmp_path: Path) -> None:
    if lack := small_disk.refused():
        pytest.skip(lack)
    scratch = tmp_path / "scratch"
    service = development(tmp_path, {"limits": {"share_per_project": 100}})
    small_disk.put(service, scratch, 4 * MIB)
    with service:
        client = Client(service.url)
        url = created(client, SIZE)
        assert send(client, url, 0, CONTENT[:1000]).status_code == 204
        with ThreadPoolExecutor(4) as threads:  # for two of these there is no space beside what was promised already
            answers = list(threads.map(client.create, [600 * 1024] * 4))
        assert sorted(each.status_code for each in answers) == [201, 507, 507, 507]
        ballast = small_disk.seen(service, scratch / "ballast")
        small_disk.fill(ballast)
        for answer in (send(client, url, 1000, CONTENT[1000:]), client.send(native(client, url), CONTENT, MIB, SIZE)):
            assert (answer.status_code, reason(answer)) == (507, "no-scratch-space")
            assert int(answer.headers["Retry-After"]) > 0
            assert offset(client, url) == 1000
        ballast.unlink()
        assert send(client, url, 1000, CONTENT[1000:]).status_code == 204
        upload = client.wait(native(client, url), "active")
        assert (tmp_path / "images" / upload["image"]["id"]).read_bytes() == CONTENT
