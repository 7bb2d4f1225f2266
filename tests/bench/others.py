"""Other upload servers, at pinned versions: downloaded or built once, and kept below .nox."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.reliability.trial import Missing
from tests.support import node
from tests.support.cloud.cache import CACHE, make_once

TUSD = "2.9.1"
RUSTUS = "0.5.10"
NODE = (20, 19)  # the least version for @tus/server
PROJECT = Path(__file__).parent / "tus_server"
PLACE = CACHE / "bench-cache"  # `bench` itself is the environment

Command = Callable[[int, Path], Sequence[str]]  # of a port and an empty directory


def tus_node_server() -> Command:
    """Return @tus/server with @tus/file-store, under Node.js. Missing if it can't be installed."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise Missing("there is no Node.js with npm here")
    version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if tuple(map(int, version.removeprefix("v").split(".")[:2])) < NODE:
        raise Missing(f"it needs Node.js {NODE[0]}.{NODE[1]}, and here is {version}")
    try:
        packages = node.packages(PROJECT)
    except pytest.fail.Exception as problem:
        raise Missing(str(problem).splitlines()[0]) from problem
    server = shutil.copy(PROJECT / "server.mjs", packages.parent)  # Node.js looks for modules beside it
    return lambda port, directory: [found, str(server), str(port), str(directory)]


def tusd() -> Command:
    """Return tusd, the reference server of the tus project."""

    def build(place: Path) -> None:
        cache = {"GOBIN": str(place), "GOPATH": str(PLACE / "go"), "GOFLAGS": "-modcacherw"}
        _build("go", ["install", f"github.com/tus/tusd/v2/cmd/tusd@v{TUSD}"], cache)

    program = make_once(PLACE / f"tusd-{TUSD}", build) / "tusd"
    return lambda port, directory: [
        *(str(program), "-host", "127.0.0.1", "-port", str(port)),
        *("-upload-dir", str(directory), "-base-path", "/files/"),
    ]


def rustus() -> Command:
    """Return rustus, a server in Rust."""

    def build(place: Path) -> None:
        _build("cargo", ["install", "rustus", "--version", RUSTUS, "--locked", "--root", str(place)], {})

    program = make_once(PLACE / f"rustus-{RUSTUS}", build) / "bin" / "rustus"
    return lambda port, directory: [
        *(str(program), "--host", "127.0.0.1", "--port", str(port), "--url", "/files"),
        *("--max-body-size", str(1 << 30), "--log-level", "ERROR"),
        *("--data-dir", str(directory / "data"), "--info-dir", str(directory / "info")),
    ]


OTHERS: Mapping[str, Callable[[], Command]] = {"@tus/server": tus_node_server, "tusd": tusd, "rustus": rustus}
VERSIONS = f"tusd {TUSD}, rustus {RUSTUS}, @tus/server as in tests/bench/tus_server/package.json"


def _build(tool: str, arguments: Sequence[str], variables: Mapping[str, str]) -> None:
    found = shutil.which(tool)
    if found is None:
        raise Missing(f"there is no `{tool}` here to build it with")
    print(f"building with {tool}: {arguments[1]} (once) ...", flush=True)
    environment = {**os.environ, **variables}
    done = subprocess.run([found, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise Missing(f"`{tool}` can't build it: {reason}")
