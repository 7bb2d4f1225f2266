"""The cloud that other tests stand on behaves as a cloud does."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import glanceclient
import pytest
from glanceclient import exc
from keystoneauth1 import service_token, session, token_endpoint
from keystoneauth1.exceptions import NotFound

from tests import ROOT
from tests.support.cloud import ADMIN, DEMO, OTHER, READER, SERVICE, Cloud, User, cache, install, start
from tests.support.images import MIB

DATA = os.urandom(5 * MIB)
RAW: dict[str, Any] = {"disk_format": "raw", "container_format": "bare"}
SHORT_LIFE = 4  # seconds


@pytest.fixture(scope="module")
def hasty_cloud() -> Iterator[Cloud]:
    """A cloud whose tokens expire almost at once."""
    with start(token_lifetime=SHORT_LIFE, image_size_cap=MIB) as cloud:
        yield cloud


class SmallPieces:
    """Data for glanceclient, which asks for 1 MiB at a time: more than uWSGI takes in one chunk."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._data.read(min(size, MIB // 4))


def client_with_token(cloud: Cloud, token: str) -> Any:
    return glanceclient.Client("2", session=session.Session(token_endpoint.Token(cloud.image_url, token)))


@pytest.mark.parametrize("user", [ADMIN, DEMO, READER, OTHER, SERVICE], ids=lambda user: user.name)
def test_every_user_gets_a_token_with_one_role_on_one_project(cloud: Cloud, user: User) -> None:
    token = cloud.token(user)
    headers = {"X-Subject-Token": token}
    answer = cloud.session(SERVICE).get(f"{cloud.auth_url}/auth/tokens", headers=headers).json()["token"]
    assert answer["user"]["name"] == user.name
    assert answer["project"]["name"] == user.project
    # admin implies manager, that implies member, that implies reader.
    assert user.role in [role["name"] for role in answer["roles"]]
    assert {endpoint["url"] for service in answer["catalog"] for endpoint in service["endpoints"]} == {
        cloud.auth_url,
        cloud.image_url,
    }


def test_the_service_has_no_other_role(cloud: Cloud) -> None:
    token = cloud.token(SERVICE)
    headers = {"X-Subject-Token": token}
    answer = cloud.session(SERVICE).get(f"{cloud.auth_url}/auth/tokens", headers=headers).json()["token"]
    assert [role["name"] for role in answer["roles"]] == ["service"]


def test_a_member_uploads_an_image_and_glance_has_the_same_bytes(cloud: Cloud) -> None:
    glance = cloud.glance(DEMO)
    image = glance.images.create(name="five MiB", **RAW)
    glance.images.upload(image.id, SmallPieces(DATA), image_size=len(DATA))
    image = glance.images.get(image.id)
    assert (image.status, image.size, image.stores) == ("active", len(DATA), "fast")
    assert image.checksum == hashlib.md5(DATA).hexdigest()
    assert (image.os_hash_algo, image.os_hash_value) == ("sha512", hashlib.sha512(DATA).hexdigest())
    assert b"".join(glance.images.data(image.id)) == DATA


def test_an_image_can_be_imported_into_both_stores(cloud: Cloud) -> None:
    glance = cloud.glance(DEMO)
    image = glance.images.create(name="both", **RAW)
    glance.images.stage(image.id, SmallPieces(DATA))
    glance.images.image_import(image.id, method="glance-direct", all_stores=True)
    deadline = time.monotonic() + 30
    while glance.images.get(image.id).status != "active" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert set(glance.images.get(image.id).stores.split(",")) == set(cloud.stores)


@pytest.mark.parametrize("user", [READER, SERVICE], ids=lambda user: user.name)
def test_neither_a_reader_nor_a_service_may_create_images(cloud: Cloud, user: User) -> None:
    with pytest.raises(exc.HTTPForbidden):
        cloud.glance(user).images.create(name="forbidden")


def test_the_users_of_another_project_do_not_see_an_image(cloud: Cloud) -> None:
    image = cloud.glance(DEMO).images.create(name="private", visibility="private")
    assert cloud.glance(READER).images.get(image.id).name == "private"
    with pytest.raises(exc.HTTPNotFound):
        cloud.glance(OTHER).images.get(image.id)


def test_requests_at_the_same_time_do_not_lock_the_databases(cloud: Cloud) -> None:
    token = cloud.token(DEMO)

    def create_and_delete(number: int) -> None:
        glance = client_with_token(cloud, token)
        image = glance.images.create(name=f"parallel {number}", **RAW)
        glance.images.upload(image.id, SmallPieces(DATA[:MIB]), image_size=MIB)
        glance.images.delete(image.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create_and_delete, range(16)))


@pytest.mark.parametrize("end", [Cloud.stop_glance, Cloud.kill_glance])
def test_glance_keeps_images_and_address_over_a_restart(cloud: Cloud, end: Any) -> None:
    glance = cloud.glance(DEMO)
    image = glance.images.create(name="kept")
    end(cloud)
    try:
        with pytest.raises(exc.CommunicationError):
            client_with_token(cloud, "any").images.get(image.id)
    finally:
        cloud.start_glance()
    assert glance.images.get(image.id).name == "kept"


def test_a_server_outlives_the_thread_that_started_it(cloud: Cloud) -> None:
    cloud.stop_glance()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(cloud.start_glance).result()
    list(cloud.glance(DEMO).images.list())


def test_without_keystone_glance_refuses_even_a_good_token(cloud: Cloud) -> None:
    glance = client_with_token(cloud, cloud.token(DEMO))
    cloud.stop_keystone()
    try:
        # Not 503: Glance's pipeline has delay_auth_decision, and then takes "unknown" for "invalid".
        with pytest.raises(exc.HTTPUnauthorized):
            list(glance.images.list())
    finally:
        cloud.start_keystone()
    list(glance.images.list())


def test_a_revoked_token_is_refused_at_once(cloud: Cloud) -> None:
    token = cloud.token(DEMO)
    list(client_with_token(cloud, token).images.list())
    cloud.revoke(token)
    with pytest.raises(exc.HTTPUnauthorized):
        list(client_with_token(cloud, token).images.list())
    with pytest.raises(NotFound):
        cloud.revoke(token)


def test_an_expired_token_works_with_a_service_token(hasty_cloud: Cloud) -> None:
    expired = hasty_cloud.token(DEMO)
    time.sleep(SHORT_LIFE + 1)
    with pytest.raises(exc.HTTPUnauthorized):
        client_with_token(hasty_cloud, expired).images.create(name="too late")
    service = hasty_cloud.session(SERVICE).auth
    assert service is not None
    both = service_token.ServiceTokenAuthWrapper(
        user_auth=token_endpoint.Token(hasty_cloud.image_url, expired), service_auth=service
    )
    glance = glanceclient.Client("2", session=session.Session(both))
    assert glance.images.create(name="in the window").status == "queued"


def test_an_image_above_the_cap_is_refused(hasty_cloud: Cloud) -> None:
    glance = hasty_cloud.glance(DEMO)
    image = glance.images.create(name="too big", **RAW)
    with pytest.raises(exc.HTTPOverLimit):
        glance.images.upload(image.id, SmallPieces(DATA), image_size=len(DATA))


def test_programs_find_the_cloud_by_their_environment(cloud: Cloud) -> None:
    program = Path(sys.executable).with_name("glance")
    environment = {"PATH": os.defpath, **cloud.environment(DEMO)}
    listing = subprocess.run([program, "image-list"], env=environment, capture_output=True, check=True)
    assert b"ID" in listing.stdout


def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-option"):
        start(directory=tmp_path, uwsgi_options=["--no-such-option"])


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(FileExistsError):
        start(directory=tmp_path)


def test_the_servers_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.cloud", f"--directory={tmp_path / 'state'}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(9)]
        assert "export OS_USERNAME=demo\n" in lines
        program.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while running_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running_in(tmp_path) == []


def running_in(directory: Path) -> list[int]:
    """Return the ids of processes with `directory` in their environment, except this one."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"CONFIG_DIR={directory}".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            pass  # it ended, or is not ours
    return found


def test_an_environment_that_is_not_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").touch()
    monkeypatch.setenv(install.CLOUD.variable, str(tmp_path))
    with pytest.raises(FileExistsError):
        install.environment()
    assert (tmp_path / "precious").exists()


def test_an_interrupted_installation_is_repeated(tmp_path: Path) -> None:
    def interrupted(path: Path) -> None:
        path.mkdir()
        raise KeyboardInterrupt

    place = tmp_path / "place"
    with pytest.raises(KeyboardInterrupt):
        cache.make_once(place, interrupted)
    assert not place.exists()
    assert cache.make_once(place, Path.mkdir) == place
    assert place.is_dir()
