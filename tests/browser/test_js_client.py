"""Our own client in Chromium, on a page of another origin: what its README shows, and what a browser alone can tell."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.javascript import PROJECT
from tests.support.browser import Browser, served
from tests.support.chaos import BadLink
from tests.support.images import raw_disk
from tests.support.service import Service, development
from tests.support.wire import Client

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Route

MIB = 1024 * 1024
GIB = 1024 * MIB
SIZE = 24 * MIB
DEADLINE = 120_000  # milliseconds
EXAMPLES = re.findall(r"^```js\n(.*?)^```$", (PROJECT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
RAW = {"disk_format": "raw"}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The origin of js_client/test/page.html."""
    with served(PROJECT) as origin:
        yield origin


@pytest.fixture(scope="module")
def service(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service"), {"cors": {"allowed_origin": site}}) as running:
        yield running


def opened(browser: Browser, site: str, file: Path | None = None) -> Page:
    """A page with our client, and a file that is chosen."""
    page = browser.open(f"{site}/test/page.html")
    page.wait_for_function("!!globalThis.begin")
    if file is not None:
        page.set_input_files("input", file)
    return page


def disk(seed: int) -> Path:
    return raw_disk(SIZE, seed=seed)


def begin(page: Page, url: str, **options: Any) -> None:
    page.evaluate("options => begin(options)", {"endpoint": url, "image": RAW, **options})


def told(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("told()")
    return found


def ended(page: Page) -> dict[str, Any]:
    page.wait_for_function("ended()", timeout=DEADLINE)
    return told(page)


def wait_until_durable(page: Page, size: int = 1) -> None:
    page.wait_for_function("size => upload.progress.durable >= size", arg=size, timeout=DEADLINE)


def assert_uploaded(service: Service, end: Mapping[str, Any], file: Path) -> None:
    assert end["phase"] == "active", end
    content = file.read_bytes()
    assert (service.directory / "images" / end["result"]["image"]["id"]).read_bytes() == content
    assert end["result"]["hashes"]["sha512"] == hashlib.sha512(content).hexdigest()
    assert end["result"]["md5"] == end["result"]["hashes"]["md5"]


# The README


def run(page: Page, example: str, service: Service) -> list[str]:
    """What an example of the README says, with the service where it has one of its own."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    source = example.replace("https://glance.example", service.url)
    page.add_script_tag(content=f"{source}\nglobalThis.finished = true", type="module")
    page.wait_for_function("globalThis.finished", timeout=DEADLINE)
    return said


def test_the_first_example_uploads_a_file(service: Service, site: str, browser: Browser) -> None:
    page = opened(browser, site, disk(31))
    said = run(page, EXAMPLES[0], service)
    md5 = hashlib.md5(disk(31).read_bytes(), usedforsecurity=False).hexdigest()
    assert f"is active, and md5 {md5} = {md5}" in said[-1]
    assert page.eval_on_selector("progress", "bar => bar.value") == 1


def test_the_second_example_needs_no_token(service: Service, site: str, browser: Browser) -> None:
    page = opened(browser, site, disk(32))
    made: list[dict[str, Any]] = []

    def server(route: Route) -> None:
        made.append(Client(service.url).create(int(route.request.post_data or "0")).json())
        route.fulfill(json={"url": made[0]["href"], "ticket": made[0]["ticket"]["value"]})

    page.route("**/my-server/new-upload", server)
    run(page, EXAMPLES[1], service)
    assert Client(service.url).show(made[0]["href"])["state"] == "active"


def test_the_third_example_tells_how_far_it_is(service: Service, site: str, browser: Browser) -> None:
    with BadLink(service.port, rate=8 * MIB) as link:
        page = opened(browser, site, disk(33))
        said = run(page, EXAMPLES[2].replace("https://glance.example", link.url), service)
    assert any(line.startswith("uploading: ") for line in said)
    assert said[-1].startswith("active: 24.0 MiB of 24.0 MiB")


def test_the_fourth_example_goes_on_another_day(service: Service, site: str, browser: Browser) -> None:
    with BadLink(service.port, rate=2 * MIB) as link:
        page = opened(browser, site, disk(34))
        begin(page, link.url, largestChunk=2 * MIB)
        wait_until_durable(page)
        before = told(page)
        page.close()  # without a question: nobody has touched it
        link.rate = None
        page = opened(browser, site, disk(34))
        said = run(page, EXAMPLES[3].replace("https://glance.example", link.url), service)
        assert Client(link.url).show(before["url"])["state"] == "active"
    assert re.fullmatch(rf"{disk(34).name}: [1-9]\d* of {SIZE} bytes are there", said[0])
    assert len(EXAMPLES) == 4


def test_the_classic_script_does_the_same(service: Service, site: str, browser: Browser) -> None:
    page = browser.open(f"{site}/test/classic.html")
    page.set_input_files("input", disk(35))
    page.evaluate("url => ResumableGlance.begin(url)", service.url)
    page.wait_for_function("ResumableGlance.ended?.image", timeout=DEADLINE)


# What only a browser can tell


def test_it_goes_on_after_cuts_and_progress_never_runs_backwards(service: Service, site: str, browser: Browser) -> None:
    with BadLink(service.port, cuts=6, patience=(MIB, 4 * MIB), rate=16 * MIB, seed=4) as link:
        page = opened(browser, site, disk(36))
        begin(page, link.url)
        end = ended(page)
        assert link.cuts_made == 6
    assert_uploaded(service, end, disk(36))
    fractions = page.evaluate("seen.map(each => each.fraction)")
    assert fractions == sorted(fractions)
    assert all(each["fraction"] < 1 for each in page.evaluate("seen") if each["phase"] != "active")


def test_events_follow_the_image(service: Service, site: str, browser: Browser) -> None:
    asked: list[str] = []

    def stale(route: Route) -> None:
        """The first answer is older than it is, and later ones never come: who asks learns nothing."""
        asked.append(route.request.url)
        if len(asked) == 1:
            answer = route.fetch()
            route.fulfill(response=answer, json={**answer.json(), "state": "delivering", "hashes": None})

    page = opened(browser, site, disk(40))
    watched: list[str] = []
    page.on("request", lambda request: watched.append(request.url) if request.url.endswith("/events") else None)
    page.route(
        re.compile("/v1/uploads/[^/]+$"),
        lambda route: stale(route) if route.request.method == "GET" else route.continue_(),
    )
    begin(page, service.url)
    end = ended(page)
    assert_uploaded(service, end, disk(40))
    assert asked[0] == end["url"]
    assert watched == [f"{end['url']}/events"]
    assert "handing over" in page.evaluate("seen.map(each => each.phase)")


def test_a_changed_file_is_not_mixed_with_the_one_that_was_begun(
    service: Service, site: str, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(disk(37).read_bytes())
    with BadLink(service.port, rate=2 * MIB) as link:
        page = opened(browser, site, file)
        begin(page, link.url, largestChunk=MIB)
        wait_until_durable(page)
        page.close()
        with file.open("r+b") as changed:
            changed.write(b"changed")
        page = opened(browser, site, file)
        page.evaluate("endpoint => goOn(endpoint)", link.url)
        end = ended(page)
    assert (end["phase"], end["error"]["code"]) == ("failed", "file-changed")
    assert end["error"]["advice"]


def test_a_file_that_changes_while_it_is_sent_is_noticed(
    service: Service, site: str, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(disk(38).read_bytes())
    with BadLink(service.port, rate=2 * MIB) as link:
        page = opened(browser, site, file)
        begin(page, link.url, largestChunk=MIB)
        wait_until_durable(page)
        file.write_bytes(b"another file")
        end = ended(page)
    assert (end["phase"], end["error"]["code"]) == ("failed", "file-unreadable")


def test_chunks_shrink_on_a_bad_link_and_grow_on_a_good_one(service: Service, site: str, browser: Browser) -> None:
    sizes: list[int] = []

    def sent(request: Request) -> None:
        if placed := re.match(r"bytes (\d+)-(\d+)", request.headers.get("content-range", "")):
            sizes.append(int(placed[2]) + 1 - int(placed[1]))

    with BadLink(service.port, cuts=8, patience=(MIB // 4, MIB), seed=6) as link:
        page = opened(browser, site, disk(41))
        page.on("request", sent)
        begin(page, link.url)
        end = ended(page)
        assert link.cuts_made == 8
    assert_uploaded(service, end, disk(41))
    smallest = min(sizes[:-1])  # the last one is what is left
    shrunk = sizes.index(smallest)
    assert sizes[0] == 4 * MIB
    assert smallest <= MIB, sizes
    assert max(sizes[shrunk:]) >= 4 * smallest, sizes


def test_a_second_tab_shows_the_image_of_the_first(service: Service, site: str, browser: Browser) -> None:
    with BadLink(service.port, rate=4 * MIB) as link:
        first, second = opened(browser, site, disk(42)), opened(browser, site, disk(42))
        begin(first, link.url)
        wait_until_durable(first)
        begin(second, link.url)
        second.wait_for_function("upload.progress.lastError", timeout=DEADLINE)
        second.evaluate("upload.pause()")
        assert told(second)["phase"] == "paused"
        second.evaluate("upload.resume()")
        assert told(second)["phase"] == "waiting"
        link.rate = None
        made, shown = ended(first), ended(second)
        assert link.carried < SIZE + 4 * MIB
    assert_uploaded(service, made, disk(42))
    assert (shown["phase"], shown["url"]) == ("active", made["url"])
    assert shown["result"]["image"] == made["result"]["image"]
    assert shown["result"]["receipt"] == made["result"]["receipt"]
    assert first.evaluate("endpoint => rg.Upload.findPrevious({ endpoint })", service.url) == []


def test_of_two_tabs_one_uploads_and_the_other_takes_over(service: Service, site: str, browser: Browser) -> None:
    with BadLink(service.port, rate=2 * MIB) as link:
        first, second = opened(browser, site, disk(39)), opened(browser, site, disk(39))
        begin(first, link.url, largestChunk=MIB)
        wait_until_durable(first)
        begin(second, link.url, largestChunk=MIB)
        second.wait_for_function("upload.progress.lastError", timeout=DEADLINE)
        assert told(second)["phase"] == "waiting"
        begun = told(first)["url"]
        first.close()
        link.rate = None
        end = ended(second)
    assert end["url"] == begun
    assert_uploaded(service, end, disk(39))


def test_of_a_raw_disk_that_is_four_fifths_empty_a_fifth_is_sent(
    service: Service, site: str, browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "disk.raw"
    noise = Random(5).randbytes(205 * MIB // 10)
    with file.open("wb") as sparse:
        for tenth in range(10):
            sparse.seek(tenth * GIB // 10)
            sparse.write(noise)
        sparse.truncate(GIB)
    with BadLink(service.port) as link:
        page = opened(browser, site, file)
        begin(page, link.url)
        end = ended(page)
        assert end["phase"] == "active", end
        print(f"{link.carried / MIB:.1f} MiB of 1024 on the wire")
        assert link.carried <= GIB // 4
    image = service.directory / "images" / end["result"]["image"]["id"]
    with file.open("rb") as content, image.open("rb") as arrived:
        assert hashlib.file_digest(content, "sha512").digest() == hashlib.file_digest(arrived, "sha512").digest()
    image.unlink()
    file.unlink()
