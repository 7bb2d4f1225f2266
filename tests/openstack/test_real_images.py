"""Real images, by our own command line, into the real Glance: what an operator would do on the first day."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import images
from tests.support.chaos import BadLink
from tests.support.cloud import DEMO, READER, Cloud, User
from tests.support.service import Service

pytestmark = pytest.mark.openstack
GIB = 1024**3


def command(cloud: Cloud, service: Service, user: User, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `resumable-glance WORDS` as a user of the cloud."""
    variables = {**os.environ, **cloud.environment(user), "XDG_STATE_HOME": str(service.directory / "client")}
    return subprocess.run(
        [sys.executable, "-m", "resumable_glance", *words],
        env={"RESUMABLE_GLANCE_URL": service.url, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


@pytest.mark.parametrize(
    ("make", "disk_format", "more"),
    [
        (images.bootable_iso, "iso", []),
        (lambda: images.qcow2(512 * images.MIB), "qcow2", ["--digest", "sha256", "--store", "archive"]),
        (lambda: images.raw_disk(GIB), "raw", ["--disk-format", "raw", "--parallel", "4"]),
    ],
    ids=["a bootable ISO", "a qcow2", "a raw disk of 1 GiB"],
)
def test_the_image_in_glance_is_the_file(
    cloud: Cloud, glance_service: Service, make: Callable[[], Path], disk_format: str, more: list[str]
) -> None:
    file = make()
    done = command(cloud, glance_service, DEMO, "upload", str(file), *more)
    assert done.returncode == 0, done.stderr
    proof = re.fullmatch(r"verified: image=(\S+) size=(\d+) md5=[0-9a-f]{32} sha512=([0-9a-f]{128})\n", done.stdout)
    assert proof is not None
    image = cloud.glance(DEMO).images.get(proof[1])
    assert (image.status, image.disk_format, image.name) == ("active", disk_format, file.name)
    assert image.size == int(proof[2]) == file.stat().st_size
    assert image.os_hash_value == proof[3] == sha512(file)
    cloud.glance(DEMO).images.delete(proof[1])


def test_an_image_survives_a_link_that_breaks_all_the_time(cloud: Cloud, glance_service: Service) -> None:
    file = images.raw_disk(96 * images.MIB)
    with BadLink(glance_service.port, cuts=25, patience=(100_000, 6 * images.MIB), seed=9) as link:
        over_it = ["--service-url", link.url, "--chunk-size", "4M"]
        done = command(cloud, glance_service, DEMO, "upload", str(file), "--disk-format", "raw", *over_it)
    assert done.returncode == 0, done.stderr
    assert link.cuts_made >= 10
    assert f"sha512={sha512(file)}" in done.stdout


def test_a_reader_is_refused_with_a_reason(cloud: Cloud, glance_service: Service) -> None:
    done = command(cloud, glance_service, READER, "upload", str(images.bootable_iso()))
    assert done.returncode == 1
    assert "upload:create" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_finds_a_service_that_could_run(cloud: Cloud, glance_service: Service) -> None:
    done = command(cloud, glance_service, DEMO, "check", "--config-file", str(glance_service.configuration))
    assert done.returncode == 0, done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["ok", name] for name in ("configuration", "scratch", "catalog", "credentials", "keystone", "images")
    ]
    assert "in use by a running service" in done.stdout
    assert cloud.image_url in done.stdout


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("password = ", "password = not-", "keystone"),
        ("service_type = image", "service_type = imagination", "images"),
        ("reserved_space = 0", "reserved_space = 1000000000000000", "scratch"),
        ("reserved_space = 0", "reserved_space = much", "configuration"),
        ("connection = sqlite:///", "connection = sqlite:////proc", "catalog"),
    ],
)
def test_check_names_each_problem_and_its_remedy(
    cloud: Cloud, glance_service: Service, tmp_path: Path, before: str, after: str, part: str
) -> None:
    spoilt = tmp_path / "spoilt.conf"
    written = glance_service.configuration.read_text()
    assert before in written
    spoilt.write_text(written.replace(before, after))
    done = command(cloud, glance_service, DEMO, "check", "--config-file", str(spoilt))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    failed = [number for number, line in enumerate(lines) if line.split()[:2] == ["FAIL", part]]
    assert failed, done.stdout
    assert lines[failed[0] + 1].strip().startswith("->")
    assert "Traceback" not in done.stderr


def test_the_demonstration_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", "--once"], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\nverified: image=\S+ size=\d+ md5=[0-9a-f]{32} sha512=[0-9a-f]{128}\n$", "\n" + done.stdout)
    assert "the service was killed and started again 1 time(s)" in done.stderr
    assert done.stderr.count("a connection breaks in the middle of a chunk") >= 5
