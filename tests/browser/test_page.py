"""The page at `/`: who gets it, what browsers are told about it, and what a person can do with it in Chromium."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from resumable_glance.api.page import FILES
from resumable_glance.client.receipts import verify
from tests import ROOT
from tests.support.browser import Browser
from tests.support.chaos import BadLink
from tests.support.images import qcow2, raw_disk
from tests.support.service import Service, development
from tests.support.wire import Client

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page

MIB = 1024 * 1024
SIZE = 24 * MIB
DEADLINE = 120_000  # milliseconds
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
SEEN = ROOT / ".nox" / "screenshots"  # to be looked at


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


def get(service: Service, path: str, accept: str = "*/*") -> requests.Response:
    return requests.get(service.url + path, headers={"Accept": accept}, timeout=10)


# Who gets what


def test_a_browser_gets_the_page_and_programs_get_json(service: Service) -> None:
    page = get(service, "/", BROWSER)
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Vary"] == "Accept"
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5", ""):
        answer = get(service, "/", accept)
        assert answer.json()["name"] == "resumable-glance", accept
        assert "Accept" in answer.headers["Vary"]


def test_each_file_has_a_strict_content_security_policy(service: Service) -> None:
    index = get(service, "/", BROWSER)
    files = {file.name: get(service, f"/page/{file.name}") for file in FILES.iterdir()}
    for answer in (index, *files.values()):
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "unsafe-inline" not in policy
        assert "'unsafe-eval'" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert [name for name, each in files.items() if "wasm" in each.headers["Content-Security-Policy"]] == [
        "resumable-glance.worker.js"
    ]
    assert files["app.js"].headers["Content-Type"] == "text/javascript; charset=utf-8"


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    for file in FILES.glob("*.html"):
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|https?://|javascript:", file.read_text())
    for file in FILES.glob("*.css"):
        assert "url(" not in file.read_text()


@pytest.mark.parametrize("path", ["/page/", "/page/nothing.js", "/page/../__init__.py", "/page/%2e%2e/__init__.py"])
def test_there_is_nothing_but_the_files(service: Service, path: str) -> None:
    session = requests.Session()
    request = session.prepare_request(requests.Request("GET", service.url))
    request.url = service.url + path
    assert session.send(request, timeout=10).status_code == 404


def test_the_page_can_be_switched_off(tmp_path: Path) -> None:
    with development(tmp_path / "service", {"page": {"enabled": False}}) as service:
        assert get(service, "/", BROWSER).json()["name"] == "resumable-glance"
        assert get(service, "/page/app.js").status_code == 404
        assert get(service, "/page/settings.json").status_code == 404


# What a person can do with it


def come(browser: Browser, url: str) -> Page:
    """The page, as somebody finds it. What its console complains of fails the test at once."""
    page = browser.open("about:blank")
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.get_by_role("button", name="Choose a file").wait_for()
    assert complaints == []
    return page


def choose(page: Page, *files: Path) -> None:
    page.set_input_files("#files", list(files))


def begin(page: Page, file: Path) -> Locator:
    """Choose a file, and press Upload; its card."""
    choose(page, file)
    page.get_by_role("button", name="Upload").click()
    return page.locator(".upload").first


def shown(page: Page, name: str) -> None:
    """A screenshot for people who want to look."""
    SEEN.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SEEN / f"{name}.png", full_page=True)


def active(card: Locator) -> str:
    """The id of the image, once it is proven."""
    card.locator(".proof").wait_for(timeout=DEADLINE)
    assert card.get_by_role("progressbar").get_attribute("aria-valuenow") == "100"
    return str(card.locator(".proof code").first.text_content())


def uploads(service: Service) -> list[dict[str, Any]]:
    """Those that the service has, the newest first."""
    found: list[dict[str, Any]] = Client(service.url).request("GET", f"{service.url}/v1/uploads").json()["uploads"]
    return found


def assert_image(service: Service, image: str, file: Path) -> None:
    assert (service.directory / "images" / image).read_bytes() == file.read_bytes()


def test_a_person_uploads_an_image_and_sees_the_proof(service: Service, browser: Browser) -> None:
    page = come(browser, service.url)
    shown(page, "empty")
    file = qcow2(8 * MIB)
    choose(page, file)
    form = page.locator(".draft")
    form.get_by_text("QCOW2, by its content").wait_for()
    assert form.get_by_label("Format").input_value() == "qcow2"
    form.get_by_label("Name").fill("debian")
    form.get_by_label("Visibility").select_option("private")
    shown(page, "chosen")
    form.get_by_label("Store").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    card = page.locator(".upload")
    image = active(card)
    shown(page, "done")
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(300)
    shown(page, "done-dark")
    assert_image(service, image, file)
    md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    assert card.locator(".proof code").nth(1).text_content() == md5
    assert card.locator(".equal span").all_text_contents() == ["your file", "what arrived", "the image"]
    link = card.get_by_role("link", name="Save the signed receipt")
    link.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "debian.receipt.json"
    receipt = json.loads(Path(download.value.path()).read_text())
    assert (receipt["image_id"], receipt["md5"], receipt["glance"]["md5"]) == (image, md5, md5)
    assert verify(receipt.pop("jws"), get(service, "/v1/keys").json()) == receipt
    assert page.get_by_role("status").text_content() == "debian: Active"
    (upload,) = [each for each in uploads(service) if each["image"]["id"] == image]
    assert upload["image"]["name"] == "debian"


def test_an_upload_continues_after_pause_reload_and_restart(service: Service, browser: Browser) -> None:
    file = raw_disk(SIZE, seed=41)
    with BadLink(service.port, rate=2 * MIB) as link:
        page = come(browser, link.url)
        page.on("dialog", lambda dialog: dialog.accept())  # leave, although bytes are not safe
        card = begin(page, file)
        card.get_by_role("button", name=f"Pause: {file.stem}").click()
        card.get_by_text("Paused").wait_for()
        before = -1
        while link.carried != before:  # what was on its way comes still
            before = link.carried
            page.wait_for_timeout(500)
        assert link.carried < SIZE
        card.get_by_role("button", name=f"Resume: {file.stem}").click()
        card.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        shown(page, "uploading")
        service.kill()
        card.get_by_text("It goes on by itself").wait_for(timeout=DEADLINE)
        shown(page, "waiting")
        service.start()
        card.get_by_text("Uploading").wait_for(timeout=DEADLINE)
        page.reload()
        page.get_by_role("button", name="Choose the file").wait_for()
        shown(page, "reloaded")
        link.rate = None
        choose(page, file)
        assert_image(service, active(page.locator(".upload")), file)


def test_a_kept_file_handle_spares_choosing_again(service: Service, browser: Browser) -> None:
    # A file of the origin's own has a handle as files of the disk do, and needs no dialog that a test can't answer.
    make = """async (size) => {
        const directory = await navigator.storage.getDirectory()
        const handle = await directory.getFileHandle('kept.raw', { create: true })
        const file = await handle.createWritable()
        const noise = crypto.getRandomValues(new Uint8Array(65536))
        for (let at = 0; at < size; at += noise.length) await file.write(noise)
        await file.close()
        window.showOpenFilePicker = async () => [handle]
    }"""
    with BadLink(service.port, rate=2 * MIB) as link:
        page = come(browser, link.url)
        page.on("dialog", lambda dialog: dialog.accept())
        page.evaluate(make, SIZE)
        page.get_by_role("button", name="Choose a file").click()
        page.get_by_role("button", name="Upload").click()
        card = page.locator(".upload")
        card.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        browser.kill()  # as a crash does: the profile is as it is
        browser.start()
        link.rate = None
        page = come(browser, link.url)
        image = active(page.locator(".upload"))
    assert (service.directory / "images" / image).stat().st_size == SIZE


def test_cancelling_removes_the_sent_bytes(service: Service, browser: Browser) -> None:
    with BadLink(service.port, rate=2 * MIB) as link:
        page = come(browser, link.url)
        asked: list[str] = []

        def accept(dialog: Dialog) -> None:
            asked.append(dialog.message)
            dialog.accept()

        page.on("dialog", accept)
        card = begin(page, raw_disk(SIZE, seed=42))
        card.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        card.get_by_role("button", name="Cancel").click()
        card.get_by_text("Cancelled").wait_for(timeout=DEADLINE)
        assert len(asked) == 1
    newest = uploads(service)[0]
    assert newest["state"] == "cancelled"
    assert not list((service.directory / "scratch" / "uploads").glob(f"{newest['id']}*"))


def test_the_same_file_becomes_an_image_for_each_name(service: Service, browser: Browser) -> None:
    file = raw_disk(SIZE, seed=46)
    with BadLink(service.port, rate=2 * MIB) as link:
        page = come(browser, link.url)
        begin(page, file)
        cards = page.locator(".upload")
        cards.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        choose(page, file)
        page.locator(".draft").get_by_label("Name").fill("another")
        page.get_by_role("button", name="Upload").click()
        another = cards.filter(has_text="another")
        another.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)  # while the first one goes on
        link.rate = None
        images = {active(another), active(cards.filter(has_text=file.stem))}
    assert len(images) == 2
    for image in images:
        assert_image(service, image, file)
    names = {each["image"]["name"] for each in uploads(service) if each["image"]["id"] in images}
    assert names == {file.stem, "another"}


def test_a_removed_card_is_offered_as_a_new_upload(service: Service, browser: Browser) -> None:
    file = raw_disk(SIZE, seed=44)
    with BadLink(service.port, rate=2 * MIB) as link:
        page = come(browser, link.url)
        page.on("dialog", lambda dialog: dialog.accept())
        card = begin(page, file)
        card.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        page.reload()
        page.locator(".upload").get_by_role("button", name="Cancel").click()
        page.locator(".upload").wait_for(state="detached")
        link.rate = None
        choose(page, file)
        page.get_by_role("button", name="Upload").click()
        assert_image(service, active(page.locator(".upload")), file)


def test_a_file_dropped_after_a_dismissed_choice_is_new(service: Service, browser: Browser) -> None:
    drop = """() => {
        const dataTransfer = new DataTransfer()
        dataTransfer.items.add(new File(['another'], 'another.raw'))
        document.dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }))
    }"""
    with BadLink(service.port, rate=2 * MIB) as link:
        page = come(browser, link.url)
        page.on("dialog", lambda dialog: dialog.accept())
        card = begin(page, raw_disk(SIZE, seed=45))
        card.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        page.reload()
        page.evaluate("() => { window.showOpenFilePicker = async () => { throw new DOMException('', 'AbortError') } }")
        page.get_by_role("button", name="Choose the file").click()
        page.evaluate(drop)
        page.locator(".draft").get_by_text("another.raw").wait_for(timeout=10_000)
        assert page.locator(".upload").get_by_role("alert").is_hidden()


def test_a_wrong_format_is_shown_and_the_upload_begun_anew(service: Service, browser: Browser) -> None:
    file = qcow2(16 * MIB)
    page = come(browser, service.url)
    page.on("dialog", lambda dialog: dialog.accept())
    choose(page, file)
    page.get_by_text("QCOW2, by its content").wait_for()
    page.get_by_label("Format").select_option("vmdk")
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("alert").filter(has_text="qcow2").wait_for(timeout=DEADLINE)
    shown(page, "wrong-format")
    page.locator(".upload").get_by_role("button", name="Cancel").click()
    page.locator(".upload").get_by_text("Cancelled").wait_for(timeout=DEADLINE)
    page.locator(".upload").get_by_role("button", name="Remove").click()
    assert_image(service, active(begin(page, file)), file)


def test_a_failure_names_its_remedy_on_a_narrow_screen_too(service: Service, browser: Browser) -> None:
    page = come(browser, service.url)
    page.set_viewport_size({"width": 380, "height": 760})
    choose(page, raw_disk(2 * MIB, seed=43))
    page.get_by_label("Name").fill("a" * 255)
    page.route("**/v1/uploads", lambda route: route.fulfill(
        status=413, content_type="application/problem+json", headers={"X-Openstack-Request-Id": "req-1"},
        json={"type": "urn:problem-type:resumable-glance:over-quota", "detail": "Your project has no room for it."},
    ) if route.request.method == "POST" else route.continue_())  # fmt: skip
    page.get_by_role("button", name="Upload").click()
    failure = page.get_by_role("alert").filter(has_text="Your project has no room for it.")
    failure.wait_for(timeout=DEADLINE)
    shown(page, "failed-narrow")
    assert "req-1" in str(failure.text_content())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.unroute("**/v1/uploads")
    failure.get_by_role("button", name="Try again").click()
    active(page.locator(".upload"))
