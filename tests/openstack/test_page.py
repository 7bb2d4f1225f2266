"""The page, and with it our client, in Chromium before the real Keystone and Glance.

Everything breaks once, and the image is the file.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.test_page import DEADLINE, active, choose, shown
from tests.support.browser import Browser
from tests.support.chaos import BadLink
from tests.support.cloud import ADMIN, DEMO, Cloud
from tests.support.process import free_ports
from tests.support.service import Service, beside
from tests.support.wire import Client

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.openstack
(PORT,) = free_ports(1)  # of the link
LINK = f"http://127.0.0.1:{PORT}"
MIB = 1024 * 1024
GIB = 1024 * MIB
LONGEST_TASK = 1000  # milliseconds; what a person feels is 100, but the machines that run tests are busy
# Tasks of the page that take longer than 50 ms, as the browser itself counts them.
WATCH = """
    window.tasks = []
    const watch = (list) => window.tasks.push(...list.getEntries().map((each) => each.duration))
    new PerformanceObserver(watch).observe({ type: 'longtask', buffered: true })
"""


@pytest.fixture(scope="module")
def service(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a page where one can sign in; clients reach it over a link, at its public endpoint."""
    page = {"page": {"sign_in": True}}
    with beside(cloud, tmp_path_factory.mktemp("service"), page, public_endpoint=LINK) as running:
        yield running


@pytest.fixture
def big(tmp_path: Path) -> Iterator[Path]:
    """A file of 1 GiB without zeros, every MiB of it another one."""
    file = tmp_path / "big.raw"
    noise = random.Random(11).randbytes(MIB - 8)
    with file.open("wb") as disk:
        for number in range(1024):
            disk.write(number.to_bytes(8, "big") + noise)
    yield file
    file.unlink()


def come(browser: Browser, url: str) -> Page:
    page = browser.open("about:blank")
    page.add_init_script(WATCH)
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(url)
    return page


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Keystone token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Choose a file").wait_for(timeout=DEADLINE)


def stored(page: Page) -> int:
    """The number of uploads that the browser remembers, of all users."""
    return int(
        page.evaluate("""async () => {
            const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)))
            const database = await done(indexedDB.open('resumable-glance', 1))
            const count = await done(database.transaction('uploads').objectStore('uploads').count())
            database.close()
            return count
        }""")
    )


def reaches(card: Locator, percent: int) -> None:
    """Wait until the bar is there."""
    bar = card.get_by_role("progressbar")
    for _ in range(DEADLINE // 50):
        if int(bar.get_attribute("aria-valuenow") or 0) >= percent:
            return
        card.page.wait_for_timeout(50)
    pytest.fail(f"it stays at {bar.get_attribute('aria-valuetext')}")


def image_of(cloud: Cloud, image: str) -> Any:
    return cloud.glance(DEMO).images.get(image)


def test_a_gigabyte_survives_offline_restart_reload_and_crash(
    cloud: Cloud, service: Service, browser: Browser, big: Path
) -> None:
    with BadLink(service.port, port=PORT, rate=60 * MIB) as link:
        page = come(browser, link.url)
        shown(page, "sign-in")
        sign_in(page, cloud.token(DEMO))
        choose(page, big)
        page.get_by_role("button", name="Upload").click()
        card = page.locator(".upload")
        reaches(card, 10)
        page.context.set_offline(True)
        card.get_by_text("It goes on by itself").wait_for(timeout=DEADLINE)
        page.context.set_offline(False)
        reaches(card, 25)
        service.kill()
        card.get_by_text("It goes on by itself").wait_for(timeout=DEADLINE)
        service.start()
        reaches(card, 40)
        shown(page, "uploading-a-gigabyte")
        tasks = page.evaluate("window.tasks")
        asked: list[str] = []
        page.on("dialog", lambda dialog: asked.append(dialog.type))
        page.reload()
        assert asked == ["beforeunload"]  # for bytes are not safe
        sign_in(page, cloud.token(DEMO))
        page.get_by_role("button", name="Choose the file").wait_for(timeout=DEADLINE)
        choose(page, big)
        reaches(page.locator(".upload"), 60)
        tasks += page.evaluate("window.tasks")
        browser.kill()
        browser.start()
        page = come(browser, link.url)
        sign_in(page, cloud.token(DEMO))
        page.get_by_role("button", name="Choose the file").wait_for(timeout=DEADLINE)
        choose(page, big)
        image = active(page.locator(".upload"))
        tasks += page.evaluate("window.tasks")
        shown(page, "a-gigabyte-is-active")
        assert link.carried < GIB + GIB // 2
    there = image_of(cloud, image)
    with big.open("rb") as content:
        sha512 = hashlib.file_digest(content, "sha512").hexdigest()
        content.seek(0)
        md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    assert (there.status, there.size, there.checksum, there.os_hash_value) == ("active", GIB, md5, sha512)
    assert page.locator(".proof code").all_text_contents() == [image, md5, sha512]
    print(f"long tasks of the page, ms: {sorted(tasks, reverse=True)[:5]} of {len(tasks)}")
    assert max(tasks, default=0) < LONGEST_TASK
    cloud.glance(DEMO).images.delete(image)


def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.raw"
    file.write_bytes(random.Random(12).randbytes(16 * MIB + 7))
    return file


def test_uploads_are_only_their_owners_on_a_shared_computer(
    cloud: Cloud, service: Service, browser: Browser, tmp_path: Path
) -> None:
    file = small(tmp_path)
    with BadLink(service.port, port=PORT, rate=MIB) as link:
        page = come(browser, link.url)
        sign_in(page, cloud.token(DEMO))
        choose(page, file)
        page.get_by_label("Name").fill("of demo")
        page.get_by_role("button", name="Upload").click()
        page.locator(".upload").get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        page.reload()
        page.get_by_label("Keystone token").wait_for(timeout=DEADLINE)
        assert page.locator(".upload").count() == 0  # nobody is there yet
        sign_in(page, cloud.token(ADMIN))
        choose(page, file)
        page.get_by_label("Name").fill("of admin")
        page.get_by_role("button", name="Upload").click()
        link.rate = None
        of_admin = active(page.locator(".upload"))
        shown(page, "signed-in")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Keystone token").wait_for(timeout=DEADLINE)
        sign_in(page, cloud.token(DEMO))
        page.locator(".upload").get_by_text("of demo").wait_for(timeout=DEADLINE)
        assert stored(page) == 1  # the administrator's is forgotten
        choose(page, file)
        of_demo = active(page.locator(".upload"))
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Keystone token").wait_for(timeout=DEADLINE)
        assert stored(page) == 0
    assert image_of(cloud, of_demo).name == "of demo"
    assert cloud.glance(ADMIN).images.get(of_admin).name == "of admin"


def test_an_expiring_ticket_is_renewed_silently(
    cloud: Cloud, service: Service, browser: Browser, tmp_path: Path
) -> None:
    client = Client(service.url, {"X-Auth-Token": cloud.token(DEMO)})
    with BadLink(service.port, port=PORT, rate=2 * MIB) as link:
        page = come(browser, link.url)
        sign_in(page, cloud.token(DEMO))
        choose(page, small(tmp_path))
        page.get_by_role("button", name="Upload").click()
        card = page.locator(".upload")
        card.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        newest = client.request("GET", f"{service.url}/v1/uploads?limit=1").json()["uploads"][0]["id"]
        revoked = client.request("DELETE", f"{service.url}/v1/uploads/{newest}/ticket")
        assert revoked.status_code == 204
        link.rate = None
        assert image_of(cloud, active(card)).status == "active"


def test_a_link_with_a_ticket_uploads_until_it_expires(
    cloud: Cloud, service: Service, browser: Browser, tmp_path: Path
) -> None:
    file = small(tmp_path)
    client = Client(service.url, {"X-Auth-Token": cloud.token(DEMO)})
    created = client.create(file.stat().st_size).json()
    with BadLink(service.port, port=PORT, rate=2 * MIB) as link:
        page = come(browser, f"{link.url}/#upload={created['id']}&ticket={created['ticket']['value']}")
        page.get_by_text("It waits for its file").wait_for(timeout=DEADLINE)
        assert page.url == f"{link.url}/"  # the ticket is in the address no more
        shown(page, "invited")
        choose(page, file)
        card = page.locator(".upload")
        card.get_by_text(re.compile(r"Uploading · [1-9]")).wait_for(timeout=DEADLINE)
        client.request("DELETE", f"{service.url}/v1/uploads/{created['id']}/ticket")
        page.get_by_role("alert").filter(has_text="get a new ticket").wait_for(timeout=DEADLINE)
        shown(page, "ticket-ended")
        link.rate = None
        again = client.request("POST", f"{service.url}/v1/uploads/{created['id']}/ticket").json()["value"]
        page.goto("about:blank")
        page.goto(f"{link.url}/#upload={created['id']}&ticket={again}")
        page.get_by_text("It waits for its file").wait_for(timeout=DEADLINE)
        choose(page, file)
        assert image_of(cloud, active(page.locator(".upload").first)).status == "active"


def test_a_bad_token_and_a_bad_link_are_told(service: Service, browser: Browser) -> None:
    page = come(browser, service.url)
    page.get_by_label("Keystone token").fill("nonsense")
    page.get_by_role("button", name="Sign in").click()
    page.locator("#access .error").wait_for(timeout=DEADLINE)
    assert page.get_by_role("button", name="Choose a file").count() == 0
    page.goto("about:blank")
    page.goto(f"{service.url}/#upload=a-{'0' * 32}&ticket=nonsense")
    page.get_by_role("status").filter(has_text="ticket").wait_for(state="attached", timeout=DEADLINE)
