"""Could the service run here? One line a part, and a next step where it could not."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from oslo_config import cfg

from resumable_glance import app
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.cli.verdicts import Failed, say, tried
from resumable_glance.errors import CannotStart
from resumable_glance.images.base import DeliveryFailed
from resumable_glance.runtime import config
from resumable_glance.runtime.config import Settings
from resumable_glance.runtime.options import GiB
from resumable_glance.storage.local import InUse, LocalStorage

_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs", "9p", "lustre"}


def run(files: list[str] | None) -> int:
    """Print what each part says; 0 if all of them are well."""
    if (read := _read(files)) is None:
        return 1
    settings, conf = read
    parts: list[tuple[str, Callable[[Settings, cfg.ConfigOpts], str]]] = [
        ("scratch", _scratch), ("catalog", _catalog), ("credentials", _credentials),
        ("keystone", _keystone), ("images", _images),
    ]  # fmt: skip
    return max([tried(name, functools.partial(part, settings, conf)) for name, part in parts])


def public(files: list[str] | None, url: str, origins: list[str], authorities: str | None) -> int:
    """The same of the public address: `url`, or the configured one with the configured origins."""
    from resumable_glance.cli import public

    if not url:
        if (read := _read(files)) is None:
            return 1
        settings, _ = read
        if settings.service.public_endpoint is None:
            say("address", "FAIL", "public_endpoint is not set", "Set it, or name the address: check --url https://...")
            return 1
        url, origins = settings.service.public_endpoint, origins or list(settings.cors.allowed_origin)
    return public.run(url, origins, authorities)


def _read(files: list[str] | None) -> tuple[Settings, cfg.ConfigOpts] | None:
    try:
        settings, conf = config.load(files)
    except config.BadConfiguration as problem:
        say("configuration", "FAIL", str(problem), "Correct the option; docs/configuration tells what each one takes.")
        return None
    say("configuration", "ok", ", ".join(conf.config_file or []) or "no file: defaults only")
    return settings, conf


def _scratch(settings: Settings, _: cfg.ConfigOpts) -> str:
    directory = settings.scratch.directory
    note = ""
    try:
        LocalStorage(directory).close()
    except InUse:
        note = ", in use by a running service"
    except OSError as problem:
        raise Failed(problem, f"Make {directory} and give it to the user that the service runs as.") from problem
    kind = _file_system(directory)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise Failed(f"{directory} is on {kind}", "Use a local disk: what fsync promises is not kept over a network.")
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free <= settings.scratch.reserved_space:
        raise Failed(
            f"{free / GiB:.1f} GiB are free in {directory}, reserved_space is {settings.scratch.reserved_space / GiB:.1f}",
            "Free space or lower [scratch] reserved_space: every creation would be refused with 507.",
        )
    return f"{directory} on {kind}: {(free - settings.scratch.reserved_space) / GiB:.1f} GiB for uploads{note}"


def _file_system(directory: Path) -> str:
    """The type of the file system that a directory is on, as /proc/self/mounts calls it."""
    resolved = directory.resolve()
    found, kind = Path(), "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mounted = Path(line.split()[1].encode().decode("unicode_escape"))
        if resolved.is_relative_to(mounted) and len(mounted.parts) >= len(found.parts):
            found, kind = mounted, line.split()[2]
    return kind


def _catalog(settings: Settings, _: cfg.ConfigOpts) -> str:
    try:
        address = sa.make_url(settings.database.connection)
    except sa.exc.ArgumentError as problem:
        raise Failed(
            problem, "Set [database] connection to an SQLAlchemy URL: sqlite:////path/catalog.sqlite"
        ) from problem
    if address.get_backend_name() != "sqlite" or not address.database:
        return str(address)
    path = Path(address.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=path.parent).close()  # SQLite makes files beside its own
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(f"{path} can't be written")
    except OSError as problem:
        raise Failed(problem, f"Give {path.parent} to the user that the service runs as.") from problem
    return f"{path}, {'there' if path.exists() else 'to be made at the first start'}"


def _credentials(settings: Settings, _: cfg.ConfigOpts) -> str:
    try:
        TokenCipher(settings.credentials.key_file)
    except CannotStart as problem:
        raise Failed(problem, "Correct or move it; without a key file a new one is made.") from problem
    mode = settings.credentials.key_file.stat().st_mode & 0o777
    if mode & 0o077:
        raise Failed(
            f"{settings.credentials.key_file} has mode {mode:o}",
            f"chmod 600 {settings.credentials.key_file}: others can read it.",
        )
    return str(settings.credentials.key_file)


def _keystone(settings: Settings, conf: cfg.ConfigOpts) -> str:
    if settings.service.auth_strategy == "noauth":
        return "not used: auth_strategy = noauth"
    from keystoneauth1 import exceptions

    from resumable_glance.auth.keystone import service_session

    hint = "Look at [keystone_authtoken]: auth_url, username, password, project_name and the two domains."
    try:
        session = service_session(conf)
        access = session.auth.get_access(session)  # type: ignore[union-attr]
    except (exceptions.ClientException, CannotStart) as problem:
        raise Failed(problem, hint) from problem
    roles = set(access.role_names)
    if not roles & {"service", "admin"}:
        raise Failed(
            f"{access.username} has the roles {', '.join(sorted(roles)) or 'none'}, and may not validate tokens",
            f"openstack role add --user {access.username} --project {access.project_name} service",
        )
    return f"{conf.keystone_authtoken.auth_url} as {access.username} ({', '.join(sorted(roles))})"


def _images(settings: Settings, conf: cfg.ConfigOpts) -> str:
    from keystoneauth1 import exceptions

    try:
        _, sink = app.authenticator_and_images(settings, conf)
        return asyncio.run(sink.check())
    except (DeliveryFailed, exceptions.ClientException, CannotStart, cfg.Error, OSError) as problem:
        raise Failed(
            problem, "Is Glance up and in Keystone's catalog? [glance] can name its endpoint_override."
        ) from problem
