"""A real Horizon in front of a cloud, for tests.

    with Horizon(cloud, directory, port, settings={"HORIZON_IMAGES_UPLOAD_MODE": "direct"}) as horizon:
        horizon.url

It is served as in production: without DEBUG (with it, a login takes seven seconds), and with static files that are
collected and compressed offline, once, and kept between runs. With `plugin`, the plugin is installed as operators do
it: the built distribution, and its files for Horizon's directory local/enabled.
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

from tests import ROOT
from tests.support.cloud import Cloud, cache, install
from tests.support.cloud.configuration import REGION
from tests.support.cloud.server import Server

SETTINGS_MODULE = "openstack_dashboard.settings"
PLUGIN = ROOT / "js_client" / "horizon"
ENABLED = Path("resumable_glance_dashboard") / "enabled"
# Settings that do not depend on the cloud; the compressed files depend on them.
COMMON: Mapping[str, Any] = {
    "DEBUG": False,
    "COMPRESS_OFFLINE": True,
    "ALLOWED_HOSTS": ["127.0.0.1"],
    "SECRET_KEY": "not secret: this Horizon lives as long as a test",
    "AVAILABLE_THEMES": [("default", "Default", "themes/default")],
    "WEBROOT": "/",
    "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},  # default: memcached
    "LOGGING": {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"level": "WARNING", "handlers": ["console"]},
    },
}

# Operators copy enabled files into Horizon's own local/enabled; that Horizon is shared with other tests.
OWN_ENABLED = """\
import os
import openstack_dashboard.local.enabled
openstack_dashboard.local.enabled.__path__.append(os.path.join(os.path.dirname(__file__), "enabled"))
"""


class Horizon:
    """Horizon under uWSGI on 127.0.0.1:`port`; its settings, sessions and log are in `directory`.

    `settings` are added to local_settings.py. Sessions survive a restart.
    """

    def __init__(
        self,
        cloud: Cloud,
        directory: Path,
        port: int,
        *,
        plugin: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "horizon.log"
        environment = install.environment(install.HORIZON)
        prepared = _prepared(environment, plugin)
        (directory / "sessions").mkdir(parents=True, exist_ok=True)
        _write_settings(
            directory,
            prepared,
            {
                "OPENSTACK_KEYSTONE_URL": cloud.auth_url,
                "OPENSTACK_ENDPOINT_TYPE": "publicURL",
                "DEFAULT_SERVICE_REGIONS": {"*": REGION},
                # In files, so that sessions survive a restart.
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
                *(f"--pythonpath={each}" for each in (directory, prepared / "site")),
                f"--static-map=/static={prepared / 'static'}",
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
        """Start, and return when it responds."""
        self._server.start()

    def stop(self) -> None:
        """Stop gracefully."""
        self._server.stop()


def _prepared(environment: Path, plugin: bool) -> Path:
    """Return the directory of static files and plugin, after making it if it does not exist (10 seconds).

    It contains `static`, collected and compressed, and `site`, with the plugin if requested.
    """
    sources = sorted(each for each in PLUGIN.rglob("*") if each.is_file() and each.suffix != ".pyc") if plugin else []
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for each in sources:
        digest.update(str(each.relative_to(PLUGIN)).encode() + each.read_bytes())
    place = environment.with_name(f"{environment.name}-{'plugin' if plugin else 'plain'}-{digest.hexdigest()[:12]}")
    return cache.make_once(place, lambda unfinished: _prepare(unfinished, environment, plugin))


def _prepare(place: Path, environment: Path, plugin: bool) -> None:
    install.progress("collecting and compressing Horizon's static files (once)")
    (place / "site").mkdir(parents=True)
    if plugin:
        # --no-deps: Horizon is in the other environment.
        into = ("--python", environment, "--no-deps", "--target", place / "site")
        install.uv("pip", "install", "--compile-bytecode", *into, PLUGIN)
    settings = place / "settings"
    _write_settings(settings, place, {"OPENSTACK_KEYSTONE_URL": "http://127.0.0.1:1/v3"})
    for command in (("collectstatic", "--noinput"), ("compress", "--force")):
        done = subprocess.run(
            [environment / "bin" / "django-admin", *command],
            env={
                "PATH": os.defpath,
                "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
                "PYTHONPATH": f"{settings}:{place / 'site'}",
            },
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"django-admin {command[0]} ended with {done.returncode}\n{done.stderr[-4000:]}")
    shutil.rmtree(settings)


def _write_settings(directory: Path, prepared: Path, settings: Mapping[str, Any]) -> None:
    """Write the package `local`, which hides Horizon's own when `directory` is on Python's path."""
    package = directory / "local"
    cache.remove(package)
    (package / "enabled").mkdir(parents=True)
    (package / "__init__.py").touch()
    for enabled in (prepared / "site" / ENABLED).glob("_*.py"):
        shutil.copy(enabled, package / "enabled")
    merged = {**COMMON, "STATIC_ROOT": str(prepared / "static"), "LOCAL_PATH": str(package), **settings}
    lines = [f"{name} = {value!r}\n" for name, value in merged.items()]
    (package / "local_settings.py").write_text(OWN_ENABLED + "".join(lines))
