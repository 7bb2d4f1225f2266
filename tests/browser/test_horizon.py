"""A real Horizon in a real browser, with and without the plugin, in front of Keystone, Glance and the service.

All tests share cloud, service and browser; each starts the Horizon that it needs, on the same port.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser
from tests.support.chaos import BadLink
from tests.support.cloud import ADMIN, DEMO, READER, Cloud, User, start
from tests.support.cloud.horizon import Horizon
from tests.support.dashboard import Dashboard
from tests.support.images import bootable_iso, installer_iso, raw_disk
from tests.support.process import free_ports
from tests.support.service import Service, beside
from tests.support.wire import RAW, Client, reason

pytestmark = pytest.mark.openstack
MIB = 1024 * 1024
LINK_RATE = MIB  # bytes per second and connection
SHORT, LONG = 40, 3600  # lifetimes of tokens in seconds; an upload has to start within the short one
DJANGO: dict[str, Any] = {"ANGULAR_FEATURES": {"images_panel": False}}


@dataclass
class Deployment:
    """What all tests share. The browser reaches the service only through `link`, Horizon directly."""

    port: int
    cloud: Cloud
    service: Service
    link: BadLink
    browser: Browser
    directory: Path
    lifetime: int = LONG  # of new tokens, in seconds

    @contextmanager
    def log_in(
        self, user: User, mode: str = "direct", *, plugin: bool = True, short: bool = False, **settings: Any
    ) -> Iterator[Dashboard]:
        """Start a Horizon with this upload mode and log in; with `short`, the session's token expires soon."""
        plugin_settings = {"public_url": self.link.url, **settings.pop("RESUMABLE_GLANCE", {})}
        settings |= {"HORIZON_IMAGES_UPLOAD_MODE": mode, "RESUMABLE_GLANCE": plugin_settings}
        settings |= {"ENABLE_CLIENT_TOKEN": False}  # else Horizon puts the token into its pages
        self.link.rate = LINK_RATE
        self.let_tokens_live(LONG)
        with (
            Horizon(self.cloud, self.directory, self.port, plugin=plugin, settings=settings) as horizon,
            Dashboard(self.browser, horizon, user) as dashboard,
        ):
            if short:
                begun = time.monotonic()
                dashboard.log_in_again()
                dashboard.open("/project/images/").wait_for_load_state("networkidle")  # loads all that a dialog needs
                # On a busy machine, starting an upload takes longer, too.
                self.let_tokens_live(max(SHORT, round(8 * (time.monotonic() - begun))))
                dashboard.log_in_again()
            yield dashboard

    def let_tokens_live(self, seconds: int) -> None:
        """Set the lifetime of new tokens; this restarts Keystone."""
        if seconds != self.lifetime:
            self.cloud.let_tokens_live(seconds)
            self.lifetime = seconds

    def expire_session(self, dashboard: Dashboard) -> None:
        """Wait until the short session's token has expired; new tokens live long."""
        self.let_tokens_live(LONG)
        dashboard.wait_for_session_to_expire()

    def revoke_ticket(self) -> None:
        """Revoke the ticket of the upload in progress."""
        upload = next(each for each in self.uploads() if each["state"] == "receiving")
        token = {"X-Auth-Token": self.cloud.token(DEMO)}
        revoked = Client(self.service.url, token).request("DELETE", f"{upload['href']}/ticket")
        assert revoked.status_code == 204

    def interrupt(self, dashboard: Dashboard) -> None:
        """Cut the network, then kill the service; the dialog's upload has to continue after both."""
        self.link.down = True
        dashboard.wait_for_phase("waiting")
        self.link.down = False
        dashboard.wait_for_phase("uploading")
        self.service.kill()
        dashboard.wait_for_phase("waiting")
        self.service.start()
        dashboard.wait_for_phase("uploading")

    def image(self, name: str, status: str = "active") -> Any:
        """Return the image of this name once it has this status."""
        deadline = time.monotonic() + 60
        while True:
            found = [each for each in self.cloud.glance(DEMO).images.list() if each.name == name]
            if found and found[0].status == status:
                return found[0]
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def images(self) -> list[str]:
        """Return the names of the project's images."""
        return [each.name for each in self.cloud.glance(DEMO).images.list()]

    def create_upload(self, name: str, size: int = MIB) -> str:
        """Create an upload by another client; return its URL."""
        client = Client(self.service.url, {"X-Auth-Token": self.cloud.token(DEMO)})
        return client.created(size, image={**RAW, "name": name})

    def address_of(self, name: str) -> str:
        """Return the path of the upload of the image of this name."""
        (found,) = [each["id"] for each in self.uploads() if each["image"]["name"] == name]
        return f"/v1/uploads/{found}"

    def uploads(self) -> list[dict[str, Any]]:
        """Return the user's uploads as the service describes them."""
        client = Client(self.service.url, {"X-Auth-Token": self.cloud.token(DEMO)})
        found: list[dict[str, Any]] = client.request("GET", f"{self.service.url}/v1/uploads").json()["uploads"]
        return found


@pytest.fixture(scope="module")
def deployment(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    (port,) = free_ports(1)
    origin = f"http://127.0.0.1:{port}"
    directory = tmp_path_factory.mktemp("horizon")
    # For uploads without the plugin, Glance has to allow Horizon's origin and take its large chunks.
    with (
        start(allowed_origin=origin, uwsgi_options=["--chunked-input-limit=8388608"]) as cloud,
        beside(cloud, directory / "service", {"cors": {"allowed_origin": origin}}) as service,
        BadLink(service.port) as link,
        Browser(chromium, directory / "browser") as browser,
    ):
        cloud.register("image-upload", "resumable-glance", service.url)
        yield Deployment(port, cloud, service, link, browser, directory)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def test_angular_dialog_survives_interruptions(deployment: Deployment) -> None:
    iso = installer_iso(30 * MIB)
    with deployment.log_in(DEMO, short=True) as dashboard:
        dashboard.open_images()
        dashboard.create_image("debian-13-installer", iso, "iso")
        dashboard.wait_for_phase("uploading")
        deployment.revoke_ticket()  # the page gets another one from Horizon
        dashboard.wait_for_bytes(4 * MIB)
        dashboard.screenshot("angular-uploading")
        deployment.interrupt(dashboard)
        dashboard.press("Pause")
        dashboard.wait_for_phase("paused")
        assert dashboard.focused() == "Resume"
        deployment.expire_session(dashboard)
        dashboard.press("Resume")  # the ticket is still valid
        dashboard.wait_for_phase("uploading")
        dashboard.page.click(".ng-wizard .modal-header .close")  # does not cancel the upload
        dashboard.page.locator("text=The upload continues").wait_for()
        assert "/project/images" in dashboard.page.url

        # The page is left during the upload; without a stored file, it has to be chosen again.
        dashboard.page.reload(wait_until="domcontentloaded")
        dashboard.log_in()
        dashboard.open("/project/image_uploads/")
        dashboard.row("debian-13-installer").wait_for()
        dashboard.indicator().locator("text=1 upload to resume").wait_for()
        dashboard.screenshot("panel")
        dashboard.row("debian-13-installer").locator("text=Resume").click()
        dashboard.choose_file(iso)
        dashboard.wait_for_phase_in_header("uploading")
        dashboard.screenshot("indicator-resumed")
        deployment.link.rate = None
        dashboard.indicator().wait_for(state="hidden")
        dashboard.row("Active").wait_for()
        assert dashboard.tokens() == []
    assert deployment.image("debian-13-installer").checksum == md5(iso)


def test_django_form_survives_interruptions(deployment: Deployment) -> None:
    iso = installer_iso(30 * MIB)
    with deployment.log_in(DEMO, short=True, **DJANGO) as dashboard:
        dashboard.create_image_in_form("by the form", iso, "iso")
        dashboard.wait_for_bytes(0)
        dashboard.screenshot("django-uploading")
        deployment.interrupt(dashboard)
        dashboard.press("Pause")
        dashboard.wait_for_phase("paused")
        deployment.expire_session(dashboard)
        dashboard.press("Resume")
        dashboard.wait_for_phase("uploading")
        deployment.revoke_ticket()  # without a session, the page gets no other one
        dashboard.wait_for_error("unauthenticated")
        dashboard.dialog().locator(".rg-progress a:has-text('Sign In')").wait_for()
        dashboard.screenshot("django-session-expired")
        assert dashboard.page.url.endswith("/project/images/")

        dashboard.page.reload(wait_until="domcontentloaded")
        dashboard.log_in()
        dashboard.open("/project/images/")
        dashboard.indicator().locator("text=1 upload to resume").wait_for()
        dashboard.open_indicator()
        dashboard.choose_file(iso)
        dashboard.wait_for_phase_in_header("uploading")
        deployment.cloud.sign_out(DEMO)
        deployment.link.rate = None
        # All bytes are durable, but the handoff lacks a valid token; the page stays open.
        dashboard.wait_for_phase_in_header("handing over")
        assert dashboard.page.url.endswith("/project/images/")
        dashboard.log_in_again()
        dashboard.open("/project/images/")
        dashboard.row("by the form").wait_for()
        assert deployment.image("by the form").checksum == md5(iso)
        assert dashboard.tokens() == []


def test_cancelled_uploads_leave_no_image(deployment: Deployment) -> None:
    with deployment.log_in(DEMO) as dashboard:
        dashboard.open_images()
        dashboard.create_image("never mind", raw_disk(20 * MIB), "raw")
        dashboard.wait_for_phase("uploading")
        dashboard.press("Cancel Upload")
        dashboard.page.locator(".ng-wizard .error-message:has-text('cancelled')").wait_for()
        assert "never mind" not in deployment.images()
        # The dialog accepts another file.
        assert dashboard.page.locator("input[type=file][name=image_file]:enabled").is_visible()

        deployment.create_upload("from the header", 9 * MIB)
        deployment.create_upload("from the panel", 10 * MIB)
        dashboard.open("/project/image_uploads/")
        dashboard.open_indicator()
        dashboard.upload_in_header("from the header").locator("text=Cancel Upload").click()
        dashboard.upload_in_header("from the header").wait_for(state="detached")
        assert "from the header" not in deployment.images()
        row = dashboard.row("from the panel")
        row.locator(".dropdown-toggle").click()
        row.locator("button:has-text('Cancel Upload')").click()
        dashboard.page.click(".modal .btn-danger")
        dashboard.page.locator("text=Cancelled Upload").first.wait_for()
        assert "from the panel" not in deployment.images()
    with deployment.log_in(DEMO, **DJANGO) as dashboard:
        dashboard.create_image_in_form("never mind", raw_disk(20 * MIB), "raw")
        dashboard.wait_for_phase("uploading")
        dashboard.press("Cancel Upload")
        dashboard.page.locator("text=The upload was cancelled").wait_for()
        assert "never mind" not in deployment.images()

        dashboard.create_image_in_form("in the background", raw_disk(20 * MIB), "raw")
        dashboard.wait_for_phase("uploading")
        dashboard.press("Continue in Background")
        dashboard.page.locator("#modal_wrapper .modal").wait_for(state="detached")
        dashboard.open_indicator()
        dashboard.wait_for_phase_in_header("uploading")
        dashboard.upload_in_header("in the background").locator("text=Cancel Upload").click()
        dashboard.page.locator("text=The upload was cancelled").wait_for()
        assert "in the background" not in deployment.images()


def test_panel_sorts_by_size(deployment: Deployment) -> None:
    sizes = {"small": 900 * 1024, "medium": 9 * MIB, "large": 10 * MIB}  # neither as texts nor as numbers alone
    urls = [deployment.create_upload(name, size) for name, size in sizes.items()]
    with deployment.log_in(DEMO) as dashboard:
        dashboard.open("/project/image_uploads/")
        assert [each for each in dashboard.image_names() if each in sizes] == ["large", "medium", "small"]
        dashboard.page.locator("th", has_text="Size").click()
        assert [each for each in dashboard.image_names() if each in sizes] == ["small", "medium", "large"]
    client = Client(deployment.service.url, {"X-Auth-Token": deployment.cloud.token(DEMO)})
    assert {client.request("DELETE", url).status_code for url in urls} == {204}


def test_dialogs_show_refusals(deployment: Deployment) -> None:
    # The service is found in the catalog only, so not over the slow link.
    with deployment.log_in(DEMO, RESUMABLE_GLANCE={"public_url": None}) as dashboard:
        dashboard.open_images()
        deployment.service.stop()
        try:
            dashboard.create_image("nowhere to go", raw_disk(20 * MIB), "raw")
            dashboard.page.locator(".ng-wizard .error-message:has-text('does not respond')").wait_for()
        finally:
            deployment.service.start()
        assert "/project/images" in dashboard.page.url
        # The form is unchanged. Now the service is up, but the file does not have the declared format.
        dashboard.page.select_option("#imageForm-format", "string:qcow2")
        dashboard.page.click("button.finish:enabled")
        dashboard.wait_for_error("refused")
        # The service's reason, which the page has to ask for.
        dashboard.dialog().locator(".rg-progress-error:has-text('qcow2')").wait_for()
        dashboard.screenshot("angular-refused")
        dashboard.press("Cancel Upload")
        dashboard.page.locator(".ng-wizard .error-message:has-text('cancelled')").wait_for()
        assert "nowhere to go" not in deployment.images()
    with deployment.log_in(DEMO, **DJANGO) as dashboard:
        deployment.service.stop()
        try:
            dashboard.create_image_in_form("nowhere to go", raw_disk(20 * MIB), "raw")
            dashboard.page.locator(".alert:has-text('does not respond')").wait_for()
        finally:
            deployment.service.start()
        assert "nowhere to go" not in deployment.images()


def test_stored_files_resume_automatically(deployment: Deployment) -> None:
    # The service is found by a setting only.
    with deployment.log_in(DEMO, RESUMABLE_GLANCE={"service_type": "absent"}) as dashboard:
        dashboard.open_images()
        dashboard.indicator().wait_for(state="attached")  # the picker is for clouds with the service
        dashboard.open_dialog()
        # A file of the page: tests cannot use the browser's file picker.
        dashboard.page.evaluate(
            """async () => {
                const directory = await navigator.storage.getDirectory()
                const handle = await directory.getFileHandle('stored.raw', { create: true })
                const writable = await handle.createWritable()
                const bytes = new Uint8Array(20 * 1024 * 1024)
                for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536))
                await writable.write(bytes)
                await writable.close()
                window.showOpenFilePicker = async () => [handle]
            }"""
        )
        dashboard.page.fill("#imageForm-name", "stored by the browser")
        dashboard.page.click("input[type=file][name=image_file]")
        dashboard.page.select_option("#imageForm-format", "string:raw")
        dashboard.page.click("button.finish:enabled")
        dashboard.wait_for_bytes(0)
        dashboard.press("Continue in Background")
        dashboard.wait_for_dialog_to_close()
        dashboard.row("stored by the browser").wait_for()
        assert deployment.image("stored by the browser", "queued")
        dashboard.open_indicator()
        dashboard.screenshot("indicator-uploading")
        dashboard.open("/project/api_access/")
        dashboard.wait_for_bytes(4 * MIB)
        deployment.link.rate = None
        assert deployment.image("stored by the browser").size == 20 * MIB


def test_signing_out_forgets_uploads(deployment: Deployment) -> None:
    disk = raw_disk(20 * MIB, seed=9)
    with deployment.log_in(DEMO) as dashboard:
        dashboard.open_images()
        dashboard.create_image("left behind", disk, "raw")
        dashboard.wait_for_bytes(0)
        dashboard.open("/project/image_uploads/")
        dashboard.indicator().locator("text=1 upload to resume").wait_for()
        assert deployment.address_of("left behind") in dashboard.stored()
        dashboard.sign_out()
        assert deployment.address_of("left behind") not in dashboard.stored()
        # It is at the service still, and wants its file.
        dashboard.log_in()
        dashboard.open("/project/image_uploads/")
        dashboard.indicator().locator("text=1 upload to resume").wait_for()
        dashboard.open_indicator()
        deployment.link.rate = None
        dashboard.choose_file(disk)
        dashboard.indicator().wait_for(state="hidden")
    assert deployment.image("left behind").checksum == md5(disk)


def test_readers_cannot_upload(deployment: Deployment) -> None:
    with deployment.log_in(READER) as dashboard:
        dashboard.open_images()
        assert not dashboard.page.locator("actions >> text=Create Image").count()
        assert not dashboard.indicator().count()
        dashboard.open("/project/image_uploads/")
        dashboard.page.locator("text=No items to display").wait_for()


def test_administrators_cancel_any_upload(deployment: Deployment) -> None:
    client = Client(deployment.service.url, {"X-Auth-Token": deployment.cloud.token(DEMO)})
    url = deployment.create_upload("somebody else's")
    with deployment.log_in(ADMIN) as dashboard:
        dashboard.open("/admin/image_uploads/")
        row = dashboard.row("somebody else's")
        assert "demo" in row.inner_text()
        dashboard.screenshot("admin-panel")
        row.locator("button:has-text('Cancel Upload')").click()
        dashboard.page.click(".modal .btn-danger")
        dashboard.page.locator("text=Cancelled Upload").first.wait_for()
        assert reason(client.request("GET", url)) == "upload-cancelled"
        assert "somebody else's" not in deployment.images()
        dashboard.open("/project/image_uploads/")
        dashboard.page.locator("text=No items to display").wait_for()


@pytest.mark.parametrize("plugin", [True, False], ids=["plugin", "plain"])
def test_legacy_mode(deployment: Deployment, plugin: bool) -> None:
    before = len(deployment.uploads())
    name = f"legacy {plugin}"
    with deployment.log_in(DEMO, "legacy", plugin=plugin) as dashboard:
        dashboard.open_images()
        dashboard.create_image(name, bootable_iso(), "iso")
        dashboard.wait_for_dialog_to_close()
    assert deployment.image(name).checksum == md5(bootable_iso())
    assert len(deployment.uploads()) == before


def test_off_mode(deployment: Deployment) -> None:
    with deployment.log_in(DEMO, "off", IMAGES_ALLOW_LOCATION=True) as dashboard:
        dashboard.open_images()
        dashboard.open_dialog()
        dashboard.page.locator("#imageForm-image_url").wait_for()
        assert not dashboard.page.locator("input[type=file][name=image_file]").count()


@pytest.mark.parametrize("plugin", [True, False], ids=["plugin", "plain"])
def test_cloud_without_the_service(deployment: Deployment, plugin: bool) -> None:
    before = len(deployment.uploads())
    name = f"direct {plugin}"
    nowhere = {"service_type": "absent", "public_url": None}
    with deployment.log_in(DEMO, plugin=plugin, RESUMABLE_GLANCE=nowhere) as dashboard:
        dashboard.open_images()
        assert not dashboard.page.locator("text=Image Uploads").count()
        dashboard.create_image(name, bootable_iso(), "iso")
        dashboard.wait_for_dialog_to_close()
        dashboard.row(name).wait_for()
        assert dashboard.tokens()  # Horizon's own way; proves that tokens() finds them
    assert deployment.image(name).checksum == md5(bootable_iso())
    assert len(deployment.uploads()) == before
