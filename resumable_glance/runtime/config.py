"""Settings: the options as plain frozen dataclasses, one for each group.

`load()` reads the INI files once. The rest of the program never sees oslo.config, and a wrong value is refused at the
start, with its option's name.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from oslo_config import cfg

from resumable_glance.errors import CannotStart
from resumable_glance.runtime import options

Group = TypeVar("Group")


class BadConfiguration(CannotStart):
    """An option has a value that it can't have; the sentence names it and says what it should be."""


# Each field has the name, the unit and the meaning of its option (options.py). Sizes in bytes, times in seconds.


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """[DEFAULT]"""

    bind_host: str
    bind_port: int
    public_endpoint: str | None
    trusted_proxies: tuple[str, ...]
    instance: str
    auth_strategy: str
    image_service: str
    image_directory: Path
    max_upload_size: int
    max_chunk_size: int
    upload_expiry: int
    record_retention: int
    idle_timeout: int
    min_rate: int
    head_timeout: int
    graceful_timeout: int


@dataclass(frozen=True, slots=True)
class HandoffSettings:
    workers: int
    attempts: int
    glance_timeout: int
    abort_grace: int
    early_workers: int
    early_minimum_size: int


@dataclass(frozen=True, slots=True)
class LimitSettings:
    uploads_per_project: int
    bytes_per_project: int
    creations_per_minute: int
    requests_per_project: int
    requests_per_peer: int
    connections: int
    connections_per_peer: int
    head_size: int
    head_fields: int
    streams_per_project: int


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    directory: Path
    reserved_space: int
    commit_size: int


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    connection: str


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    key_file: Path


@dataclass(frozen=True, slots=True)
class TicketSettings:
    lifetime: int


@dataclass(frozen=True, slots=True)
class TrustSettings:
    enabled: bool
    lifetime: int


@dataclass(frozen=True, slots=True)
class ImageFormatSettings:
    enabled: bool
    require_image_format_match: bool
    gpt_safety_checks_nonfatal: tuple[str, ...]
    max_virtual_size: int


@dataclass(frozen=True, slots=True)
class CorsSettings:
    allowed_origin: tuple[str, ...]
    max_age: int


@dataclass(frozen=True, slots=True)
class PageSettings:
    enabled: bool
    sign_in: bool


@dataclass(frozen=True, slots=True)
class KeystoneSettings:
    token_cache_time: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What `load()` read, checked: a field for each group."""

    service: ServiceSettings
    handoff: HandoffSettings
    limits: LimitSettings
    scratch: ScratchSettings
    database: DatabaseSettings
    credentials: CredentialSettings
    tickets: TicketSettings
    trusts: TrustSettings
    image_format: ImageFormatSettings
    cors: CorsSettings
    page: PageSettings
    keystone_authtoken: KeystoneSettings


def load(
    files: Sequence[str] | None = None, overrides: dict[str, Any] | None = None
) -> tuple[Settings, cfg.ConfigOpts]:
    """Read configuration `files`; None means the usual places of OpenStack services.

    Environment variables (OS_GROUP__OPTION) win over files; an empty list means neither, only the defaults.
    `overrides` maps `option` or `group.option` to values that win over the files. The second result is for
    keystoneauth1, oslo.log and oslo.policy, which read their options themselves.

    Raises:
        BadConfiguration: an option has a wrong value.
    """
    conf = cfg.ConfigOpts()
    options.register(conf)
    try:
        conf(
            [],
            project="resumable-glance",
            default_config_files=None if files is None else list(files),
            default_config_dirs=None if files is None else [],
            use_env=files != [],
        )
        for name, value in (overrides or {}).items():
            _override(conf, name, value)
        return _settings(conf), conf
    except cfg.Error as problem:
        raise BadConfiguration(str(problem)) from problem


def _override(conf: cfg.ConfigOpts, name: str, value: object) -> None:
    group, _, option = name.rpartition(".")
    try:
        conf.set_override(option, value, group=group or None)
    except ValueError as problem:
        raise BadConfiguration(f"{name}: {problem}") from problem


def _settings(conf: cfg.ConfigOpts) -> Settings:
    kinds = get_type_hints(Settings)
    settings = Settings(
        **{name: _group(kind, conf if name == "service" else conf[name]) for name, kind in kinds.items()}
    )
    service = settings.service
    if service.auth_strategy == "noauth" and not is_loopback(service.bind_host):
        raise BadConfiguration(
            f"bind_host = {service.bind_host}: with auth_strategy = noauth anyone who reaches the port may do "
            "anything, so that only a loopback address such as 127.0.0.1 is allowed"
        )
    database = settings.database.connection
    if not re.fullmatch(r"sqlite(\+pysqlite)?:///[^?].*", database) or ":memory:" in database:
        # Without its value, which may contain a password.
        raise BadConfiguration(
            "[database] connection: only SQLite in a file works for now, as in sqlite:////var/lib/resumable-glance/"
            "catalog.sqlite. Each instance needs a catalog of its own."
        )
    if service.auth_strategy == "noauth" and service.image_service == "glance":
        raise BadConfiguration("image_service = glance needs auth_strategy = keystone: images are made as the user")
    return settings


def _group(kind: type[Group], values: Any) -> Group:
    """The settings of a group: each field is the option of its name."""
    hints = get_type_hints(kind)
    return kind(**{each.name: _plain(values[each.name], hints[each.name]) for each in dataclasses.fields(kind)})  # type: ignore[arg-type]


def _plain(value: Any, kind: object) -> object:
    """An option's value as an immutable one; URLs without a slash at their end."""
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if kind is Path else value


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
