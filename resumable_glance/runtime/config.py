"""Settings: one frozen dataclass for each group of options, with each option declared as a field.

`load()` reads the configuration files once, and refuses a wrong value with the name of its option. The rest of the
program never uses oslo.config.
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
from resumable_glance.runtime.option_types import Endpoint, InstanceName, Network, Origin

GiB = 1024**3
MiB = 1024**2
HOUR = 3600
DAY = 24 * HOUR
SESSION_TIMEOUT = 60  # seconds for a response of Keystone or Glance; keystoneauth1 itself has no limit
Group = TypeVar("Group")


class BadConfiguration(CannotStart):
    """An option has a wrong value; the sentence names it and says what it should be."""


def _option(kind: type[cfg.Opt], help: str, **details: Any) -> Any:
    """Declare a field that is an option of the same name, with its unit, default and reason in the help text."""
    return dataclasses.field(metadata={"option": lambda name: kind(name, help=help, **details)})


# fmt: off
@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """[DEFAULT]"""

    bind_host: str = _option(cfg.StrOpt, default="127.0.0.1", help=(
        "Address to listen on. The default accepts only connections from this host, such as those of a TLS proxy."))
    bind_port: int = _option(cfg.PortOpt, default=8970, help="TCP port to listen on.")
    public_endpoint: str | None = _option(cfg.Opt, type=Endpoint(), help=(
        "Base URL of this service as clients see it, for the Location of new uploads. Needed with auth_strategy = "
        "keystone: clients follow a Location with their tickets, and it must not depend on what a request says. In "
        "development it is taken from each request if unset."))
    trusted_proxies: tuple[str, ...] = _option(cfg.ListOpt, item_type=Network(), default=[], help=(
        "Comma-separated IP addresses or networks of proxies whose X-Forwarded-* headers are trusted. The same headers "
        "from other addresses are ignored, since any client can send them."))
    instance: str = _option(cfg.Opt, type=InstanceName(), default="a", help=(
        "Name of this instance, and the first part of every upload id that it creates: 1 to 16 characters of a-z and "
        "0-9. Must be unique, so that a load balancer can route each request to the instance that has the upload."))
    auth_strategy: str = _option(cfg.StrOpt, default="keystone", choices=["keystone", "noauth"], help=(
        "keystone: each request needs a token, which Keystone validates. noauth: anyone may do anything; for "
        "development only, and only with a loopback bind_host."))
    image_service: str = _option(cfg.StrOpt, default="glance", choices=["glance", "directory"], help=(
        "Destination of finished uploads. directory: files in image_directory, for development."))
    image_directory: Path = _option(cfg.StrOpt, default="/var/lib/resumable-glance/images", help=(
        "Directory for images, if image_service is directory."))
    max_upload_size: int = _option(cfg.IntOpt, default=1024 * GiB, min=1, help=(
        "Largest upload, in bytes. The default is 1 TiB, as that of image_size_cap in Glance, which would refuse a "
        "larger image only after its last byte."))
    max_chunk_size: int = _option(cfg.IntOpt, default=1 * GiB, min=1 * MiB, help=(
        "Largest chunk, in bytes. Large chunks cost no memory, but a chunk whose digest is wrong has to be sent again "
        "as a whole."))
    upload_expiry: int = _option(cfg.IntOpt, default=7 * DAY, min=60, help=(
        "Seconds without a new byte after which an unfinished upload is removed. A week outlasts most interruptions."))
    first_byte_expiry: int = _option(cfg.IntOpt, default=HOUR, min=60, help=(
        "Seconds without any byte after which a new upload is removed, since it reserves scratch for nothing. With its "
        "first durable byte, upload_expiry applies."))
    waiting_retention: int = _option(cfg.IntOpt, default=7 * DAY, min=60, help=(
        "Seconds for which the bytes of a complete upload are kept that has failed, or waits for another attempt, such "
        "as for a token of its owner. Counted from its last byte, or from the last time that its owner retried it or "
        "renewed its token or ticket. Should outlast every outage of Glance and Keystone."))
    record_retention: int = _option(cfg.IntOpt, default=30 * DAY, min=60, help=(
        "Seconds for which the record of an active, cancelled or expired upload is kept. It holds no image data."))
    idle_timeout: int = _option(cfg.IntOpt, default=60, min=1, help=(
        "Seconds without a byte of a chunk after which its request is ended. Received bytes are kept, unless the chunk "
        "declared a digest. Should be shorter than the timeouts of proxies, so that clients get our response."))
    min_rate: int = _option(cfg.IntOpt, default=128, min=0, help=(
        "Average rate that a chunk must reach within idle_timeout, in bytes a second; otherwise its request is ended. "
        "It stops clients that hold a connection by sending a byte now and then. 0: no limit."))
    head_timeout: int = _option(cfg.IntOpt, default=20, min=1, help=(
        "Seconds for the head of a request, and for the rest of a body that is not read. It stops clients that only "
        "hold connections."))
    graceful_timeout: int = _option(cfg.IntOpt, default=30, min=1, help=(
        "Seconds that running requests have to respond when the service stops."))


@dataclass(frozen=True, slots=True)
class HandoffSettings:
    """[handoff]"""

    workers: int = _option(cfg.IntOpt, default=3, min=1, max=64, help=(
        "Number of uploads that are handed over to Glance at a time. Each occupies a thread here, for hashing, and a "
        "worker of Glance. If it is more than 1, one project uses at most all but one of them, so that another project "
        "need not wait for it."))
    attempts: int = _option(cfg.IntOpt, default=3000, min=0, help=(
        "Number of consecutive attempts after which the handoff of an upload fails. Its bytes are kept, and its owner "
        "can retry it. Attempts are at most a minute apart: the default takes about two days, more than most outages. "
        "Uploads that wait for a new token of their owner do not fail. 0: no limit."))
    glance_timeout: int = _option(cfg.IntOpt, default=900, min=1, help=(
        "Seconds that Glance may take to respond after the last byte of an image; with some stores it copies the whole "
        "image first. An image that is `saving` for longer is considered stuck, and replaced by a new one."))
    abort_grace: int = _option(cfg.IntOpt, default=60, min=1, help=(
        "Seconds for which an image may stay `saving` after an interrupted delivery. Glance notices at once, but a "
        "proxy in front of it only after its own timeout. After that the image is considered stuck."))
    early_workers: int = _option(cfg.IntOpt, default=2, min=0, max=64, help=(
        "Number of uploads that are delivered to Glance while they are still being received, in addition to workers. "
        "Their images are active a moment after the last chunk. Each occupies a thread here and a worker of Glance for "
        "as long as the upload takes, at most an hour; slower ones are handed over afterwards. As with workers, one is "
        "left to other projects. 0: none."))
    early_minimum_size: int = _option(cfg.IntOpt, default=64 * MiB, min=0, help=(
        "Smallest upload that is delivered while it is being received, in bytes. Smaller ones gain too little."))


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """[limits]"""

    uploads_per_project: int = _option(cfg.IntOpt, default=200, min=0, help=(
        "Number of unfinished uploads that a project may have, including parts (tus concatenation). 0: no limit."))
    share_per_project: int = _option(cfg.IntOpt, default=50, min=1, max=100, help=(
        "Share of scratch that the unfinished uploads of a project may use together, in percent of what other projects "
        "leave: its own and the free space. Below 100 no project can take the last space, so that others can always "
        "create uploads. 100: all of it, for a cloud with one project."))
    creations_per_minute: int = _option(cfg.IntOpt, default=600, min=0, help=(
        "Number of attempts to create an upload that a project may make within a minute, refused ones included; most "
        "of them cost requests to Glance. Counted by each instance for itself. 0: no limit."))
    requests_per_project: int = _option(cfg.IntOpt, default=12_000, min=0, help=(
        "Number of requests that a project may make within a minute. It protects others from a client in a loop: the "
        "default, 200 a second, is enough for 1 GiB/s in chunks of 5 MiB. Requests for progress and for parts count, "
        "too. 0: no limit."))
    requests_per_peer: int = _option(cfg.IntOpt, default=0, min=0, help=(
        "Number of requests that an address (of IPv6: a /64) may make within a minute, authenticated or not. Set it "
        "only if clients connect directly or trusted_proxies names all proxies: otherwise all clients share the "
        "address of a proxy, and so the limit. 0: no limit."))
    strangers_per_second: int = _option(cfg.IntOpt, default=200, min=0, help=(
        "Number of requests a second that are answered of all those without credentials, or with wrong ones; others "
        "wait for their turn. It bounds the time that strangers take from users, whatever they do. Upload pages and "
        "their preflight requests have no credentials, too; health checks never wait. 0: no limit."))
    connections: int = _option(cfg.IntOpt, default=0, min=0, help=(
        "Number of open connections; further ones get the status 503 and are closed. Clients retry. 0: half of the "
        "files that the process may open, since each chunk has a file open, too."))
    connections_per_peer: int = _option(cfg.IntOpt, default=0, min=0, help=(
        "Number of open connections from one address (of IPv6: a /64), except those of trusted_proxies. For services "
        "that clients reach directly; a proxy has limits of its own. A client needs only a few. 0: no limit."))
    head_size: int = _option(cfg.IntOpt, default=128 * 1024, min=8 * 1024, help=(
        "Largest head of a request (its address and headers), in bytes. A tus request that joins 1000 parts, named by "
        "their addresses in one header, has about 75 KiB."))
    head_fields: int = _option(cfg.IntOpt, default=100, min=20, help=(
        "Number of headers that a request may have. Browsers and proxies send about 30."))
    streams_per_project: int = _option(cfg.IntOpt, default=100, min=0, help=(
        "Number of event streams (the progress of uploads) that a project may have open; each holds a connection. "
        "Further clients poll. 0: no limit."))


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    """[scratch]"""

    directory: Path = _option(cfg.StrOpt, default="/var/lib/resumable-glance/scratch", help=(
        "Directory where bytes wait until they are in Glance. It must be on a local file system (ext4, xfs) that "
        "honours fsync, and may not be shared with another instance."))
    reserved_space: int = _option(cfg.IntOpt, default=1 * GiB, min=0, help=(
        "Bytes of the file system that uploads never use, for other data on it."))
    commit_size: int = _option(cfg.IntOpt, default=16 * MiB, min=1 * MiB, help=(
        "Bytes of a chunk without a digest after which they are made durable and acknowledged. A crash costs a client "
        "at most this much of each running chunk (or all of a chunk that repeats durable bytes); each commit costs two "
        "flushes of the disk."))


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """[database]"""

    connection: str = _option(
        cfg.StrOpt, default="sqlite:////var/lib/resumable-glance/catalog.sqlite", secret=True, help=(
        "SQLAlchemy URL of the catalog. Only SQLite in a file on a local disk is supported for now."))


@dataclass(frozen=True, slots=True)
class CredentialSettings:
    """[credentials]"""

    key_file: Path = _option(cfg.StrOpt, default="/var/lib/resumable-glance/credentials.key", help=(
        "File with the keys that encrypt tokens of owners in the catalog while their images wait for Glance: one key "
        "a line; the first encrypts, all decrypt. Created with mode 0600 if missing. Keep it apart from backups of the "
        "catalog."))
    expired_window: int = _option(cfg.IntOpt, default=2 * DAY, min=0, help=(
        "Seconds after its expiry for which an owner's token is kept, since Keystone still accepts it if our service "
        "user vouches for it. Use the value of allow_expired_window in [token] of Keystone."))


@dataclass(frozen=True, slots=True)
class TicketSettings:
    """[tickets]"""

    lifetime: int = _option(cfg.IntOpt, default=DAY, min=60, max=30 * DAY, help=(
        "Seconds for which a ticket is valid. A day outlasts most uploads. The owner can get a new ticket with a "
        "token, and revoke all that were issued."))


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """[trusts]"""

    enabled: bool = _option(cfg.BoolOpt, default=False, help=(
        "Whether each new upload gets a Keystone trust from its owner to our service user, so that its image can be "
        "handed over after the owner's token has expired. Off by default, since an intruder on this host could act for "
        "the owners of all unfinished uploads as long as these trusts last."))
    lifetime: int = _option(cfg.IntOpt, default=30 * DAY, min=HOUR, help=(
        "Seconds after which a trust expires. The trust of a finished upload is removed earlier."))


@dataclass(frozen=True, slots=True)
class ImageFormatSettings:
    """[image_format]"""

    enabled: bool = _option(cfg.BoolOpt, default=True, help=(
        "Whether images in container_format bare are inspected while they are received, by the inspectors and rules of "
        "Glance. An image that Glance would refuse after its last byte is refused after its first MiB. Changes apply "
        "to new uploads."))
    require_image_format_match: bool = _option(cfg.BoolOpt, default=True, help=(
        "Whether an image must have the disk_format that was declared for it; raw images may be anything. Use the "
        "value of the same option in [image_format] of Glance."))
    gpt_safety_checks_nonfatal: tuple[str, ...] = _option(cfg.ListOpt, default=[], help=(
        "Comma-separated names of the checks of a partition table that may fail. Use the value of the same option in "
        "[image_format] of Glance."))
    max_virtual_size: int = _option(cfg.IntOpt, default=0, min=0, help=(
        "Largest virtual disk of an image, in bytes; a small file can declare any size. 0: no limit, since Nova "
        "compares the size with the flavor."))


@dataclass(frozen=True, slots=True)
class CorsSettings:
    """[cors]"""

    allowed_origin: tuple[str, ...] = _option(cfg.ListOpt, item_type=Origin(), default=[], help=(
        "Comma-separated origins (scheme://host[:port]) of dashboards whose pages may upload; they must match exactly. "
        "If unset, only pages of the service's own origin may use it."))
    max_age: int = _option(cfg.IntOpt, default=HOUR, min=0, help=(
        "Seconds for which browsers may cache the response to a preflight request."))


@dataclass(frozen=True, slots=True)
class PageSettings:
    """[page]"""

    enabled: bool = _option(cfg.BoolOpt, default=True, help=(
        "Whether browsers get an upload page at `/`. Programs get JSON there in any case."))
    sign_in: bool = _option(cfg.BoolOpt, default=False, help=(
        "Whether users can create uploads on the page, with a Keystone token. The page keeps the token only in memory, "
        "and exchanges it for a ticket of each upload. If off, a ticket (a link) is needed to use the page, and users "
        "do not get used to pasting tokens into pages."))


@dataclass(frozen=True, slots=True)
class KeystoneSettings:
    """[keystone_authtoken]"""

    token_cache_time: int = _option(cfg.IntOpt, default=60, min=0, max=HOUR, help=(
        "Seconds for which a validated token is cached, and for which a revoked one still works at most. Without the "
        "cache each chunk would cost a request to Keystone."))
# fmt: on


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked: a field for each group. `service` is the group [DEFAULT]."""

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


def _options(group: type[Any]) -> list[cfg.Opt]:
    return [each.metadata["option"](each.name) for each in dataclasses.fields(group)]


_KINDS = get_type_hints(Settings)
GROUPS = {"DEFAULT" if name == "service" else name: _options(kind) for name, kind in _KINDS.items()}


def load(
    files: Sequence[str] | None = None, overrides: dict[str, Any] | None = None
) -> tuple[Settings, cfg.ConfigOpts]:
    """Read configuration `files`; None means the usual places of OpenStack services.

    Environment variables (OS_GROUP__OPTION) override files; with an empty list neither is read, and the defaults apply.
    `overrides` maps `option` or `group.option` to values that override the files. The second result is for
    keystoneauth1, oslo.log and oslo.policy, which read their options themselves.

    Raises:
        BadConfiguration: an option has a wrong value.
    """
    from oslo_log import log

    conf = cfg.ConfigOpts()
    for group, options in GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    log.register_options(conf)
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
        settings = Settings(
            **{name: _group(kind, conf if name == "service" else conf[name]) for name, kind in _KINDS.items()}
        )
    except cfg.Error as problem:
        raise BadConfiguration(str(problem)) from problem
    _check(settings)
    return settings, conf


def _override(conf: cfg.ConfigOpts, name: str, value: object) -> None:
    group, _, option = name.rpartition(".")
    try:
        conf.set_override(option, value, group=group or None)
    except ValueError as problem:
        raise BadConfiguration(f"{name}: {problem}") from problem


def _group(kind: type[Group], values: Any) -> Group:
    hints = get_type_hints(kind)
    return kind(**{name: _immutable(values[name], hint) for name, hint in hints.items()})


def _immutable(value: Any, kind: object) -> object:
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if kind is Path else value


def _check(settings: Settings) -> None:
    """Refuse combinations of options that can't work."""
    service, database = settings.service, settings.database.connection
    if service.auth_strategy == "noauth" and not is_loopback(service.bind_host):
        raise BadConfiguration(
            f"bind_host = {service.bind_host}: with auth_strategy = noauth anyone who reaches the port may do "
            "anything. Use a loopback address, such as 127.0.0.1"
        )
    if service.auth_strategy == "noauth" and service.image_service == "glance":
        raise BadConfiguration(
            "image_service = glance needs auth_strategy = keystone, since images are created with users' tokens"
        )
    if not re.fullmatch(r"sqlite(\+pysqlite)?:///[^?].*", database) or ":memory:" in database:
        # The value is not shown, since it may contain a password.
        raise BadConfiguration(
            "[database] connection: only SQLite in a file is supported for now, as in sqlite:////var/lib/"
            "resumable-glance/catalog.sqlite. Each instance needs a catalog of its own."
        )
    if service.auth_strategy == "keystone" and service.public_endpoint is None:
        raise BadConfiguration(
            "public_endpoint is not set: with auth_strategy = keystone set it to the URL at which clients reach the "
            "service, such as https://uploads.cloud.example"
        )


def is_loopback(host: str) -> bool:
    """Return whether only this host can connect to an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
