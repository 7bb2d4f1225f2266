"""tus-js-client and Uppy in Chromium, unmodified, on a page of another origin, through a link that breaks."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Browser, served
from tests.support.chaos import BadLink
from tests.support.service import Service, development
from tests.support.tus_clients import DEADLINE, MIB, PARTS, SIZE, Said, assert_uploaded, assert_went_on, disk, heard

if TYPE_CHECKING:
    from playwright.sync_api import Page


# More than for other clients: a PATCH that is cut on a connection that was used before, Chromium sends again of its own
# accord. Then the client hears of it by a 409, and of a second cut not at all.
CUTS = 8
PATIENCE = (2 * MIB, 7 * MIB)


@pytest.fixture(scope="module")
def site(clients: Path) -> Iterator[str]:
    """The origin of tests/clients/page.html."""
    with served(clients) as origin:
        yield origin


@pytest.fixture(scope="module")
def service(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service"), {"cors": {"allowed_origin": site}}) as running:
        yield running


def begin(browser: Browser, site: str, link: BadLink, client: str, **options: Any) -> Page:
    """A page that has begun to upload."""
    query = {"client": client, "options": json.dumps({"endpoint": f"{link.url}/v1/tus", **options})}
    page = browser.open(f"{site}/page.html?{urllib.parse.urlencode(query)}")
    page.set_input_files("input", disk())
    return page


def said(page: Page) -> Said:
    return heard(page.eval_on_selector_all("li", "lines => lines.map(line => line.dataset.said)"))


def wait(page: Page) -> dict[str, Any]:
    """What the client says at the end."""
    page.wait_for_selector("li.end", timeout=DEADLINE * 1000)
    return dict(said(page)[-1])


def finish(page: Page) -> str:
    """The upload's URL, once it is done."""
    end = wait(page)
    assert "url" in end, said(page)
    return str(end["url"])


@pytest.mark.parametrize(
    ("client", "options"),
    [
        pytest.param("tus-js-client", {}, id="tus-js-client"),
        pytest.param("tus-js-client", {"chunkSize": 8 * MIB}, id="tus-js-client in chunks"),
        pytest.param("tus-js-client", {"parallelUploads": PARTS}, id="tus-js-client in parts"),
        pytest.param("Uppy", {}, id="Uppy"),
        pytest.param("Uppy", {"chunkSize": 8 * MIB}, id="Uppy in chunks"),
    ],
)
def test_a_page_of_another_origin_resumes_after_cuts(
    service: Service, site: str, browser: Browser, client: str, options: dict[str, Any]
) -> None:
    with BadLink(service.port, cuts=CUTS, patience=PATIENCE, seed=7) as link:
        page = begin(browser, site, link, client, **options)
        url = finish(page)
        assert link.cuts_made == CUTS
    assert_went_on(said(page), options.get("parallelUploads", 1))
    assert_uploaded(service, url)


def test_a_page_that_repeats_a_request_is_stopped_soon(service: Service, site: str, browser: Browser) -> None:
    # What Chromium repeats would bring all of the image for nothing, for it reads an answer only afterwards.
    with BadLink(service.port, cuts=1, patience=(MIB, 2 * MIB), rate=16 * MIB, seed=10) as link:
        page = begin(browser, site, link, "tus-js-client")
        url = finish(page)
        assert link.cuts_made == 1
        assert link.carried < SIZE + SIZE // 2
    assert_uploaded(service, url)


@pytest.mark.parametrize(
    ("client", "options"),
    [
        pytest.param("tus-js-client", {}, id="tus-js-client"),
        pytest.param("tus-js-client", {"parallelUploads": PARTS}, id="tus-js-client in parts"),
        pytest.param("Uppy", {}, id="Uppy"),
    ],
)
def test_a_page_resumes_after_the_browser_was_killed(
    service: Service, site: str, browser: Browser, client: str, options: dict[str, Any]
) -> None:
    cut = threading.Event()
    with BadLink(service.port, cuts=3, patience=(4 * MIB, 6 * MIB), rate=MIB, seed=8) as link:
        link.on_cut = lambda number: cut.set() if number == 1 else None
        page = begin(browser, site, link, client, **options)
        assert cut.wait(DEADLINE)
        page.wait_for_selector("text=HEAD 200", timeout=DEADLINE * 1000)  # and the next request begins
        before = said(page)
        wait_until_stored(browser, [line["location"] for line in before if line["method"] == "POST"][-1])
        browser.kill()
        link.rate = None
        browser.start()
        page = begin(browser, site, link, client, **options)
        url = finish(page)
        assert link.cuts_made == 3
    assert_went_on([*before, *said(page)], options.get("parallelUploads", 1))
    assert_uploaded(service, url)


def wait_until_stored(browser: Browser, text: str) -> None:
    """Chromium writes what a page has in localStorage to its profile some seconds later."""
    deadline = time.monotonic() + DEADLINE
    storage = browser.profile / "Default" / "Local Storage" / "leveldb"
    while not any(text.encode() in file.read_bytes() for file in storage.glob("*.log")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_page_of_an_origin_that_is_not_named_uploads_nothing(
    service: Service, clients: Path, browser: Browser
) -> None:
    before = set((service.directory / "scratch").rglob("*"))
    with served(clients) as stranger, BadLink(service.port) as link:
        page = begin(browser, stranger, link, "tus-js-client", retryDelays=[])
        assert "failed to create upload" in wait(page)["error"]
    assert set((service.directory / "scratch").rglob("*")) == before
