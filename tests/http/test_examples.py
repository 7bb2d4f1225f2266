"""The examples of the protocols' pages work when they are pasted in order."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.support.images import looks_like_qcow2
from tests.support.service import Service, development
from tests.support.wire import Client

DOCS = ROOT / "docs"
ADDRESS = "http://127.0.0.1:8970"
CONTENT = looks_like_qcow2(random.Random(61).randbytes(3_000_001))
_BLOCK = re.compile(r"^```(sh|bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


def uploads_of(service: Service) -> dict[str, dict[str, Any]]:
    listed = Client(service.url).request("GET", f"{service.url}/v1/uploads").json()["uploads"]
    return {each["id"]: each for each in listed}


@pytest.mark.parametrize(("page", "uploads"), [("native-protocol", 2), ("tus", 5), ("rufh", 1)])
def test_the_examples_of_the_page_work_when_pasted(service: Service, tmp_path: Path, page: str, uploads: int) -> None:
    before = uploads_of(service)
    (tmp_path / "debian.qcow2").write_bytes(CONTENT)
    blocks = _BLOCK.findall((DOCS / f"{page}.md").read_text().replace(ADDRESS, service.url))
    run(
        ["bash", "-eu", "-c", "".join(text for kind, text in blocks if kind != "python")],
        tmp_path,
        SERVICE=service.url,
        TOKEN="t",
    )
    for text in (text for kind, text in blocks if kind == "python"):
        run([sys.executable, "-c", text], tmp_path)
    client = Client(service.url)
    made = [each for name, each in uploads_of(service).items() if name not in before]
    assert len(made) == uploads
    whole = [each for each in made if each["state"] != "joined"]
    for each in whole:
        upload = client.wait(each["href"], "active", "failed")
        assert (service.directory / "images" / upload["image"]["id"]).read_bytes() == CONTENT
        assert upload["image"]["name"] in {"debian", "debian.qcow2"}


def run(command: list[str], directory: Path, **more: str) -> None:
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **more}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_quickstart_with_curl_works_when_pasted(service: Service, tmp_path: Path) -> None:
    page = (DOCS / "quickstart.md").read_text().replace(ADDRESS, service.url)
    blocks = [text for kind, text in _BLOCK.findall(page) if kind == "bash"]
    assert len(blocks) > 4
    before = uploads_of(service)
    run(["bash", "-eu", "-c", "".join(blocks)], tmp_path)
    (made,) = uploads_of(service).keys() - before.keys()
    upload = Client(service.url).wait(f"{service.url}/v1/uploads/{made}", "active", "failed")
    image = service.directory / "images" / upload["image"]["id"]
    assert image.read_bytes() == (tmp_path / "disk.raw").read_bytes()
