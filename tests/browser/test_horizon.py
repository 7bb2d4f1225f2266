"""Horizon in a real browser, plain and with our plugin, before the real Keystone and Glance and our service.

One cloud, one service and one browser for all; each test starts the Horizon that it needs, at the same address.
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
SLOW = MIB  # bytes a second of one connection
SHORT, LONG = 20, 3600  # seconds that a token lives; in a short life an upload has to begin, even on a busy machine
DJANGO: dict[str, Any] = {"ANGULAR_FEATURES": {"images_panel": False}}


@dataclass
class Scene:
    """What all tests share. Browsers reach the service through `link` alone, Horizon directly."""

    port: int
    cloud: Cloud
    service: Service
    link: BadLink
    browser: Browser
    directory: Path
    expiry: float = 0.0  # of a short session

    @contextmanager
    def person(
        self, user: User, mode: str = "direct", *, plugin: bool = True, short: bool = False, **settings: Any
    ) -> Iterator[Dashboard]:
        """Somebody who is logged in to a Horizon of this mode; `short` is how long that is good for."""
        ours = {"public_url": self.link.url, **settings.pop("RESUMABLE_GLANCE", {})}
        settings |= {"HORIZON_IMAGES_UPLOAD_MODE": mode, "RESUMABLE_GLANCE": ours}
        settings |= {"ENABLE_CLIENT_TOKEN": False}  # else Horizon itself gives its pages the token, for other plugins
        self.link.rate = SLOW
        with Horizon(self.cloud, self.directory, self.port, plugin=plugin, settings=settings) as horizon:
            if short:
                self.cloud.let_tokens_live(SHORT)
            with Dashboard(self.browser, horizon, user, afresh=short) as person:
                if short:
                    self.expiry = time.monotonic() + SHORT
                    self.cloud.let_tokens_live(LONG)
                yield person

    def outlive_session(self, person: Dashboard) -> None:
        """Wait until the token that Horizon holds has expired."""
        time.sleep(max(0, self.expiry + 1 - time.monotonic()))
        assert person.status_of("/api/resumable_glance/uploads/") == 401

    def revoke_ticket(self) -> None:
        """What Horizon gave the page for the upload that there is opens nothing any more."""
        upload = next(each for each in self.uploads() if each["state"] == "receiving")
        token = {"X-Auth-Token": self.cloud.token(DEMO)}
        revoked = Client(self.service.url, token).request("DELETE", f"{upload['href']}/ticket")
        assert revoked.status_code == 204

    def break_everything(self, person: Dashboard) -> None:
        """The network is away for a while, then the service is killed; what the dialog shows goes on each time."""
        self.link.down = True
        person.wait_for_phase("Waiting to go on")
        self.link.down = False
        person.wait_for_phase("Uploading")
        self.service.kill()
        person.wait_for_phase("Waiting to go on")
        self.service.start()
        person.wait_for_phase("Uploading")

    def image(self, name: str, status: str = "active") -> Any:
        """The image of this name, once it is so."""
        deadline = time.monotonic() + 60
        while True:
            found = [each for each in self.cloud.glance(DEMO).images.list() if each.name == name]
            if found and found[0].status == status:
                return found[0]
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def images(self) -> list[str]:
        """The names of all images of the project."""
        return [each.name for each in self.cloud.glance(DEMO).images.list()]

    def interrupted(self, name: str) -> str:
        """The address of an upload that somebody has begun elsewhere."""
        client = Client(self.service.url, {"X-Auth-Token": self.cloud.token(DEMO)})
        return client.created(MIB, image={**RAW, "name": name})

    def uploads(self) -> list[dict[str, Any]]:
        client = Client(self.service.url, {"X-Auth-Token": self.cloud.token(DEMO)})
        found: list[dict[str, Any]] = client.request("GET", f"{self.service.url}/v1/uploads").json()["uploads"]
        return found


@pytest.fixture(scope="module")
def scene(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    (port,) = free_ports(1)
    origin = f"http://127.0.0.1:{port}"
    directory = tmp_path_factory.mktemp("horizon")
    # For uploads without us, Glance has to know Horizon's origin, and to take the big pieces that Horizon sends.
    with (
        start(allowed_origin=origin, uwsgi_options=["--chunked-input-limit=8388608"]) as cloud,
        beside(cloud, directory / "service", {"cors": {"allowed_origin": origin}}) as service,
        BadLink(service.port) as link,
        Browser(chromium, directory / "browser") as browser,
    ):
        cloud.register("image-upload", "resumable-glance", service.url)
        yield Scene(port, cloud, service, link, browser, directory)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def test_the_angular_dialog_survives_everything(scene: Scene) -> None:
    iso = installer_iso(30 * MIB)
    with scene.person(DEMO, short=True) as person:
        person.open_images()
        person.begin_image("debian-13-installer", iso, "iso")
        person.wait_for_phase("Uploading")
        scene.revoke_ticket()  # the page gets another one from Horizon
        person.wait_for_bytes(4 * MIB)
        person.picture("angular-uploading")
        scene.break_everything(person)
        person.press("Pause")
        person.wait_for_phase("Paused")
        assert person.focused() == "Resume"
        scene.outlive_session(person)
        person.press("Resume")  # the session is over, the ticket is not
        person.wait_for_phase("Uploading")
        person.page.click(".ng-wizard .modal-header .close")  # which is no Cancel Upload
        person.page.locator("text=The upload goes on").wait_for()
        assert "/project/images" in person.page.url

        # A page that is left in the middle; this browser could not keep the file.
        person.page.reload(wait_until="domcontentloaded")
        person.log_in()
        person.open("/project/image_uploads/")
        person.image_row("debian-13-installer").wait_for()
        person.indicator().locator("text=1 upload to resume").wait_for()
        person.picture("panel")
        person.image_row("debian-13-installer").locator("text=Resume").click()
        person.choose_again(iso)
        person.indicator().locator(".rg-meter-phase:text-is('Uploading')").wait_for()
        person.picture("indicator-resumed")
        scene.link.rate = None
        person.indicator().wait_for(state="hidden")
        person.image_row("Active").wait_for()
        assert person.tokens() == []
    assert scene.image("debian-13-installer").checksum == md5(iso)


def test_the_django_form_survives_everything(scene: Scene) -> None:
    iso = installer_iso(30 * MIB)
    with scene.person(DEMO, short=True, **DJANGO) as person:
        person.begin_image_in_the_form("by the form", iso, "iso")
        person.wait_for_bytes(0)
        person.picture("django-uploading")
        scene.break_everything(person)
        person.press("Pause")
        person.wait_for_phase("Paused")
        scene.outlive_session(person)
        person.press("Resume")
        person.wait_for_phase("Uploading")
        scene.revoke_ticket()  # and nobody is there who could give the page another one
        person.wait_for_phase("Failed")
        person.dialog().locator(".rg-meter a:has-text('Sign In')").wait_for()
        person.dialog().locator(".rg-meter-trouble:text-matches('^Your session has ended')").wait_for()
        person.picture("django-session-ended")
        assert person.page.url.endswith("/project/images/")

        person.page.reload(wait_until="domcontentloaded")
        person.log_in()
        person.open("/project/images/")
        person.indicator().locator("text=1 upload to resume").wait_for()
        person.open_indicator()
        person.choose_again(iso)
        person.indicator().locator(".rg-meter-phase:text-is('Uploading')").wait_for()
        scene.cloud.sign_out(DEMO)
        scene.link.rate = None
        # All bytes are safe, but nobody vouches for them; and nobody was thrown out of the page.
        person.indicator().locator(".rg-meter-phase:text-is('Going into the image service')").wait_for()
        assert person.page.url.endswith("/project/images/")
        person.log_in_again()
        person.open("/project/images/")
        person.image_row("by the form").wait_for()
        assert scene.image("by the form").checksum == md5(iso)
        assert person.tokens() == []


def test_a_cancelled_upload_leaves_no_image(scene: Scene) -> None:
    with scene.person(DEMO) as person:
        person.open_images()
        person.begin_image("never mind", raw_disk(20 * MIB), "raw")
        person.wait_for_phase("Uploading")
        person.press("Cancel Upload")
        person.page.locator(".ng-wizard .error-message:has-text('cancelled')").wait_for()
        assert "never mind" not in scene.images()
        # The dialog is as it was; the person may choose another file.
        assert person.page.locator("input[type=file][name=image_file]:enabled").is_visible()

        for name in ("from the header", "from the panel"):
            scene.interrupted(name)
        person.open("/project/image_uploads/")
        person.open_indicator()
        person.indicator().locator(".rg-indicator-item:has-text('from the header') >> text=Cancel Upload").click()
        person.indicator().locator(".rg-indicator-item:has-text('from the header')").wait_for(state="detached")
        assert "from the header" not in scene.images()
        row = person.image_row("from the panel")
        row.locator(".dropdown-toggle").click()
        row.locator("button:has-text('Cancel Upload')").click()
        person.page.click(".modal .btn-danger")
        person.page.locator("text=Cancelled Upload").first.wait_for()
        assert "from the panel" not in scene.images()
    with scene.person(DEMO, **DJANGO) as person:
        person.begin_image_in_the_form("never mind", raw_disk(20 * MIB), "raw")
        person.wait_for_phase("Uploading")
        person.press("Cancel Upload")
        person.page.locator("text=The upload was cancelled").wait_for()
        assert "never mind" not in scene.images()

        person.begin_image_in_the_form("in the background", raw_disk(20 * MIB), "raw")
        person.wait_for_phase("Uploading")
        person.press("Continue in Background")
        person.page.locator("#modal_wrapper .modal").wait_for(state="detached")
        person.open_indicator()
        item = person.indicator().locator(".rg-indicator-item:has-text('in the background')")
        item.locator(".rg-meter-phase:text-is('Uploading')").wait_for()
        item.locator("text=Cancel Upload").click()
        person.page.locator("text=The upload was cancelled").wait_for()
        assert "in the background" not in scene.images()


def test_the_dialog_shows_a_refusal(scene: Scene) -> None:
    # By the catalogue alone, and so not over the slow link: little is sent.
    with scene.person(DEMO, RESUMABLE_GLANCE={"public_url": None}) as person:
        person.open_images()
        scene.service.stop()
        try:
            person.begin_image("nowhere to go", raw_disk(20 * MIB), "raw")
            person.page.locator(".ng-wizard .error-message:has-text('does not answer')").wait_for()
        finally:
            scene.service.start()
        assert "/project/images" in person.page.url
        # The form is as it was. This time the service is there, but the file is not what it is said to be.
        person.page.select_option("#imageForm-format", "string:qcow2")
        person.page.click("button.finish:enabled")
        person.wait_for_phase("Failed")
        person.dialog().locator(".rg-meter-trouble:text-matches('qcow2.* Cancel, mend')").wait_for()
        person.picture("angular-refused")
        person.press("Cancel Upload")
        person.page.locator(".ng-wizard .error-message:has-text('cancelled')").wait_for()
        assert "nowhere to go" not in scene.images()
    with scene.person(DEMO, **DJANGO) as person:
        scene.service.stop()
        try:
            person.begin_image_in_the_form("nowhere to go", raw_disk(20 * MIB), "raw")
            person.page.locator(".alert:has-text('does not answer')").wait_for()
        finally:
            scene.service.start()
        assert "nowhere to go" not in scene.images()


def test_a_browser_that_can_keep_the_file_goes_on_by_itself(scene: Scene) -> None:
    # By a setting alone: nothing of this type is in the catalogue.
    with scene.person(DEMO, RESUMABLE_GLANCE={"service_type": "absent"}) as person:
        person.open_images()
        person.open_dialog()
        # A file of the page's own, for no test can work the window in which people choose one.
        person.page.evaluate(
            """async () => {
                const directory = await navigator.storage.getDirectory()
                const handle = await directory.getFileHandle('kept.raw', { create: true })
                const writable = await handle.createWritable()
                const bytes = new Uint8Array(20 * 1024 * 1024)
                for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536))
                await writable.write(bytes)
                await writable.close()
                window.showOpenFilePicker = async () => [handle]
            }"""
        )
        person.page.fill("#imageForm-name", "kept by the browser")
        person.page.click("input[type=file][name=image_file]")
        person.page.select_option("#imageForm-format", "string:raw")
        person.page.click("button.finish:enabled")
        person.wait_for_bytes(0)
        person.press("Continue in Background")
        person.wait_for_dialog_to_close()
        person.image_row("kept by the browser").wait_for()
        assert scene.image("kept by the browser", "queued")
        person.open_indicator()
        person.picture("indicator-uploading")
        person.open("/project/api_access/")
        person.wait_for_bytes(4 * MIB)
        scene.link.rate = None
        assert scene.image("kept by the browser").size == 20 * MIB


def test_a_reader_may_look_and_nothing_else(scene: Scene) -> None:
    with scene.person(READER) as person:
        person.open_images()
        assert not person.page.locator("actions >> text=Create Image").count()
        assert not person.indicator().count()
        person.open("/project/image_uploads/")
        person.page.locator("text=No items to display").wait_for()


def test_an_administrator_sees_and_cancels_everybodys_uploads(scene: Scene) -> None:
    client = Client(scene.service.url, {"X-Auth-Token": scene.cloud.token(DEMO)})
    url = scene.interrupted("somebody else's")
    with scene.person(ADMIN) as person:
        person.open("/admin/image_uploads/")
        row = person.image_row("somebody else's")
        assert "demo" in row.inner_text()
        person.picture("panel-of-administrators")
        row.locator("button:has-text('Cancel Upload')").click()
        person.page.click(".modal .btn-danger")
        person.page.locator("text=Cancelled Upload").first.wait_for()
        assert reason(client.request("GET", url)) == "upload-cancelled"
        assert "somebody else's" not in scene.images()
        person.open("/project/image_uploads/")
        person.page.locator("text=No items to display").wait_for()


@pytest.mark.parametrize("plugin", [True, False], ids=["with the plugin", "plain"])
def test_legacy_uploads_go_through_horizon(scene: Scene, plugin: bool) -> None:
    before = len(scene.uploads())
    name = f"legacy {plugin}"
    with scene.person(DEMO, "legacy", plugin=plugin) as person:
        person.open_images()
        person.begin_image(name, bootable_iso(), "iso")
        person.wait_for_dialog_to_close()
    assert scene.image(name).checksum == md5(bootable_iso())
    assert len(scene.uploads()) == before


def test_without_uploads_there_is_no_file(scene: Scene) -> None:
    with scene.person(DEMO, "off", IMAGES_ALLOW_LOCATION=True) as person:
        person.open_images()
        person.open_dialog()
        person.page.locator("#imageForm-image_url").wait_for()
        assert not person.page.locator("input[type=file][name=image_file]").count()


@pytest.mark.parametrize("plugin", [True, False], ids=["with the plugin", "plain"])
def test_a_cloud_without_the_service_is_as_before(scene: Scene, plugin: bool) -> None:
    before = len(scene.uploads())
    name = f"direct {plugin}"
    nowhere = {"service_type": "absent", "public_url": None}
    with scene.person(DEMO, plugin=plugin, RESUMABLE_GLANCE=nowhere) as person:
        person.open_images()
        assert not person.page.locator("text=Image Uploads").count()
        person.begin_image(name, bootable_iso(), "iso")
        person.wait_for_dialog_to_close()
        person.image_row(name).wait_for()
        assert person.tokens()  # so Horizon does it: this test knows a token when it sees one
    assert scene.image(name).checksum == md5(bootable_iso())
    assert len(scene.uploads()) == before
