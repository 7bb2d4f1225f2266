"""A real Chromium without a window, for tests of what browsers make of us.

The fixture `browser` is there for every test: `browser.open(url)` gives a page of Playwright's synchronous API.
The rule: it reaches nothing but 127.0.0.1, and ends with us, however we end.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import process
from tests.support.images import apt_get

if TYPE_CHECKING:  # else every run of any test would wait for it
    from playwright.sync_api import Browser as Connection
    from playwright.sync_api import Page, Playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_DEADLINE = 60  # seconds
OPTIONS = (
    "--headless",
    "--remote-debugging-port=0",  # any that is free, on 127.0.0.1
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # containers often have 64 MiB of it
    "--disable-sync",
    "--password-store=basic",
)


class Browser:
    """Chromium on a profile: what a page has stored is there again after kill() and start()."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.profile = directory / "profile"
        self.log = directory / "browser.log"
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._playwright: Playwright | None = None
        self._connection: Connection | None = None
        self.profile.mkdir(parents=True)

    def __enter__(self) -> Browser:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and return when it can be told what to do. RuntimeError with its log if it can't."""
        from playwright.sync_api import sync_playwright

        address = self.profile / "DevToolsActivePort"
        address.unlink(missing_ok=True)
        sandbox = () if os.getuid() else ("--no-sandbox",)  # root can't have one
        command = [str(self._program), *OPTIONS, *sandbox, f"--user-data-dir={self.profile}", "about:blank"]
        self._process = process.launch(command, log=self.log)
        deadline = time.monotonic() + START_DEADLINE
        while not (address.exists() and address.read_text().count("\n")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._program} did not start\n{process.tail(self.log)}")
            time.sleep(0.05)
        port = address.read_text().splitlines()[0]
        # One for each start: while it lives, asyncio believes that its loop runs in this thread.
        self._playwright = sync_playwright().start()
        self._connection = self._playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", is_local=True)

    def open(self, url: str) -> Page:
        """A new page, once it is loaded."""
        assert self._connection is not None
        page = self._connection.contexts[0].new_page()
        page.goto(url)
        return page

    def kill(self) -> None:
        """End it as a crash does."""
        running, self._process = self._process, None
        playwright, self._playwright, self._connection = self._playwright, None, None
        if running is not None:
            process.end(running, signal.SIGKILL)
        if playwright is not None:
            playwright.stop()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The program; where it is missing, and we may, it is installed first."""
    if not _chromium() and os.getuid() == 0 and shutil.which("apt-get"):
        with contextlib.suppress(subprocess.CalledProcessError):  # what is missing is told below
            apt_get("install", "--yes", "--no-install-recommends", "chromium", "fonts-liberation")
    return _chromium() or pytest.fail("Chromium is missing: install it (Debian: apt install chromium) or Chrome")


@pytest.fixture
def browser(chromium: Path, tmp_path: Path) -> Iterator[Browser]:
    with Browser(chromium, tmp_path / "browser") as running:
        yield running


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """The files of a directory as a web site of its own: its origin."""
    handler = functools.partial(_Files, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.block_on_close = False  # a browser keeps connections that it may need
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _chromium() -> Path | None:
    return next((Path(found) for name in PROGRAMS if (found := shutil.which(name))), None)
