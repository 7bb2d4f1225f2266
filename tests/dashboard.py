"""What a person does in Horizon, in a real browser: logs in, opens a panel, fills in a dialog.

Selectors of Horizon's pages live here and nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser import Browser
from tests.cloud import User
from tests.cloud.horizon import Horizon

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PATIENCE = 60_000  # milliseconds; the machine may be busy


class Dashboard:
    """A person before a Horizon, logged in as `user`."""

    def __init__(self, browser: Browser, horizon: Horizon, user: User) -> None:
        self._url = horizon.url
        self._user = user
        self.page: Page = browser.open(f"{self._url}/auth/login/")
        self.page.set_default_timeout(PATIENCE)
        self.page.set_viewport_size({"width": 1280, "height": 900})
        if "/auth/login" in self.page.url:  # else the session of an earlier page is good still
            self.log_in()

    def log_in(self) -> None:
        """Fill in the login page that is open."""
        self.page.fill("#id_username", self._user.name)
        self.page.fill("#id_password", self._user.password)
        self.page.click("#loginBtn")
        self.page.wait_for_selector("#sidebar, .navbar", state="attached")
        self.page.wait_for_url(re.compile(r"^(?!.*/auth/login)"))

    def open(self, path: str) -> Page:
        """Open a page of this Horizon."""
        self.page.goto(f"{self._url}{path}")
        return self.page

    def open_images(self) -> None:
        """Open the panel of images, by Angular, and wait for the table."""
        self.open("/project/images/")
        self.page.wait_for_selector("hz-resource-table table")

    def begin_image(self, name: str, file: Path, disk_format: str) -> None:
        """Fill in Angular's dialog and press the button; does not wait for what comes of it."""
        page = self.page
        page.click("actions >> text=Create Image")
        page.fill("#imageForm-name", name)
        page.set_input_files("input[type=file][name=image_file]", file)
        page.select_option("#imageForm-format", f"string:{disk_format}")
        page.click("button.finish:enabled")

    def dialog(self) -> Locator:
        """Angular's dialog, if it is open."""
        return self.page.locator(".modal-dialog-wizard .ng-wizard")

    def wait_for_dialog_to_close(self) -> None:
        """Until Angular's dialog is gone."""
        self.dialog().wait_for(state="detached")

    def image_row(self, name: str) -> Locator:
        """The row of an image in the table of images."""
        return self.page.locator("hz-resource-table tbody tr", has_text=name).first
