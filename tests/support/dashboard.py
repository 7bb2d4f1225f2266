"""What a person does in Horizon, in a real browser: logs in, opens a panel, fills in a dialog, looks at the header.

Selectors of Horizon's pages, and of our plugin's, live here and nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.browser import Browser
from tests.support.cloud import User
from tests.support.cloud.cache import CACHE
from tests.support.cloud.horizon import Horizon

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page, Request

PATIENCE = 60_000  # milliseconds; the machine may be busy
SCREENSHOTS = CACHE / "screenshots"
# What Keystone's tokens look like here (Fernet), and nothing else does.
TOKEN = re.compile(r"gAAAA[\w-]{100,}")
# Remembers, beyond this page, what pages get by XMLHttpRequest (Angular and jQuery) if there is such a token in it.
WATCH = """
const send = XMLHttpRequest.prototype.send
XMLHttpRequest.prototype.send = function (...more) {
  this.addEventListener('load', () => {
    const seen = this.getAllResponseHeaders() + (['', 'text'].includes(this.responseType) ? this.responseText : '')
    if (/gAAAA[\\w-]{100,}/.test(seen)) sessionStorage.setItem('leaked', seen)
  })
  return send.apply(this, more)
}
"""
MEMORIES = """async () => {
  const contents = async ({ name }) => {
    const database = await new Promise((resolve) => {
      const request = indexedDB.open(name)
      request.onsuccess = () => resolve(request.result)
    })
    const all = [...database.objectStoreNames].map((each) => new Promise((resolve) => {
      const request = database.transaction(each).objectStore(each).getAll()
      request.onsuccess = () => resolve(request.result)
    }))
    const found = await Promise.all(all)
    database.close()
    return found
  }
  const kept = await Promise.all((await indexedDB.databases()).map(contents))
  const memories = [kept, { ...localStorage }, { ...sessionStorage }, document.cookie]
  return JSON.stringify(memories) + document.documentElement.outerHTML
}"""
DURABLE = "[...horizon.resumableGlance.uploads.running.values()].some(each => each.upload.progress.durable > {})"


class Dashboard:
    """A person before a Horizon, logged in as `user`; `afresh`: not by a session of an earlier page."""

    def __init__(self, browser: Browser, horizon: Horizon, user: User, *, afresh: bool = False) -> None:
        self._url = horizon.url
        self._user = user
        self._sent: list[str] = []  # tokens of Keystone in requests
        self.page: Page = browser.open("about:blank")
        self.page.set_default_timeout(PATIENCE)
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.page.add_init_script(WATCH)
        self.page.on("request", self._look_at_request)
        self.page.on("dialog", _leave)
        if afresh:
            self.page.context.clear_cookies()
        self.open("/auth/login/")
        if "/auth/login" in self.page.url:
            self.log_in()
        elif self.page.inner_text(".user-menu .user-name") != user.name:  # the session of an earlier page is good still
            self.log_in_again()

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.picture(f"failed-{self._user.name}")
        self.page.close()

    def log_in(self) -> None:
        """Fill in the login page that is open."""
        self.page.fill("#id_username", self._user.name)
        self.page.fill("#id_password", self._user.password)
        self.page.click("#loginBtn")
        self.page.wait_for_url(re.compile(r"^(?!.*/auth/login)"))

    def log_in_again(self) -> None:
        """As when Horizon has forgotten the session."""
        self.page.goto("about:blank")  # an answer to the page before could bring its session back
        self.page.context.clear_cookies()
        self.open("/auth/login/")
        self.log_in()

    def open(self, path: str) -> Page:
        """Open a page of this Horizon."""
        self.page.goto(f"{self._url}{path}", wait_until="domcontentloaded")
        return self.page

    def picture(self, name: str) -> None:
        """Keep a picture of the page, for those who want to see it."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    # The dialogs

    def open_images(self) -> None:
        """Open the panel of images, Angular's, and wait for the table."""
        self.open("/project/images/")
        self.page.wait_for_selector("hz-resource-table table")

    def open_dialog(self) -> None:
        """Open Angular's dialog."""
        self.page.click("actions >> text=Create Image")
        self.page.wait_for_selector("#imageForm-name")

    def begin_image(self, name: str, file: Path, disk_format: str) -> None:
        """Fill in Angular's dialog and press the button; does not wait for what comes of it."""
        self.open_dialog()
        self.page.fill("#imageForm-name", name)
        self.page.set_input_files("input[type=file][name=image_file]", file)
        self.page.select_option("#imageForm-format", f"string:{disk_format}")
        self.page.click("button.finish:enabled")

    def begin_image_in_the_form(self, name: str, file: Path, disk_format: str) -> None:
        """The same in Django's form."""
        self.open("/project/images/")
        self.page.click("a.ajax-modal >> text=Create Image")
        self.page.fill("#id_name", name)
        self.page.set_input_files("#id_image_file", file)
        self.page.select_option("#id_disk_format", disk_format, force=True)  # a theme's menu lies over it
        self.page.click(".modal-footer .btn-primary")

    def dialog(self) -> Locator:
        """The dialog that is open, of either kind."""
        return self.page.locator(".modal-content", has=self.page.locator(".rg-meter, form, .ng-wizard")).last

    def wait_for_dialog_to_close(self) -> None:
        """Until Angular's dialog is gone."""
        self.page.locator(".ng-wizard").wait_for(state="detached")

    def image_row(self, name: str) -> Locator:
        """The row of an image in the table of images, or of an upload in the table of uploads."""
        return self.page.locator("tbody tr", has_text=name).first

    # Uploads

    def press(self, label: str) -> None:
        """Press a button of the meter in the dialog."""
        self.dialog().locator(f".rg-meter button:has-text('{label}')").click()

    def wait_for_phase(self, phase: str) -> None:
        """Until the meter in the dialog says so."""
        self.dialog().locator(f".rg-meter-phase:text-is('{phase}')").wait_for()

    def wait_for_bytes(self, count: int) -> None:
        """Until more than `count` bytes of an upload of this page are durable."""
        self.page.wait_for_function(DURABLE.format(count))

    def focused(self) -> str:
        """What has the keyboard's focus, by its text."""
        return str(self.page.evaluate("document.activeElement.textContent")).strip()

    def status_of(self, path: str) -> int:
        """What Horizon answers this page of it, were it to ask."""
        return int(self.page.evaluate("async (path) => (await fetch(path)).status", path))

    def indicator(self) -> Locator:
        """What is in the header."""
        return self.page.locator("#resumable-glance-indicator")

    def open_indicator(self) -> None:
        """Open its list."""
        self.indicator().locator(".rg-indicator-opener").click()

    def choose_again(self, file: Path) -> None:
        """Give an interrupted upload its file, in the list of the header."""
        self.page.set_input_files("[data-resumable-glance-again]", file)

    def tokens(self) -> list[str]:
        """Keystone's tokens that this browser has seen: in requests, answers, its memories and the page."""
        return self._sent + TOKEN.findall(str(self.page.evaluate(MEMORIES)))

    def _look_at_request(self, request: Request) -> None:
        self._sent += TOKEN.findall(str(request.headers))


def _leave(dialog: Dialog) -> None:
    """A page with a running upload asks before it is left: yes."""
    dialog.accept()
