"""The shell script of docs/rufh.md, which is curl alone, through a bad link."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.chaos import BadLink
from tests.support.images import apt_get, looks_like_qcow2
from tests.support.service import Service, development
from tests.support.wire import Client

MIB = 1024 * 1024
SIZE = 64 * MIB
CONTENT = random.Random(29).randbytes(SIZE)
CUTS = 5
PATIENCE = (2 * MIB, 12 * MIB)  # bytes that a connection carries before it is cut
NEEDED = (7, 84)  # the first curl with %header{} in --write-out
DOCS = ROOT / "docs"
SCRIPT = DOCS / "examples" / "upload-rufh.sh"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def curl() -> None:
    """The program curl; where it is missing, and we may, it is installed first."""
    if not shutil.which("curl") and os.getuid() == 0 and shutil.which("apt-get"):
        with contextlib.suppress(subprocess.CalledProcessError):  # what is missing is told below
            apt_get("install", "--yes", "--no-install-recommends", "curl")
    found = shutil.which("curl")
    if not found:
        pytest.fail("curl is missing: install it (Debian: apt install curl)")
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.match(r"curl (\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < NEEDED:
        pytest.fail(f"{found} is too old: install curl {NEEDED[0]}.{NEEDED[1]} or newer\n{said}")


def run(file: Path, url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), str(file)],
        env={**os.environ, "SERVICE": url, "PAUSE": "0.05", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize("seed", [1, 2])
def test_curl_resumes_after_cuts_at_random_places(service: Service, tmp_path: Path, seed: int) -> None:
    file = tmp_path / "disk image.raw"
    file.write_bytes(CONTENT)
    client = Client(service.url)

    def uploads() -> int:
        return len(client.request("GET", f"{service.url}/v1/uploads").json()["uploads"])

    before = uploads()
    with BadLink(service.port, cuts=CUTS, patience=PATIENCE, seed=seed) as link:
        done = run(file, link.url)
        assert done.returncode == 0, done.stderr
        assert link.cuts_made == CUTS
    assert uploads() == before + 1
    upload = client.wait(f"{service.url}/v1/uploads/{done.stdout.strip().rpartition('/')[2]}", "active")
    assert upload["image"]["name"] == "disk image.raw"
    assert upload["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()
    assert (service.directory / "images" / upload["image"]["id"]).read_bytes() == CONTENT


@pytest.mark.usefixtures("curl")
def test_the_script_stops_when_the_upload_is_cancelled(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(CONTENT)
    client = Client(service.url)

    def cancel(_: int) -> None:
        newest = client.request("GET", f"{service.url}/v1/uploads").json()["uploads"][0]
        assert client.request("DELETE", newest["href"]).status_code == 204

    with BadLink(service.port, cuts=1, patience=PATIENCE, seed=3) as link:
        link.on_cut = cancel
        done = run(file, link.url)
    assert done.returncode == 1
    assert done.stderr.endswith("refused with 410\n")
    assert done.stdout == ""


@pytest.mark.usefixtures("curl")
def test_the_script_stops_when_there_will_be_no_upload(service: Service, tmp_path: Path) -> None:
    file = tmp_path / 'a "name" that breaks its header.raw'
    file.write_bytes(b"x")
    done = run(file, service.url)
    assert done.returncode == 22, "what curl says of a status from 400 on"
    assert done.stdout == ""


@pytest.mark.usefixtures("curl")
def test_the_upload_in_one_request_works_when_pasted(service: Service, tmp_path: Path) -> None:
    (tmp_path / "debian.qcow2").write_bytes(looks_like_qcow2(CONTENT[:MIB]))
    found = re.search(r"^```sh\n(curl .*?)```$", (DOCS / "rufh.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    pasted = subprocess.run(
        ["sh", "-euc", found[1]],
        cwd=tmp_path,
        env={**os.environ, "SERVICE": service.url, "TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert pasted.returncode == 0, pasted.stderr
    client = Client(service.url)
    newest = client.request("GET", f"{service.url}/v1/uploads").json()["uploads"][0]
    upload = client.wait(newest["href"], "active")
    assert (upload["image"]["name"], upload["size"]) == ("debian", MIB)


def test_the_page_shows_the_script_that_is_tested_here() -> None:
    assert f"{{literalinclude}} {SCRIPT.relative_to(DOCS)}" in (DOCS / "rufh.md").read_text()
