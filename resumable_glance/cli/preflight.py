"""The parts of `check` without --url: what the service needs before it starts."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import sqlalchemy as sa
from oslo_config import cfg

from resumable_glance import app
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.cli import endpoint_check
from resumable_glance.cli.report import CheckFailed, print_line, run_part
from resumable_glance.client.progress import format_size
from resumable_glance.errors import CannotStart
from resumable_glance.images.base import DeliveryFailed
from resumable_glance.runtime import config
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.local import InUse, LocalStorage

_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs", "9p", "lustre"}


def run(files: list[str] | None) -> int:
    """Print a line for each part. Return 0 if all of them are ok, 1 if not."""
    if (loaded := _load(files)) is None:
        return 1
    settings, conf = loaded
    parts = {
        "scratch": _scratch, "catalog": _catalog, "credentials": _credentials, "keystone": _keystone, "images": _images,
    }  # fmt: skip
    return max([run_part(name, part, settings, conf) for name, part in parts.items()])


def run_endpoint(files: list[str] | None, url: str, origins: list[str], ca_file: str | None) -> int:
    """Check the service at `url`; without one, at the configured address and with the configured origins."""
    if not url:
        if (loaded := _load(files)) is None:
            return 1
        settings, _ = loaded
        if settings.service.public_endpoint is None:
            step = "Set it, or name the address: check --url https://..."
            print_line("address", "FAIL", "public_endpoint is not set", step)
            return 1
        url, origins = settings.service.public_endpoint, origins or list(settings.cors.allowed_origin)
    return endpoint_check.run(url, origins, ca_file)


def _load(files: list[str] | None) -> tuple[Settings, cfg.ConfigOpts] | None:
    try:
        settings, conf = config.load(files)
    except config.BadConfiguration as problem:
        step = "Correct the option; docs/configuration.md describes all of them."
        print_line("configuration", "FAIL", str(problem), step)
        return None
    print_line("configuration", "ok", ", ".join(conf.config_file or []) or "no file, defaults only")
    return settings, conf


def _scratch(settings: Settings, _: cfg.ConfigOpts) -> str:
    directory = settings.scratch.directory
    note = ""
    try:
        LocalStorage(directory).close()
    except InUse:
        note = ", in use by a running service"
    except OSError as problem:
        raise CheckFailed(problem, f"Create {directory}, owned by the user that runs the service.") from problem
    kind = _file_system(directory)
    if kind in _NETWORK_FILE_SYSTEMS:
        step = "Use a local disk: network file systems do not keep the guarantees of fsync."
        raise CheckFailed(f"{directory} is on {kind}", step)
    status = os.statvfs(directory)
    free, reserved = status.f_bavail * status.f_frsize, settings.scratch.reserved_space
    if free <= reserved:
        step = "Free space, or lower [scratch] reserved_space: otherwise every creation is refused with 507."
        shortage = f"{directory} has {format_size(free)} free, and reserved_space is {format_size(reserved)}"
        raise CheckFailed(shortage, step)
    return f"{directory} on {kind}: {format_size(free - reserved)} for uploads{note}"


def _file_system(directory: Path) -> str:
    """Return the type of the file system of a directory, as in /proc/self/mounts."""
    resolved = directory.resolve()
    found, kind = Path(), "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mounted = Path(line.split()[1].encode().decode("unicode_escape"))
        if resolved.is_relative_to(mounted) and len(mounted.parts) >= len(found.parts):
            found, kind = mounted, line.split()[2]
    return kind


def _catalog(settings: Settings, _: cfg.ConfigOpts) -> str:
    path = Path(str(sa.make_url(settings.database.connection).database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=path.parent).close()  # SQLite creates files beside its own
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(f"{path} is not writable")
    except OSError as problem:
        raise CheckFailed(problem, f"Make {path.parent} writable for the user that runs the service.") from problem
    return f"{path}, {'exists' if path.exists() else 'created at the first start'}"


def _credentials(settings: Settings, _: cfg.ConfigOpts) -> str:
    key_file = settings.credentials.key_file
    try:
        TokenCipher(key_file)
    except CannotStart as problem:
        raise CheckFailed(problem, "Correct the file, or move it away: a new one is created then.") from problem
    mode = key_file.stat().st_mode & 0o777
    if mode & 0o077:
        raise CheckFailed(f"{key_file} has mode {mode:o}: other users can read it", f"chmod 600 {key_file}")
    return str(key_file)


def _keystone(settings: Settings, conf: cfg.ConfigOpts) -> str:
    if settings.service.auth_strategy == "noauth":
        return "not used: auth_strategy = noauth"
    from keystoneauth1 import exceptions

    from resumable_glance.auth.keystone import service_session

    hint = "Check [keystone_authtoken]: auth_url, username, password, project_name and both domains."
    try:
        session = service_session(conf)
        access = session.auth.get_access(session)  # type: ignore[union-attr]
    except (exceptions.ClientException, CannotStart) as problem:
        raise CheckFailed(problem, hint) from problem
    roles = set(access.role_names)
    if not roles & {"service", "admin"}:
        raise CheckFailed(
            f"{access.username} has the roles {', '.join(sorted(roles)) or 'none'}, which may not validate tokens",
            f"openstack role add --user {access.username} --project {access.project_name} service",
        )
    return f"{conf.keystone_authtoken.auth_url} as {access.username} ({', '.join(sorted(roles))})"


def _images(settings: Settings, conf: cfg.ConfigOpts) -> str:
    from keystoneauth1 import exceptions

    try:
        _, images = app.authenticator_and_images(settings, conf)
        return asyncio.run(images.check())
    except (DeliveryFailed, exceptions.ClientException, CannotStart, cfg.Error, OSError) as problem:
        step = "Check that Glance is up and in Keystone's catalog, or set endpoint_override in [glance]."
        raise CheckFailed(problem, step) from problem
