"""Beside a real Keystone and a real Glance: who may, what Glance says, and that the image is the file."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from resumable_glance.api import health
from resumable_glance.auth.keystone import service_session
from resumable_glance.images.base import Actor
from resumable_glance.images.glance.service import GlanceImageService
from resumable_glance.model.upload import ImageRequest, Owner
from resumable_glance.runtime import config
from tests.contracts.images import WatchedSource
from tests.support.cloud import ADMIN, DEMO, OTHER, READER, SERVICE, Cloud, User, start
from tests.support.service import Service, beside
from tests.support.wire import RAW, Client, bearer, md5, reason

pytestmark = pytest.mark.openstack
MIB = 1024 * 1024
CONTENT = random.Random(3).randbytes(6 * MIB + 77)
SIZE = len(CONTENT)
SHORT = 12  # seconds that a token lives; with less, a busy machine lets it expire within one creation


@pytest.fixture
def demo(cloud: Cloud, glance_service: Service) -> Client:
    """A member of the project demo, with a fresh token."""
    return as_user(cloud, glance_service, DEMO)


def as_user(cloud: Cloud, service: Service, user: User) -> Client:
    return Client(service.url, {"X-Auth-Token": cloud.token(user)})


def image_of(cloud: Cloud, upload: dict[str, Any]) -> Any:
    return cloud.glance(DEMO).images.get(upload["image"]["id"])


def filled(client: Client, **more: Any) -> str:
    """An upload that has got all of its bytes."""
    url = client.created(SIZE, **more)
    answer = client.send(url, CONTENT, 0, SIZE, md5(CONTENT))
    assert answer.status_code == 204, answer.text
    return url


# The image is the file


def test_glance_has_the_same_size_md5_and_sha512(cloud: Cloud, glance_service: Service, demo: Client) -> None:
    url = demo.created(SIZE)
    for start_, stop in [(4 * MIB, SIZE), (0, 2 * MIB), (2 * MIB, 4 * MIB)]:
        assert demo.send(url, CONTENT, start_, stop, md5(CONTENT[start_:stop])).status_code == 204
    upload = demo.wait(url, "active")
    image = image_of(cloud, upload)
    assert (image.status, image.size) == ("active", SIZE)
    assert image.checksum == upload["hashes"]["md5"] == hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    assert image.os_hash_value == upload["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()
    assert not list((glance_service.directory / "scratch" / "uploads").glob(f"{upload['id']}*")), "scratch is not freed"


def test_the_image_has_the_properties_that_were_asked_for(cloud: Cloud, demo: Client) -> None:
    described = {
        "name": "Besançon №1", "disk_format": "raw", "container_format": "bare", "visibility": "private",
        "min_disk": 3, "min_ram": 512, "protected": True, "tags": ["a", "b"], "properties": {"os_distro": "debian"},
    }  # fmt: skip
    upload = demo.wait(demo.created(0, image=described, store="archive"), "active")
    image = image_of(cloud, upload)
    assert (image.name, image.min_disk, image.min_ram, image.protected) == ("Besançon №1", 3, 512, True)
    assert (sorted(image.tags), image.os_distro, image.stores) == (["a", "b"], "debian", "archive")


def test_a_queued_image_of_the_callers_own_project_is_adopted(cloud: Cloud, demo: Client) -> None:
    image = cloud.glance(DEMO).images.create(**RAW)
    url = filled(demo, image_id=image.id)
    assert demo.wait(url, "active")["image"]["id"] == image.id
    assert image_of(cloud, demo.show(url)).os_hash_value == hashlib.sha512(CONTENT).hexdigest()
    again = demo.create(SIZE, image_id=image.id)
    assert (again.status_code, reason(again)) == (409, "image-not-queued")


def test_cancelling_removes_our_image_but_no_adopted_one(cloud: Cloud, demo: Client) -> None:
    ours = demo.created(SIZE, image={**RAW, "protected": True})
    ours_id = demo.show(ours)["image"]["id"]
    adopted = cloud.glance(DEMO).images.create(**RAW)
    theirs = demo.created(SIZE, image_id=adopted.id)
    assert demo.request("DELETE", ours).status_code == demo.request("DELETE", theirs).status_code == 204
    left = {image.id for image in cloud.glance(DEMO).images.list()}
    assert ours_id not in left
    assert adopted.id in left


def test_glances_schema_and_limits_are_asked_once(
    cloud: Cloud, glance_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema, and that there are no limits. Each question costs Glance as much as making an image."""
    settings, conf = config.load([str(glance_service.configuration)])
    images = GlanceImageService(conf, service_session(conf), settings.handoff.workers, settings.handoff.glance_timeout)
    actor = Actor(Owner(str(cloud.session(DEMO).get_project_id()), "user"), cloud.token(DEMO))
    asked: list[str] = []
    send = requests.Session.send

    def noted(self: requests.Session, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        if str(request.url).startswith(cloud.image_url):
            asked.append(f"{request.method} {request.path_url}")
        return send(self, request, **named)

    async def filled() -> str:
        image = await images.prepare(ImageRequest(RAW), SIZE, actor)
        await images.deliver(image, SIZE, WatchedSource(CONTENT), actor)
        assert (await images.status(image, actor)).sha512 == hashlib.sha512(CONTENT).hexdigest()
        return image.id

    monkeypatch.setattr(requests.Session, "send", noted)
    first, second = asyncio.run(filled()), asyncio.run(filled())
    assert asked == [
        "GET /v2/info/usage",
        "POST /v2/images", f"PUT /v2/images/{first}/file", f"GET /v2/images/{first}", "GET /v2/schemas/image",
        "POST /v2/images", f"PUT /v2/images/{second}/file", f"GET /v2/images/{second}",
    ]  # fmt: skip


# Who may


def test_a_reader_is_refused_before_any_byte_moves(cloud: Cloud, glance_service: Service) -> None:
    answer = as_user(cloud, glance_service, READER).create(SIZE)
    assert (answer.status_code, reason(answer)) == (403, "forbidden")


@pytest.mark.parametrize("user", [OTHER, READER], ids=["another project", "another user of the project"])
def test_an_upload_is_unknown_to_all_others(cloud: Cloud, glance_service: Service, demo: Client, user: User) -> None:
    url = demo.created(SIZE)
    stranger = as_user(cloud, glance_service, user)
    nothing = url[:-32] + "0" * 32
    for method in ("GET", "DELETE", "PATCH"):
        place = {"Content-Range": f"bytes 0-0/{SIZE}"} if method == "PATCH" else {}
        answer, of_nothing = (stranger.request(method, each, place, data=b"x") for each in (url, nothing))
        assert reason(answer) in {"unknown-upload", "forbidden" if user is READER else ""}  # a reader may only look
        assert {**answer.json(), "request_id": ""} == {**of_nothing.json(), "request_id": ""}
    assert (stranger.request("GET", url).status_code, stranger.request("HEAD", url).status_code) == (404, 404)
    assert stranger.request("GET", f"{glance_service.url}/v1/uploads").json() == {"uploads": []}
    assert demo.show(url)["received"] == 0


def test_admins_and_services_see_and_cancel_the_uploads_of_all(
    cloud: Cloud, glance_service: Service, demo: Client
) -> None:
    system = v3.Password(
        cloud.auth_url, username=ADMIN.name, password=ADMIN.password, user_domain_name="Default", system_scope="all"
    )
    of_the_system = Client(glance_service.url, {"X-Auth-Token": str(Session(system).get_token())})
    everybodys = f"{glance_service.url}/v1/uploads?all_projects=1"
    for who in (as_user(cloud, glance_service, ADMIN), as_user(cloud, glance_service, SERVICE), of_the_system):
        url = demo.created(SIZE)
        image_id, owner = demo.show(url)["image"]["id"], cloud.session(DEMO).get_project_id()
        listed = {each["href"]: each["owner"] for each in who.request("GET", everybodys).json()["uploads"]}
        assert listed[url]["project_id"] == owner
        assert who.show(url)["received"] == 0
        assert reason(who.send(url, CONTENT, 0, SIZE)) in {"unknown-upload", "forbidden"}
        assert who.request("DELETE", url).status_code == 204
        assert reason(demo.request("GET", url)) == "upload-cancelled"
        assert image_id not in {image.id for image in cloud.glance(DEMO).images.list()}
    for who in (demo, as_user(cloud, glance_service, READER)):
        assert reason(who.request("GET", everybodys)) == "forbidden"
    assert reason(of_the_system.create(SIZE)) == "forbidden"


def test_another_projects_image_can_not_be_adopted(cloud: Cloud, demo: Client) -> None:
    image = cloud.glance(OTHER).images.create(**RAW)
    answer = demo.create(SIZE, image_id=image.id)
    assert (answer.status_code, reason(answer)) == (404, "image-unknown")


@pytest.mark.parametrize("token", ["", "nonsense", "x" * 20_000])
def test_a_token_that_is_none_is_refused(glance_service: Service, token: str) -> None:
    answer = Client(glance_service.url, {"X-Auth-Token": token}).create(SIZE)
    assert (answer.status_code, reason(answer)) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Keystone")


def test_no_token_is_written_to_disk_or_log_in_clear(cloud: Cloud, glance_service: Service) -> None:
    client = as_user(cloud, glance_service, DEMO)
    client.wait(filled(client), "active")
    client.created(SIZE)
    token = client.headers["X-Auth-Token"].encode()
    for path in glance_service.directory.rglob("*"):
        assert not (path.is_file() and token in path.read_bytes()), path


def parts_that_are_not_well(service: Service) -> set[str]:
    """What readiness says once it has asked again."""
    time.sleep(health.REPORT_TTL)
    parts = requests.get(f"{service.url}/healthcheck/ready", timeout=30).json()["parts"]
    assert requests.get(f"{service.url}/healthcheck", timeout=30).status_code == 200
    return {name for name, sentence in parts.items() if sentence != "ok"}


def test_without_keystone_requests_are_503_not_401(cloud: Cloud, glance_service: Service, demo: Client) -> None:
    token = cloud.token(DEMO)
    cloud.stop_keystone()
    try:
        answer = Client(glance_service.url, {"X-Auth-Token": token}).request("GET", f"{glance_service.url}/v1/uploads")
        assert (answer.status_code, reason(answer)) == (503, "identity-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert parts_that_are_not_well(glance_service) >= {"identity"}
    finally:
        cloud.start_keystone()
    demo.created(SIZE)


def test_a_hanging_glance_delays_no_stop(cloud: Cloud, tmp_path: Path) -> None:
    service = beside(cloud, tmp_path)
    service.configuration.write_text(service.configuration.read_text() + "timeout = 300\n")
    with service:
        client = as_user(cloud, service, DEMO)
        url = client.created(SIZE)
        cloud.pause_glance()
        try:
            assert client.send(url, CONTENT, 0, SIZE).status_code == 204
            assert client.show(url)["state"] in {"sealed", "delivering"}
            assert service.stop() == 0, "it had to be killed"
        finally:
            cloud.resume_glance()
        service.start()
        assert client.wait(url, "active")["image"]["id"]


def test_an_upload_continues_with_a_fresh_token(tmp_path: Path) -> None:
    with start(token_lifetime=SHORT) as short, beside(short, tmp_path) as service:
        url = as_user(short, service, DEMO).created(SIZE)
        client = as_user(short, service, DEMO)
        assert client.send(url, CONTENT, 0, MIB).status_code == 204
        time.sleep(SHORT + 1)
        answer = client.send(url, CONTENT, MIB, SIZE)
        assert (answer.status_code, reason(answer)) == (401, "unauthenticated")
        assert as_user(short, service, DEMO).show(url)["offset"] == MIB
        assert as_user(short, service, DEMO).send(url, CONTENT, MIB, SIZE).status_code == 204
        assert finished(short, service, url)["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()


def test_a_handoff_outlives_the_token_that_sealed_it(tmp_path: Path) -> None:
    with start(token_lifetime=SHORT) as short, beside(short, tmp_path) as service:
        url = as_user(short, service, DEMO).created(SIZE)
        short.stop_glance()
        assert as_user(short, service, DEMO).send(url, CONTENT, 0, SIZE).status_code == 204
        time.sleep(SHORT + 1)
        short.start_glance()
        assert finished(short, service, url)["handoff"]["attempts"] > 1


def test_an_upload_without_a_token_waits_or_has_a_trust(tmp_path: Path) -> None:
    """Its bytes come with a ticket, and then the owner's token is out of Keystone's window."""
    with (
        start(token_lifetime=SHORT, allow_expired_window=1) as short,
        beside(short, tmp_path / "with") as entrusted,
        beside(short, tmp_path / "without") as waiting,
    ):
        entrusted.configuration.write_text(entrusted.configuration.read_text() + "[trusts]\nenabled = true\n")
        entrusted.restart()
        holders = {}
        for service in (entrusted, waiting):
            created = as_user(short, service, DEMO).create(SIZE).json()
            holders[service] = created["href"], Client(service.url, bearer(created["ticket"]["value"]))
        cancelled = as_user(short, entrusted, DEMO).created(SIZE)
        assert len(trusts(short)) == 2
        time.sleep(SHORT + 2)
        for url, holder in holders.values():
            assert holder.send(url, CONTENT, 0, SIZE, md5(CONTENT)).status_code == 204
        url, holder = holders[entrusted]
        assert holder.wait(url, "active", seconds=120)["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()
        assert as_user(short, entrusted, DEMO).request("DELETE", cancelled).status_code == 204
        deadline = time.monotonic() + 90
        while trusts(short) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert trusts(short) == []

        url, holder = holders[waiting]
        deadline = time.monotonic() + 90
        while (upload := holder.show(url))["handoff"]["last_error"] is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (upload["state"], upload["handoff"]["last_error"]["reason"]) == ("sealed", "token-expired")
        deadline = time.monotonic() + 120
        while (upload := holder.show(url))["state"] != "active":  # these tokens live for seconds only
            assert time.monotonic() < deadline, upload
            assert as_user(short, waiting, DEMO).request("POST", f"{url}/ticket").status_code == 201
            time.sleep(3)
        assert upload["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()


def test_an_upload_works_where_no_trust_can_be_made(cloud: Cloud, tmp_path: Path) -> None:
    """Application credentials can't."""
    session = cloud.session(DEMO)
    address = f"{cloud.auth_url}/users/{session.get_user_id()}/application_credentials"
    made = session.post(address, json={"application_credential": {"name": "for a test"}}).json()[
        "application_credential"
    ]
    auth = v3.ApplicationCredential(
        cloud.auth_url, application_credential_id=made["id"], application_credential_secret=made["secret"]
    )
    service = beside(cloud, tmp_path)
    service.configuration.write_text(service.configuration.read_text() + "[trusts]\nenabled = true\n")
    with service:
        client = Client(service.url, {"X-Auth-Token": str(Session(auth).get_token())})
        assert client.wait(filled(client), "active")
    assert "no trust for user" in service.log.read_text()
    assert trusts(cloud) == []


def trusts(cloud: Cloud) -> list[Any]:
    """The trusts that demo has given."""
    session = cloud.session(DEMO)
    asked = {"trustor_user_id": str(session.get_user_id())}
    return list(session.get(f"{cloud.auth_url}/OS-TRUST/trusts", params=asked).json()["trusts"])


def finished(short: Cloud, service: Service, url: str) -> dict[str, Any]:
    """The upload once it is active, asked for with a fresh token each time: these live for seconds only."""
    deadline = time.monotonic() + 120
    while (upload := as_user(short, service, DEMO).show(url))["state"] != "active":
        assert time.monotonic() < deadline, upload
        time.sleep(1)
    return upload


# What Glance says, and when it says nothing


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"store": "cellar"}, "image-refused"),
        ({"image": {**RAW, "disk_format": "floppy"}}, "image-refused"),
        ({"image": {**RAW, "visibility": "public"}}, "forbidden"),
        ({"image_id": "00000000-0000-0000-0000-000000000000"}, "image-unknown"),
    ],
)
def test_glances_refusals_come_before_any_byte(demo: Client, more: dict[str, Any], expected: str) -> None:
    answer = demo.create(SIZE, **more)
    assert answer.status_code in {400, 403, 404}
    assert reason(answer) == expected


def test_an_image_without_a_disk_format_is_not_adopted(cloud: Cloud, demo: Client) -> None:
    image = cloud.glance(DEMO).images.create(name="no formats yet")
    answer = demo.create(SIZE, image_id=image.id)
    assert (answer.status_code, reason(answer)) == (400, "image-refused")


def test_a_sealed_upload_waits_while_glance_is_away(cloud: Cloud, glance_service: Service, demo: Client) -> None:
    url = demo.created(SIZE)
    cloud.stop_glance()
    try:
        assert parts_that_are_not_well(glance_service) == {"images"}
        creation = demo.create(SIZE)
        assert (creation.status_code, reason(creation)) == (503, "image-service-unavailable")
        assert demo.send(url, CONTENT, 0, SIZE).status_code == 204
        deadline = time.monotonic() + 20
        while demo.show(url)["handoff"]["last_error"] is None and time.monotonic() < deadline:
            time.sleep(0.1)
        waiting = demo.show(url)
        assert waiting["handoff"]["last_error"]["reason"] == "image-service-unavailable"
        assert "127.0.0.1" not in waiting["handoff"]["last_error"]["detail"], "addresses inside the cloud are told"
        assert waiting["handoff"]["next_attempt_at"] is not None
    finally:
        cloud.start_glance()
    upload = demo.wait(url, "active")
    assert upload["handoff"]["last_error"] is None
    assert parts_that_are_not_well(glance_service) == set()
    assert image_of(cloud, upload).os_hash_value == hashlib.sha512(CONTENT).hexdigest()


def test_an_image_deleted_meanwhile_fails_the_upload(cloud: Cloud, demo: Client) -> None:
    url = demo.created(SIZE)
    cloud.glance(DEMO).images.delete(demo.show(url)["image"]["id"])
    assert demo.send(url, CONTENT, 0, SIZE).status_code == 204
    assert demo.wait(url, "failed")["handoff"]["last_error"]["reason"] == "image-gone"
    assert demo.request("DELETE", url).status_code == 204


def test_a_wrong_image_digest_keeps_the_image_from_active(cloud: Cloud, demo: Client) -> None:
    url = filled(demo, digests={"sha256": hashlib.sha256(b"something else").hexdigest()})
    upload = demo.wait(url, "failed")
    assert upload["handoff"]["last_error"]["reason"] == "digest-mismatch"
    image = image_of(cloud, upload)
    assert (image.status, image.size, image.checksum) == ("queued", None, None)
    assert demo.request("DELETE", url).status_code == 204


def test_a_flipped_bit_is_detected_before_the_image_is_active(cloud: Cloud, glance_service: Service) -> None:
    demo = as_user(cloud, glance_service, DEMO)
    url = demo.created(SIZE)
    cloud.stop_glance()
    try:
        assert demo.send(url, CONTENT, 0, SIZE).status_code == 204
        file = glance_service.directory / "scratch" / "uploads" / f"{url.rpartition('/')[2]}.upload"
        with file.open("r+b") as damaged:
            damaged.seek(5 * MIB)
            damaged.write(bytes([CONTENT[5 * MIB] ^ 1]))
    finally:
        cloud.start_glance()
    upload = demo.wait(url, "failed")
    assert upload["handoff"]["last_error"]["reason"] == "scratch-differs"
    deadline = time.monotonic() + 10
    while image_of(cloud, upload).status == "saving" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert image_of(cloud, upload).status == "queued"


# Crashes of ours


@pytest.fixture
def own_service(cloud: Cloud, tmp_path: Path) -> Iterator[Service]:
    """A service that a test may kill."""
    with beside(cloud, tmp_path) as running:
        yield running


def test_a_killed_delivery_is_repeated_after_the_restart(cloud: Cloud, own_service: Service) -> None:
    demo = as_user(cloud, own_service, DEMO)
    content = random.Random(4).randbytes(192 * MIB)
    url = demo.created(len(content))
    assert demo.send(url, content, 0, len(content)).status_code == 204
    deadline = time.monotonic() + 30
    while demo.show(url)["handoff"]["delivered"] < 32 * MIB and time.monotonic() < deadline:
        time.sleep(0.02)
    assert demo.show(url)["state"] == "delivering"
    own_service.kill()
    own_service.start()
    upload = demo.wait(url, "active")
    assert upload["handoff"]["attempts"] >= 2
    assert image_of(cloud, upload).os_hash_value == hashlib.sha512(content).hexdigest()


def test_a_stop_interrupts_a_delivery_that_the_next_start_repeats(cloud: Cloud, own_service: Service) -> None:
    demo = as_user(cloud, own_service, DEMO)
    content = random.Random(5).randbytes(192 * MIB)
    url = demo.created(len(content))
    assert demo.send(url, content, 0, len(content)).status_code == 204
    demo.wait(url, "delivering")
    started = time.monotonic()
    assert own_service.stop() == 0
    assert time.monotonic() - started < 10
    own_service.start()
    assert image_of(cloud, demo.wait(url, "active")).os_hash_value == hashlib.sha512(content).hexdigest()


def test_an_upload_can_be_cancelled_while_it_is_delivered(cloud: Cloud, own_service: Service) -> None:
    demo = as_user(cloud, own_service, DEMO)
    content = random.Random(6).randbytes(192 * MIB)
    url = demo.created(len(content))
    assert demo.send(url, content, 0, len(content)).status_code == 204
    image_id = demo.wait(url, "delivering")["image"]["id"]
    answer = demo.request("DELETE", url)
    assert answer.status_code == 204, answer.text
    assert image_id not in {image.id for image in cloud.glance(DEMO).images.list()}
    assert not list((own_service.directory / "scratch" / "uploads").iterdir())
