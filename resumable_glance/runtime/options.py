"""Every option of the service, with its unit, its default and its reason.

Tables for oslo.config, as its generator and its validator read them. config.py gives what was set.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Iterator, Sequence

from oslo_config import cfg, types

GiB = 1024**3
MiB = 1024**2
SESSION_TIMEOUT = 60  # seconds for an answer of Keystone or Glance; keystoneauth1 by itself waits for ever
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(types.URI):
    """The base URL of a service, without a slash at its end."""

    def __init__(self) -> None:
        super().__init__(schemes=["http", "https"])

    def __call__(self, value: object) -> str:
        return str(super().__call__(value)).rstrip("/")


class Origin(types.String):
    """scheme://host[:port], as browsers send it (RFC 6454). A path never matches, so it is refused."""

    def __call__(self, value: object) -> str:
        text = str(super().__call__(value))
        parts = urllib.parse.urlsplit(text)
        host = parts.hostname or ""
        if parts.scheme not in _DEFAULT_PORTS or not re.fullmatch(r"[A-Za-z0-9.:-]+", host) or "@" in parts.netloc:
            raise ValueError(f"{text!r} is not an origin: write scheme://host[:port], without wildcards")
        if parts.netloc.endswith(":") or parts.port == _DEFAULT_PORTS[parts.scheme]:
            shown = f"{parts.scheme}://{parts.netloc.rpartition(':')[0]}"
            raise ValueError(f"{text!r} never matches, for browsers leave the default port out: write {shown}")
        exact = f"{parts.scheme}://{parts.netloc}"
        if text != exact:
            raise ValueError(f"{text!r} is not an origin, for it has a path, and no browser sends one: write {exact}")
        if text != text.lower():
            raise ValueError(f"{text!r} never matches, for browsers send it in lower case: write {text.lower()}")
        return text


class Network(types.String):
    """An IP address or a network in CIDR notation."""

    def __call__(self, value: object) -> str:
        text = str(super().__call__(value))
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))


class InstanceName(types.String):
    """The first part of every upload id."""

    def __call__(self, value: object) -> str:
        text = str(super().__call__(value))
        if not re.fullmatch(r"[a-z0-9]{1,16}", text):
            raise ValueError(f"{text!r} is not 1 to 16 characters of a-z and 0-9")
        return text


# fmt: off
DEFAULT_OPTS = [
    cfg.StrOpt("bind_host", default="127.0.0.1", help=(
        "Address to listen on. The default is reachable only from this host: put a TLS proxy in front.")),
    cfg.PortOpt("bind_port", default=8970, help="TCP port to listen on."),
    cfg.Opt("public_endpoint", type=Endpoint(), help=(
        "Base URL under which clients reach this service, for the Location of new uploads. Unset: taken "
        "from each request, with X-Forwarded-Proto and -For obeyed when they come from trusted_proxies.")),
    cfg.ListOpt("trusted_proxies", item_type=Network(), default=[], help=(
        "IP addresses or networks whose X-Forwarded-* headers are believed, separated by commas. The "
        "same headers from anybody else are ignored, since a client can write them itself.")),
    cfg.Opt("instance", type=InstanceName(), default="a", help=(
        "Name of this instance: 1 to 16 characters of a-z and 0-9, and the first part of every upload id that it "
        "creates. Give each instance its own, so that a load balancer can send a chunk where its upload lives.")),
    cfg.StrOpt("auth_strategy", default="keystone", choices=["keystone", "noauth"], help=(
        "keystone: requests carry a token that Keystone validates. noauth: anyone may do anything; for "
        "development, and only with a loopback bind_host.")),
    cfg.StrOpt("image_service", default="glance", choices=["glance", "directory"], help=(
        "Where finished uploads go. directory writes files into image_directory, for development.")),
    cfg.StrOpt("image_directory", default="/var/lib/resumable-glance/images", help=(
        "Directory of the image service `directory`; not used otherwise.")),
    cfg.IntOpt("max_upload_size", default=1024 * GiB, min=1, help=(
        "Largest upload, in bytes. The default is Glance's own image_size_cap, 1 TiB: a larger image would only be "
        "refused after it had been sent.")),
    cfg.IntOpt("max_chunk_size", default=1 * GiB, min=1 * MiB, help=(
        "Largest chunk, in bytes. A chunk costs no memory, but a chunk with a digest that does not hold is lost as "
        "a whole, so that smaller ones are cheaper on a bad link.")),
    cfg.IntOpt("upload_expiry", default=7 * 24 * 3600, min=60, help=(
        "Seconds without a new byte after which an unfinished upload is removed. A week outlasts a holiday weekend "
        "and a repaired link.")),
    cfg.IntOpt("record_retention", default=30 * 24 * 3600, min=60, help=(
        "Seconds for which the record of an upload that has ended (active, cancelled, expired) can still be asked "
        "for. It holds no image data.")),
    cfg.IntOpt("idle_timeout", default=60, min=1, help=(
        "Seconds without a byte of a chunk's body after which the request is ended; what has come is kept unless "
        "the chunk declared a digest. Shorter than what common proxies wait, so that the client hears it from us.")),
    cfg.IntOpt("min_rate", default=128, min=0, help=(
        "Bytes a second that a chunk's body must bring on average over idle_timeout, else it is ended as if nothing "
        "had come: who sends a byte a minute holds a connection for ever. 0: any rate will do.")),
    cfg.IntOpt("head_timeout", default=20, min=1, help=(
        "Seconds within which the head of a request must have come, and what is left of a body that nobody wants. "
        "Heads are small: who takes longer than this only wants to hold a connection.")),
    cfg.IntOpt("graceful_timeout", default=30, min=1, help=(
        "Seconds that a stop waits for running requests to answer before it ends them.")),
]

HANDOFF_OPTS = [
    cfg.IntOpt("workers", default=2, min=1, max=64, help=(
        "How many uploads are handed to Glance at the same time. Each costs a thread, which is busy hashing, "
        "and Glance a worker.")),
    cfg.IntOpt("attempts", default=3000, min=0, help=(
        "After how many attempts in a row an upload fails; its bytes are kept, and its owner can ask for another try. "
        "They are at most a minute apart, so that the default is about two days: longer than most outages. An upload "
        "that waits for a fresh token of its owner does not fail. 0: never.")),
    cfg.IntOpt("glance_timeout", default=900, min=1, help=(
        "Seconds that Glance may take after an image's last byte. It moves all of them within some stores before it "
        "answers. An image that is `saving` for longer is stuck (Glance was killed), and replaced by a new one.")),
    cfg.IntOpt("abort_grace", default=60, min=1, help=(
        "Seconds for which an image may stay `saving` after a delivery was broken off in the middle. Glance itself "
        "notices at once, what stands in front of it may take as long as its time-outs. Then it is stuck, as above.")),
    cfg.IntOpt("early_workers", default=2, min=0, max=64, help=(
        "How many uploads are given to Glance while they still come, besides those of workers: their images "
        "are active a moment after the last chunk. Each costs a thread, and a worker of Glance for as long as the "
        "upload takes (at most an hour; those that come more slowly are handed over afterwards). 0: none.")),
    cfg.IntOpt("early_minimum_size", default=64 * MiB, min=0, help=(
        "Bytes that an upload must have to be given to Glance while it still comes: with fewer, nobody notices.")),
]

LIMITS_OPTS = [
    cfg.IntOpt("uploads_per_project", default=200, min=0, help=(
        "Unfinished uploads that a project may have at a time; parts (tus: concatenation) count each. 0: any number.")),
    cfg.IntOpt("bytes_per_project", default=0, min=0, help=(
        "Bytes of scratch that the unfinished uploads of a project may fill together, so that one project can't take "
        "all of it. 0: as many as there are.")),
    cfg.IntOpt("creations_per_minute", default=600, min=0, help=(
        "How many uploads a project may create within a minute; each costs requests to Glance. 0: any number.")),
    cfg.IntOpt("requests_per_project", default=12_000, min=0, help=(
        "How many requests of any kind a project may make within a minute, apart from how many bytes: 200 a second are "
        "1 GiB/s with chunks of 5 MiB. It keeps a client that asks in a loop from all others. Parts of uploads and "
        "progress count, too. 0: any number.")),
    cfg.IntOpt("requests_per_peer", default=0, min=0, help=(
        "How many requests an address (of IPv6: a /64) may make within a minute, with or without a token. Set it only "
        "if clients come directly, or if trusted_proxies names all proxies: else everybody has the address of the "
        "proxy, and uploads of all end together. 0: any number.")),
    cfg.IntOpt("connections", default=0, min=0, help=(
        "How many connections may be open at a time; one more is answered 503 and ended. 0: half as many as the "
        "process may open files, for a chunk has a file open, too. Clients whose uploads meet it try again.")),
    cfg.IntOpt("connections_per_peer", default=0, min=0, help=(
        "How many connections may be open from one address (of IPv6: a /64); those of trusted_proxies are not counted. "
        "For a service that clients reach directly; a proxy has limits of its own. One client uploads with a handful. "
        "0: any number.")),
    cfg.IntOpt("head_size", default=128 * 1024, min=8 * 1024, help=(
        "Largest head of a request, in bytes: its address and headers. 1000 parts of a tus upload, named with their "
        "addresses in one header, have about 75 KiB.")),
    cfg.IntOpt("head_fields", default=100, min=20, help=(
        "How many headers a request may have. Browsers and proxies send about 30 for uploads.")),
    cfg.IntOpt("streams_per_project", default=100, min=0, help=(
        "How many streams of events (progress of uploads, as it happens) a project may have open at a time; each holds "
        "a connection. Beyond, clients poll. 0: any number.")),
]

SCRATCH_OPTS = [
    cfg.StrOpt("directory", default="/var/lib/resumable-glance/scratch", help=(
        "Directory where bytes wait until they are in Glance. On a local file system (ext4, xfs) that obeys fsync; "
        "not shared with another instance.")),
    cfg.IntOpt("reserved_space", default=1 * GiB, min=0, help=(
        "Bytes of the file system that are never promised to uploads, for whatever else lives there.")),
    cfg.IntOpt("commit_size", default=16 * MiB, min=1 * MiB, help=(
        "Bytes of a chunk without a digest after which they are made durable and count. A crash costs a client at "
        "most this much per running chunk (all of one that repeats durable bytes); each commit costs two flushes.")),
]

DATABASE_OPTS = [
    cfg.StrOpt("connection", default="sqlite:////var/lib/resumable-glance/catalog.sqlite", secret=True, help=(
        "SQLAlchemy URL of the catalog: SQLite in a file on a local disk. Other databases are refused for now.")),
]

CREDENTIALS_OPTS = [
    cfg.StrOpt("key_file", default="/var/lib/resumable-glance/credentials.key", help=(
        "File with the key that encrypts owners' tokens in the catalog while their images wait for Glance. Made "
        "with mode 0600 if missing; one key a line, the first encrypts, all decrypt. Keep it away from backups of "
        "the catalog.")),
]

TICKETS_OPTS = [
    cfg.IntOpt("lifetime", default=24 * 3600, min=60, max=30 * 24 * 3600, help=(
        "Seconds for which a ticket opens its upload. A day outlasts most uploads; who has one that takes longer gets "
        "a new ticket with a token, and an owner can revoke what was issued.")),
]

TRUSTS_OPTS = [
    cfg.BoolOpt("enabled", default=False, help=(
        "Whether each new upload gets a Keystone trust of its owner for our service user, with which its image is "
        "handed over however old the owner's token is by then. Off, since a trust is more than a token: whoever breaks "
        "in here can act for the owners of unfinished uploads for as long as those trusts live.")),
    cfg.IntOpt("lifetime", default=30 * 24 * 3600, min=3600, help=(
        "Seconds after which a trust ends by itself. By then most uploads are done, and theirs have been removed.")),
]

IMAGE_FORMAT_OPTS = [
    cfg.BoolOpt("enabled", default=True, help=(
        "Whether the bytes of images in container_format bare are looked into as they come, with the inspectors and "
        "by the rules of Glance: what it would refuse after the last byte is refused after the first MiB. Counts for "
        "uploads that are created from now on.")),
    cfg.BoolOpt("require_image_format_match", default=True, help=(
        "Whether the bytes must be of the disk_format that was declared; raw may be anything. Set it as in "
        "[image_format] of Glance.")),
    cfg.ListOpt("gpt_safety_checks_nonfatal", default=[], help=(
        "Names of the checks of a partition table that may fail, separated by commas. Set it as in [image_format] of "
        "Glance.")),
    cfg.IntOpt("max_virtual_size", default=0, min=0, help=(
        "Largest disk that an image may hold, in bytes; a small file can say that it is of any size. 0: any, for "
        "Nova compares it with the flavor anyway.")),
]

CORS_OPTS = [
    cfg.ListOpt("allowed_origin", item_type=Origin(), default=[], help=(
        "Origins (scheme://host[:port], no path) of dashboards whose pages may upload, separated by commas. "
        "Exact matches only. Unset: browsers may use the service from its own origin only.")),
    cfg.IntOpt("max_age", default=3600, min=0, help="Seconds for which a browser may remember a preflight answer."),
]

PAGE_OPTS = [
    cfg.BoolOpt("enabled", default=True, help=(
        "Whether a browser that comes to `/` gets a page for uploads. Programs get JSON there in any case.")),
    cfg.BoolOpt("sign_in", default=False, help=(
        "Whether the page takes a Keystone token, so that its user can create uploads. The page keeps it in memory "
        "alone, and exchanges it for a ticket of each upload. Off: who has a ticket (a link) can use the page; a cloud "
        "token pasted into a page is a habit that not every operator wants.")),
]

TOKEN_OPTS = [
    cfg.IntOpt("token_cache_time", default=60, min=0, max=3600, help=(
        "Seconds for which Keystone's word on a token is believed. A revoked token works for at most this long; "
        "chunks come so often that asking each time would be most of Keystone's work.")),
]
# fmt: on

GROUPS: dict[str, Sequence[cfg.Opt]] = {
    "DEFAULT": DEFAULT_OPTS,
    "handoff": HANDOFF_OPTS,
    "limits": LIMITS_OPTS,
    "scratch": SCRATCH_OPTS,
    "database": DATABASE_OPTS,
    "credentials": CREDENTIALS_OPTS,
    "tickets": TICKETS_OPTS,
    "trusts": TRUSTS_OPTS,
    "image_format": IMAGE_FORMAT_OPTS,
    "cors": CORS_OPTS,
    "page": PAGE_OPTS,
    "keystone_authtoken": TOKEN_OPTS,
}


def register(conf: cfg.ConfigOpts) -> None:
    from oslo_log import log

    for group, options in GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    log.register_options(conf)


def list_opts() -> Iterator[tuple[str, Sequence[cfg.Opt]]]:
    """For oslo-config-generator, oslo-config-validator and the documentation."""
    yield from ((group, options) for group, options in GROUPS.items() if group != "keystone_authtoken")
    yield "keystone_authtoken", [*TOKEN_OPTS, *_keystoneauth_opts(adapter=False)]
    yield "glance", _keystoneauth_opts(adapter=True)


def _keystoneauth_opts(adapter: bool) -> list[cfg.Opt]:
    # keystoneauth1 takes 130 ms to import: only where it is needed.
    from keystoneauth1 import loading

    options = list(loading.get_session_conf_options())
    next(each for each in options if each.name == "timeout").default = SESSION_TIMEOUT
    if adapter:
        return options + list(loading.get_adapter_conf_options(include_deprecated=False))
    return (
        options
        + list(loading.get_auth_common_conf_options())
        + [each for each in loading.get_auth_plugin_conf_options("password") if each.name != "auth_section"]
    )
