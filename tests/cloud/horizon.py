"""A real Horizon in front of a cloud, for those tests that ask for one.

    with Horizon(cloud, directory, port, settings={"HORIZON_IMAGES_UPLOAD_MODE": "direct"}) as horizon:
        horizon.url

It is served as operators serve it: no DEBUG (in which a login takes seven seconds), static files collected and
compressed once, offline, and kept between runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cloud import Cloud, cache, install
from tests.cloud.configuration import REGION
from tests.cloud.server import Server

SETTINGS_MODULE = "openstack_dashboard.settings"
# What does not depend on the cloud. Whatever is here has a part in what is compressed.
COMMON: Mapping[str, Any] = {
    "DEBUG": False,
    "COMPRESS_OFFLINE": True,
    "ALLOWED_HOSTS": ["127.0.0.1"],
    "SECRET_KEY": "no secret, for this Horizon lives as long as a test",
    "AVAILABLE_THEMES": [("default", "Default", "themes/default")],
    "WEBROOT": "/",
    "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},  # by default memcached
    "LOGGING": {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"level": "WARNING", "handlers": ["console"]},
    },
}


class Horizon:
    """Horizon under uWSGI on 127.0.0.1:`port`; its settings, sessions and log lie in `directory`.

    `settings` are added to local_settings.py. Sessions outlive a stop and a start.
    """

    def __init__(self, cloud: Cloud, directory: Path, port: int, *, settings: Mapping[str, Any] | None = None) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "horizon.log"
        environment = install.environment(install.HORIZON)
        static = _static_files(environment)
        (directory / "sessions").mkdir(parents=True, exist_ok=True)
        _write_settings(
            directory,
            {
                **COMMON,
                "STATIC_ROOT": str(static),
                "OPENSTACK_KEYSTONE_URL": cloud.auth_url,
                "OPENSTACK_ENDPOINT_TYPE": "publicURL",
                "DEFAULT_SERVICE_REGIONS": {"*": REGION},
                # On files, so that a restart logs nobody out.
                "SESSION_ENGINE": "django.contrib.sessions.backends.file",
                "SESSION_FILE_PATH": str(directory / "sessions"),
                "FILE_UPLOAD_TEMP_DIR": str(directory),
                **(settings or {}),
            },
        )
        self._server = Server(
            "openstack_dashboard.wsgi",
            port,
            environment=environment,
            variables={"DJANGO_SETTINGS_MODULE": SETTINGS_MODULE},
            log=self.log,
            probe="/auth/login/",
            options=(
                f"--pythonpath={directory}",
                f"--static-map=/static={static}",
                "--mimefile=/etc/mime.types",
            ),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return when it answers."""
        self._server.start()

    def stop(self) -> None:
        """End in an orderly way."""
        self._server.stop()


def _static_files(environment: Path) -> Path:
    """Return the directory of collected and compressed static files, after making it (10 seconds) if it isn't there."""
    made_from = repr(sorted(COMMON.items())) + Path(__file__).read_text()
    key = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    place = environment.with_name(f"{environment.name}-static-{key}")
    return cache.make_once(place, lambda unfinished: _collect(unfinished, environment))


def _collect(place: Path, environment: Path) -> None:
    install.progress("collecting and compressing Horizon's static files (once)")
    directory = place.with_name(place.name + ".settings")
    cache.remove(directory)
    _write_settings(directory, {**COMMON, "STATIC_ROOT": str(place), "OPENSTACK_KEYSTONE_URL": "http://127.0.0.1:1/v3"})
    try:
        for command in (("collectstatic", "--noinput"), ("compress", "--force")):
            done = subprocess.run(
                [environment / "bin" / "django-admin", *command],
                env={"PATH": os.defpath, "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE, "PYTHONPATH": str(directory)},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"django-admin {command[0]} ended with {done.returncode}\n{done.stderr[-4000:]}")
    finally:
        shutil.rmtree(directory)


def _write_settings(directory: Path, settings: Mapping[str, Any]) -> None:
    """Make the package `local`, which Horizon finds before its own when `directory` is on Python's path."""
    package = directory / "local"
    (package / "enabled").mkdir(parents=True, exist_ok=True)
    for made in (package, package / "enabled"):
        (made / "__init__.py").touch()
    lines = [f"{name} = {value!r}\n" for name, value in {**settings, "LOCAL_PATH": str(package)}.items()]
    (package / "local_settings.py").write_text("".join(lines))
