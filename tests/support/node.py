"""Node.js, and JavaScript packages of other people: installed once, kept, and never changed.

The fixtures are there for every test. A project is a directory with package.json and package-lock.json.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.cloud.cache import CACHE, locked, make_once
from tests.support.images import apt_get

OLDEST = 20  # as Vite needs
CLIENTS = ROOT / "tests" / "clients" / "js"


@pytest.fixture(scope="session")
def node() -> Path:
    """The program node, new enough and with npm; where it is missing, and we may, it is installed first."""
    try:
        return program()
    except RuntimeError as error:
        pytest.fail(str(error))


def program() -> Path:
    """As the fixture. RuntimeError with what to do."""
    if not (shutil.which("node") and shutil.which("npm")) and os.getuid() == 0 and shutil.which("apt-get"):
        with contextlib.suppress(subprocess.CalledProcessError):  # what is missing is told below
            apt_get("install", "--yes", "--no-install-recommends", "nodejs", "npm")
    found = shutil.which("node")
    if not found or not shutil.which("npm"):
        raise RuntimeError(
            f"node or npm is missing: install Node.js {OLDEST} or newer (Debian: apt install nodejs npm)"
        )
    version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
        raise RuntimeError(f"{found} is {version}: install Node.js {OLDEST} or newer")
    return Path(found)


@pytest.fixture(scope="session")
def clients(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what is in tests/clients, beside the packages that it imports."""
    directory = tmp_path_factory.mktemp("clients")
    for file in CLIENTS.iterdir():
        shutil.copy(file, directory)
    (directory / "node_modules").symlink_to(packages(CLIENTS))
    return directory


def packages(project: Path) -> Path:
    """The directory node_modules of a project, installed once for each version of its package-lock.json."""
    files = [project / "package.json", project / "package-lock.json"]
    version = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def install(directory: Path) -> None:
        directory.mkdir()
        for file in files:
            shutil.copy(file, directory)
        command = [shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"npm ci can't install {project}\n{done.stderr}")

    return make_once(CACHE / project.name / version, install) / "node_modules"


def linked(project: Path) -> None:
    """Let a project find its packages in node_modules, unless somebody has installed them there."""
    place = project / "node_modules"
    installed = packages(project)
    with locked(CACHE / f"{project.name}.link"):
        if place.is_symlink() and place.resolve() != installed.resolve():
            place.unlink()
        if not place.exists():
            place.symlink_to(installed)
