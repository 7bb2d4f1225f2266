"""What is configured, as plain frozen settings.

Its one rule: `load()` reads the INI files once. The rest of the program never sees oslo.config, and a bad value is
refused at the start with its option's name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from resumable_glance import options
from resumable_glance.errors import CannotStart


class BadConfiguration(CannotStart):
    """A sentence that names the option and says what it should be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `load()` read, checked. Sizes in bytes, times in seconds."""

    bind_host: str
    bind_port: int
    public_endpoint: str | None
    trusted_proxies: tuple[str, ...]
    instance: str
    auth_strategy: str
    sink: str
    sink_directory: Path
    max_upload_size: int
    max_chunk_size: int
    upload_expiry: int
    record_retention: int
    idle_timeout: int
    min_rate: int
    head_timeout: int
    graceful_timeout: int
    handoff_workers: int
    handoff_attempts: int
    saving_time: int
    settling_time: int
    follow_workers: int
    follow_smallest: int
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
    scratch_directory: Path
    headroom: int
    commit_size: int
    database: str
    key_file: Path
    ticket_lifetime: int
    trusts: bool
    trust_lifetime: int
    inspects: bool
    require_image_format_match: bool
    gpt_safety_checks_nonfatal: tuple[str, ...]
    max_virtual_size: int
    allowed_origins: tuple[str, ...]
    cors_max_age: int
    page_enabled: bool
    page_sign_in: bool
    token_cache_time: int


def load(
    files: Sequence[str] | None = None, overrides: dict[str, Any] | None = None
) -> tuple[Settings, cfg.ConfigOpts]:
    """Read configuration `files`; None looks in the places where OpenStack services look.

    Variables of the environment (OS_GROUP__OPTION) win over files; an empty list means neither, only the defaults.
    `overrides` are `option` or `group.option` names with values that win over the files. The second result is for what
    keystoneauth1 and oslo.log read themselves. BadConfiguration names the option.
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
    settings = Settings(
        bind_host=conf.bind_host,
        bind_port=conf.bind_port,
        public_endpoint=conf.public_endpoint.rstrip("/") if conf.public_endpoint else None,
        trusted_proxies=tuple(conf.trusted_proxies),
        instance=conf.instance,
        auth_strategy=conf.auth_strategy,
        sink=conf.sink,
        sink_directory=Path(conf.sink_directory),
        max_upload_size=conf.max_upload_size,
        max_chunk_size=conf.max_chunk_size,
        upload_expiry=conf.upload_expiry,
        record_retention=conf.record_retention,
        idle_timeout=conf.idle_timeout,
        min_rate=conf.min_rate,
        head_timeout=conf.head_timeout,
        graceful_timeout=conf.graceful_timeout,
        handoff_workers=conf.handoff_workers,
        handoff_attempts=conf.handoff.attempts,
        saving_time=conf.handoff.saving_time,
        settling_time=conf.handoff.settling_time,
        follow_workers=conf.handoff.follow_workers,
        follow_smallest=conf.handoff.follow_smallest,
        uploads_per_project=conf.limits.uploads_per_project,
        bytes_per_project=conf.limits.bytes_per_project,
        creations_per_minute=conf.limits.creations_per_minute,
        requests_per_project=conf.limits.requests_per_project,
        requests_per_peer=conf.limits.requests_per_peer,
        connections=conf.limits.connections,
        connections_per_peer=conf.limits.connections_per_peer,
        head_size=conf.limits.head_size,
        head_fields=conf.limits.head_fields,
        streams_per_project=conf.limits.streams_per_project,
        scratch_directory=Path(conf.scratch.directory),
        headroom=conf.scratch.headroom,
        commit_size=conf.scratch.commit_size,
        database=conf.database.connection,
        key_file=Path(conf.credentials.key_file),
        ticket_lifetime=conf.tickets.lifetime,
        trusts=conf.trusts.enabled,
        trust_lifetime=conf.trusts.lifetime,
        inspects=conf.verdict.enabled,
        require_image_format_match=conf.verdict.require_image_format_match,
        gpt_safety_checks_nonfatal=tuple(conf.verdict.gpt_safety_checks_nonfatal),
        max_virtual_size=conf.verdict.max_virtual_size,
        allowed_origins=tuple(conf.cors.allowed_origin),
        cors_max_age=conf.cors.max_age,
        page_enabled=conf.page.enabled,
        page_sign_in=conf.page.sign_in,
        token_cache_time=conf.keystone_authtoken.token_cache_time,
    )
    if settings.auth_strategy == "noauth" and not is_loopback(settings.bind_host):
        raise BadConfiguration(
            f"bind_host = {settings.bind_host}: with auth_strategy = noauth anyone who reaches the port may do "
            "anything, so that only a loopback address such as 127.0.0.1 is allowed"
        )
    if not re.fullmatch(r"sqlite(\+pysqlite)?:///[^?].*", settings.database) or ":memory:" in settings.database:
        # Without its value, which may contain a password.
        raise BadConfiguration(
            "[database] connection: only SQLite in a file works for now, as in sqlite:////var/lib/resumable-glance/"
            "catalog.sqlite. Each instance needs a catalog of its own."
        )
    if settings.auth_strategy == "noauth" and settings.sink == "glance":
        raise BadConfiguration("sink = glance needs auth_strategy = keystone: images are made as the user")
    return settings


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
