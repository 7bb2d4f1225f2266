"""A page that imports the packed js_client, made by each common bundler, uploads an image in Chromium."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.javascript import PROJECT
from tests.support.browser import Browser, served
from tests.support.images import raw_disk
from tests.support.node import packages
from tests.support.service import Service, development

BUNDLERS = Path(__file__).parent / "bundlers"
SIZE = 5 * 1024 * 1024  # bytes
DEADLINE = 120  # seconds


class Workshop(NamedTuple):
    """A project that has js_client installed, and beside it the bundlers."""

    node: Path
    project: Path
    script: Path

    def command(self, bundler: str) -> list[str]:
        return [str(self.node), str(self.script), bundler]


@pytest.fixture(scope="module")
def workshop(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    tools, project = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("project")
    (tools / "node_modules").symlink_to(packages(BUNDLERS))
    script = Path(shutil.copy(BUNDLERS / "bundle.mjs", tools))
    for name in ("app.js", "index.html"):
        shutil.copy(BUNDLERS / name, project)
    (project / "package.json").write_text('{"private": true}')
    npm("pack", "--pack-destination", str(project), cwd=PROJECT)
    [tarball] = project.glob("*.tgz")
    npm("install", "--offline", "--no-audit", "--no-fund", tarball.name, cwd=project)
    return Workshop(node, project, script)


def npm(*arguments: str, cwd: Path) -> None:
    program = shutil.which("npm") or "npm"
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(workshop: Workshop) -> Iterator[str]:
    """The origin of what bundlers make."""
    with served(workshop.project) as origin:
        yield origin


@pytest.fixture(scope="module")
def dev_site(workshop: Workshop) -> Iterator[str]:
    """The origin of Vite's development server."""
    command = workshop.command("vite-dev")
    with subprocess.Popen(
        command, cwd=workshop.project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        origin = server.stdout.readline().strip()
        assert origin, "the server did not start"
        yield origin
        server.stdin.close()


@pytest.fixture(scope="module")
def service(site: str, dev_site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options = {"cors": {"allowed_origin": f"{site},{dev_site}"}}
    with development(tmp_path_factory.mktemp("service"), options) as running:
        yield running


def assert_uploads(browser: Browser, page_url: str, service: Service, seed: int) -> None:
    """The page sends an image, and the image service has its bytes."""
    disk = raw_disk(SIZE, seed=seed)
    page = browser.open(page_url)
    page.wait_for_function("!!globalThis.upload", timeout=DEADLINE * 1000)
    page.set_input_files("input", disk)
    image = page.evaluate("url => upload(url)", service.url)
    assert (service.directory / "images" / image).read_bytes() == disk.read_bytes()


@pytest.mark.parametrize(("bundler", "seed"), [("vite", 61), ("webpack", 62), ("rollup", 63), ("esbuild", 64)])
def test_built_page_uploads(
    workshop: Workshop, site: str, service: Service, browser: Browser, bundler: str, seed: int
) -> None:
    made = workshop.project / "www"
    shutil.rmtree(made, ignore_errors=True)
    done = subprocess.run(
        workshop.command(bundler), cwd=workshop.project, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_uploads(browser, f"{site}/www/index.html", service, seed)


def test_vite_development_server(dev_site: str, service: Service, browser: Browser) -> None:
    assert_uploads(browser, f"{dev_site}/", service, 65)
