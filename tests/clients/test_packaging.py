"""What `pip install resumable-glance` gives: the client alone, which uploads to a service of another environment."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.cloud import install
from tests.support.service import Service, development

CONSTRAINTS = ROOT / "tests" / "constraints.txt"
SERVER_ONLY = {
    "aiofiles",
    "alembic",
    "oslo-config",
    "python-glanceclient",
    "sqlalchemy",
    "starlette",
    "uvicorn",
    "xxhash",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    install.uv("build", "--wheel", "--out-dir", directory, ROOT)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and no extra."""
    place = tmp_path_factory.mktemp("environment") / "client"
    install.uv("venv", "--python", sys.executable, place)
    install.uv("pip", "install", "--python", place, "--constraints", CONSTRAINTS, wheel)
    return place


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with development(tmp_path / "service") as running:
        yield running


def run(client: Path, home: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of the client's environment, with nothing of ours in its own."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    program, *arguments = command
    return subprocess.run(
        [client / "bin" / program, *arguments], env=environment, cwd=home, capture_output=True, text=True, timeout=120
    )


def test_the_wheel_has_no_test_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [each for each in names if re.search(r"(^|/)(tests?|testing)/", each)] == []
    assert "resumable_glance/py.typed" in names


def test_the_client_brings_nothing_of_the_service(client: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "list", "--python", client, "--format", "json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert SERVER_ONLY & {each["name"].lower() for each in json.loads(listed.stdout)} == set()


@pytest.mark.parametrize("command", [("upload",), ("uploads",), ("uploads", "list"), ("serve",), ("check",)])
def test_help_needs_the_client_alone(client: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    shown = run(client, tmp_path, "resumable-glance", *command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize("command", [("serve", "--dev"), ("check",), ("check", "--url", "https://uploads.example")])
def test_serve_without_the_server_extra_is_one_sentence(client: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = run(client, tmp_path, "resumable-glance", *command)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert "resumable-glance[server]" in ended.stderr


def test_the_client_uploads_and_verifies(client: Path, service: Service, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(random.Random(1).randbytes(3_000_000))
    sha512 = hashlib.sha512(disk.read_bytes()).hexdigest()
    ended = run(client, tmp_path, "resumable-glance", "upload", disk, "--service-url", service.url)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("verified: ")
    assert sha512 in ended.stdout
    listed = run(client, tmp_path, "resumable-glance", "uploads", "list", "--json", "--service-url", service.url)
    (upload,) = json.loads(listed.stdout)
    receipt = run(
        client, tmp_path, "resumable-glance", "uploads", "receipt", upload["id"], "--service-url", service.url
    )
    assert receipt.returncode == 0, receipt.stderr
    assert sha512 in receipt.stdout


def test_a_program_uploads_as_the_documentation_shows(client: Path, service: Service, tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "quickstart.md").read_text(), re.DOTALL)
    (tmp_path / "disk.raw").write_bytes(random.Random(2).randbytes(3_000_000))
    (tmp_path / "program.py").write_text(block.replace("http://127.0.0.1:8970", service.url))
    ended = run(client, tmp_path, "python", "program.py")
    assert ended.returncode == 0, ended.stderr
    assert hashlib.sha512((tmp_path / "disk.raw").read_bytes()).hexdigest() in ended.stdout
