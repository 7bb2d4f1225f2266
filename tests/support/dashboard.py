"""A user of Horizon in a real browser: logs in, opens panels, fills in dialogs, reads the header.

Holds the selectors that several tests need, of Horizon's pages and of the plugin.
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

TIMEOUT = 60_000  # milliseconds; the machine may be busy
SCREENSHOTS = CACHE / "screenshots"
# Keystone's Fernet tokens.
TOKEN = re.compile(r"gAAAA[\w-]{100,}")
# Stores every response to an XMLHttpRequest (Angular and jQuery) that contains a token.
WATCH_RESPONSES = """
const send = XMLHttpRequest.prototype.send
XMLHttpRequest.prototype.send = function (...more) {
  this.addEventListener('load', () => {
    const seen = this.getAllResponseHeaders() + (['', 'text'].includes(this.responseType) ? this.responseText : '')
    if (/gAAAA[\\w-]{100,}/.test(seen)) sessionStorage.setItem('leaked', seen)
  })
  return send.apply(this, more)
}
"""
# All that the browser has stored for the site, and the page.
STORED = """async () => {
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
  const stored = [kept, { ...localStorage }, { ...sessionStorage }, document.cookie]
  return JSON.stringify(stored) + document.documentElement.outerHTML
}"""
EXPIRED = """async (milliseconds) => {
  const deadline = Date.now() + milliseconds
  while ((await fetch('/api/resumable_glance/uploads/')).status !== 401) {
    if (Date.now() > deadline) throw new Error('the session has not expired')
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}"""
ANY_DURABLE = "[...horizon.resumableGlance.uploads.running.values()].some(each => each.upload.progress.durable > {})"


class Dashboard:
    """A page of Horizon, logged in as `user`."""

    def __init__(self, browser: Browser, horizon: Horizon, user: User) -> None:
        self._url = horizon.url
        self._user = user
        self._tokens: list[str] = []  # Keystone tokens in requests
        self.page: Page = browser.open("about:blank")
        self.page.set_default_timeout(TIMEOUT)
        self.page.set_viewport_size({"width": 1280, "height": 800})
        self.page.add_init_script(WATCH_RESPONSES)
        self.page.on("request", self._record_tokens)
        self.page.on("dialog", _accept)
        self.open("/auth/login/")
        if "/auth/login" in self.page.url:
            self.log_in()
        elif self.page.inner_text(".user-menu .user-name") != user.name:  # another user's session
            self.log_in_again()

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.screenshot(f"failed-{self._user.name}")
        self.page.close()

    def log_in(self) -> None:
        """Fill in the open login page."""
        self.page.fill("#id_username", self._user.name)
        self.page.fill("#id_password", self._user.password)
        self.page.click("#loginBtn")
        self.page.wait_for_url(re.compile(r"^(?!.*/auth/login)"))

    def log_in_again(self) -> None:
        """Log in with a new session."""
        self.page.goto("about:blank")  # a late response could restore the session
        self.page.context.clear_cookies()
        self.open("/auth/login/")
        self.log_in()

    def sign_out(self) -> None:
        """Sign out by the user's menu, and wait for the login page."""
        self.page.click(".user-menu .dropdown-toggle")
        self.page.click(".user-menu form button")
        self.page.wait_for_selector("#loginBtn")

    def stored(self) -> str:
        """Return all that the browser has stored for the site, and the page, as text."""
        return str(self.page.evaluate(STORED))

    def open(self, path: str) -> Page:
        """Open the page at `path`."""
        self.page.goto(f"{self._url}{path}", wait_until="domcontentloaded")
        return self.page

    def screenshot(self, name: str) -> None:
        """Save a screenshot of the page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    # The dialogs

    def open_images(self) -> None:
        """Open Angular's panel of images and wait for its table."""
        self.open("/project/images/")
        self.page.wait_for_selector("hz-resource-table table")

    def open_dialog(self) -> None:
        """Open Angular's Create Image dialog."""
        self.page.click("actions >> text=Create Image")
        self.page.wait_for_selector("#imageForm-name")

    def create_image(self, name: str, file: Path, disk_format: str) -> None:
        """Fill in and submit Angular's dialog, without waiting for the upload."""
        self.open_dialog()
        self.page.fill("#imageForm-name", name)
        self.page.set_input_files("input[type=file][name=image_file]", file)
        self.page.select_option("#imageForm-format", f"string:{disk_format}")
        self.page.click("button.finish:enabled")

    def create_image_in_form(self, name: str, file: Path, disk_format: str) -> None:
        """Fill in and submit Django's form, without waiting for the upload."""
        self.open("/project/images/")
        self.page.click("a.ajax-modal >> text=Create Image")
        self.page.fill("#id_name", name)
        self.page.set_input_files("#id_image_file", file)
        self.page.select_option("#id_disk_format", disk_format, force=True)  # hidden behind the theme's menu
        self.page.click(".modal-footer .btn-primary")

    def dialog(self) -> Locator:
        """Return the open dialog of either kind."""
        return self.page.locator(".modal-content", has=self.page.locator(".rg-progress, form, .ng-wizard")).last

    def wait_for_dialog_to_close(self) -> None:
        """Wait until Angular's dialog is closed."""
        self.page.locator(".ng-wizard").wait_for(state="detached")

    def row(self, name: str) -> Locator:
        """Return the row with this text in the table of images or uploads."""
        return self.page.locator("tbody tr", has_text=name).first

    def image_names(self) -> list[str]:
        """Return the names in the table of uploads, in its order."""
        self.row("").wait_for()
        names: list[str] = self.page.locator("tr[data-display]").evaluate_all(
            "rows => rows.map(row => row.dataset.display)"
        )
        return names

    # Uploads

    def press(self, label: str) -> None:
        """Press a button of the dialog's progress widget."""
        self.dialog().locator(f".rg-progress button:has-text('{label}')").click()

    def wait_for_phase(self, phase: str) -> None:
        """Wait until the dialog's progress widget shows this phase of the client."""
        self.dialog().locator(f".rg-progress[data-phase='{phase}']").wait_for()

    def wait_for_error(self, code: str) -> None:
        """Wait until the dialog's progress widget shows a failure with this code of the client."""
        self.dialog().locator(f".rg-progress[data-error='{code}'] .rg-progress-error").wait_for()

    def wait_for_phase_in_header(self, phase: str) -> None:
        """Wait until an upload in the header indicator's list is in this phase."""
        self.indicator().locator(f".rg-progress[data-phase='{phase}']").wait_for()

    def wait_for_bytes(self, count: int) -> None:
        """Wait until more than `count` bytes of an upload of this page are durable."""
        self.page.wait_for_function(ANY_DURABLE.format(count))

    def focused(self) -> str:
        """Return the text of the focused element."""
        return str(self.page.evaluate("document.activeElement.textContent")).strip()

    def wait_for_session_to_expire(self) -> None:
        """Wait until Horizon's token of this session has expired."""
        self.page.evaluate(EXPIRED, 5 * TIMEOUT)

    def indicator(self) -> Locator:
        """Return the header indicator."""
        return self.page.locator("#resumable-glance-indicator")

    def upload_in_header(self, name: str) -> Locator:
        """Return the row of the image's upload in the header indicator's list."""
        return self.indicator().locator(".rg-indicator-item", has_text=name)

    def open_indicator(self) -> None:
        """Open the header indicator's list."""
        self.indicator().locator(".rg-indicator-opener").click()

    def choose_file(self, file: Path) -> None:
        """Choose the file of an interrupted upload in the header indicator's list."""
        self.page.set_input_files("[data-resumable-glance-resume]", file)

    def tokens(self) -> list[str]:
        """Return the Keystone tokens in requests, responses, the browser's storage and the page."""
        return self._tokens + TOKEN.findall(self.stored())

    def _record_tokens(self, request: Request) -> None:
        self._tokens += TOKEN.findall(str(request.headers))


def _accept(dialog: Dialog) -> None:
    """Confirm leaving a page with a running upload."""
    dialog.accept()
