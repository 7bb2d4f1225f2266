"""A real Keystone and a real Glance, for tests and for the demonstration.

    with start() as cloud:
        cloud.glance(DEMO).images.create(name="empty")

Everything listens on 127.0.0.1 only, and all state lies under one directory. A Horizon in front of it: horizon.py.
"""

import atexit
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import glanceclient
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from tests.support.cloud import configuration, install, pristine
from tests.support.cloud.configuration import REGION, Options
from tests.support.cloud.server import BEGIN_IMMEDIATE, Server
from tests.support.cloud.users import ADMIN, DEMO, OTHER, READER, SERVICE, User
from tests.support.process import free_ports

__all__ = ["ADMIN", "DEMO", "OTHER", "READER", "SERVICE", "Cloud", "User", "start"]


class Cloud:
    """A running Keystone and Glance; ends with close(), with the `with` block, or with this process."""

    stores = configuration.STORES

    def __init__(self, directory: Path, keystone: Server, glance: Server, *, temporary: bool) -> None:
        self.directory = directory
        self.auth_url = configuration.auth_url(keystone.port)
        self.image_url = configuration.image_url(glance.port)
        self._keystone = keystone
        self._glance = glance
        self._temporary = temporary
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def session(self, user: User) -> Session:
        """Return a new session that logs in as `user` at its first request."""
        auth = v3.Password(
            self.auth_url,
            username=user.name,
            password=user.password,
            project_name=user.project,
            user_domain_name="Default",
            project_domain_name="Default",
        )
        return Session(auth)

    def token(self, user: User) -> str:
        """Return a new token for `user`."""
        token = self.session(user).get_token()
        assert token is not None
        return token

    def glance(self, user: User) -> Any:
        """Return a new client for Glance's API version 2 (glanceclient has no types)."""
        return glanceclient.Client("2", session=self.session(user))

    def environment(self, user: User) -> dict[str, str]:
        """Return the variables from which OpenStack's programs learn who calls and where."""
        return {
            "OS_AUTH_TYPE": "password",
            "OS_AUTH_URL": self.auth_url,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_USERNAME": user.name,
            "OS_PASSWORD": user.password,
            "OS_PROJECT_NAME": user.project,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": REGION,
        }

    def register(self, kind: str, name: str, url: str) -> None:
        """Enter a service and its address into the catalogue, for every interface."""
        admin = self.session(ADMIN)

        def create(resource: str, **fields: str) -> str:
            answer = admin.post(f"{self.auth_url}/{resource}s", json={resource: fields})
            return str(answer.json()[resource]["id"])

        service_id = create("service", name=name, type=kind)
        for interface in ("public", "internal"):
            create("endpoint", service_id=service_id, interface=interface, url=url, region_id=REGION)

    def revoke(self, token: str) -> None:
        """Make `token` invalid at once."""
        self.session(ADMIN).delete(f"{self.auth_url}/auth/tokens", headers={"X-Subject-Token": token})

    def sign_out(self, user: User) -> None:
        """Make every token of `user` invalid."""
        admin = self.session(ADMIN)
        found = admin.get(f"{self.auth_url}/users", params={"name": user.name}).json()["users"][0]
        for enabled in (False, True):
            admin.patch(f"{self.auth_url}/users/{found['id']}", json={"user": {"enabled": enabled}})
        time.sleep(2)  # Keystone counts whole seconds: tokens of this one and the next are invalid, too

    def let_tokens_live(self, seconds: int) -> None:
        """Let the tokens that Keystone gives from now on live so long. It is restarted, and answers again on return."""
        file = self.directory / "keystone.conf"
        file.write_text(re.sub(r"^expiration = .*$", f"expiration = {seconds}", file.read_text(), flags=re.MULTILINE))
        self.stop_keystone()
        self.start_keystone()

    def start_keystone(self) -> None:
        """Start Keystone again, at the same address; returns when it answers."""
        self._keystone.start()

    def stop_keystone(self) -> None:
        """End Keystone in an orderly way; returns when it has ended."""
        self._keystone.stop()

    def kill_keystone(self) -> None:
        """End Keystone as a power cut would."""
        self._keystone.kill()

    def start_glance(self) -> None:
        """Start Glance again, at the same address; returns when it answers."""
        self._glance.start()

    def stop_glance(self) -> None:
        """End Glance in an orderly way; returns when it has ended."""
        self._glance.stop()

    def kill_glance(self) -> None:
        """End Glance as a power cut would: an upload that it was receiving stays in `saving`."""
        self._glance.kill()

    def pause_glance(self) -> None:
        """Make Glance hang: it takes connections and bytes, and answers nothing."""
        self._glance.send(signal.SIGSTOP)

    def resume_glance(self) -> None:
        """Let a paused Glance go on."""
        self._glance.send(signal.SIGCONT)

    def close(self) -> None:
        """Stop both, and remove the directory if start() chose it. More than once does no harm."""
        atexit.unregister(self.close)
        self._glance.stop()
        self._keystone.stop()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)


def start(
    *,
    directory: Path | None = None,
    token_lifetime: int = 3600,
    allow_expired_window: int = 172_800,
    image_size_cap: int | None = None,
    limits: Mapping[str, int] | None = None,
    allowed_origin: str = "",
    token_cache_time: int = -1,
    uwsgi_options: Sequence[str] = (),
) -> Cloud:
    """Start a new cloud and return when both services answer.

    `directory` must be empty or absent, and is kept; without it a temporary one is used and removed. Token
    lifetime and window are in seconds, image_size_cap in bytes. `limits` are each project's; Glance asks Keystone
    for them then (image_size_total and image_stage_total in MiB, image_count_total, image_count_uploading). Pages of
    allowed_origin may use Glance directly (CORS). Glance believes for token_cache_time seconds what Keystone said of a
    token; -1: it asks each time, so that a token that is revoked is refused at once.
    uwsgi_options are for Glance's server, in the form "--name=value". Raises RuntimeError with the end of a log if
    a service does not start.
    """
    environment = install.environment()
    new_state = pristine.state(environment)
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty")
    place = Path(tempfile.mkdtemp(prefix="cloud-")) if directory is None else directory.absolute()
    shutil.copytree(new_state, place, dirs_exist_ok=True)
    keystone_port, glance_port = free_ports(2)
    options = Options(token_lifetime, allow_expired_window, image_size_cap, limits, allowed_origin, token_cache_time)
    configuration.write(place, environment, keystone_port, glance_port, options)
    pristine.set_endpoints(place, configuration.auth_url(keystone_port), configuration.image_url(glance_port))
    keystone = pristine.keystone_server(place, environment, keystone_port)
    glance = Server(
        "glance.wsgi.api",
        glance_port,
        environment=environment,
        variables={"OS_GLANCE_CONFIG_DIR": str(place)},
        log=place / "glance.log",
        probe="/healthcheck",
        options=(BEGIN_IMMEDIATE, *uwsgi_options),
    )
    cloud = Cloud(place, keystone, glance, temporary=directory is None)
    try:
        keystone.launch()
        glance.launch()
        keystone.wait_until_ready()
        if limits is not None:
            pristine.limit(cloud.session(ADMIN), cloud.auth_url, limits)
        glance.wait_until_ready()
    except BaseException:
        cloud.close()
        raise
    return cloud
