"""Types of option values that oslo.config lacks."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse

from oslo_config import types

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(types.URI):
    """The base URL of a service, without a slash at its end."""

    def __init__(self) -> None:
        super().__init__(schemes=["http", "https"])

    def __call__(self, value: object) -> str:
        return str(super().__call__(value)).rstrip("/")


class Origin(types.String):
    """A web origin as browsers send it, scheme://host[:port] (RFC 6454). One that never matches is refused."""

    def __call__(self, value: object) -> str:
        text = str(super().__call__(value))
        parts = urllib.parse.urlsplit(text)
        host = parts.hostname or ""
        if parts.scheme not in _DEFAULT_PORTS or not re.fullmatch(r"[A-Za-z0-9.:-]+", host) or "@" in parts.netloc:
            raise ValueError(f"{text!r} is not an origin: write scheme://host[:port], without wildcards")
        if parts.netloc.endswith(":") or parts.port == _DEFAULT_PORTS[parts.scheme]:
            origin = f"{parts.scheme}://{parts.netloc.rpartition(':')[0]}"
            raise ValueError(f"{text!r} never matches, since browsers omit the default port: write {origin}")
        origin = f"{parts.scheme}://{parts.netloc}"
        if text != origin:
            raise ValueError(f"{text!r} has a path, which an origin does not have: write {origin}")
        if text != text.lower():
            raise ValueError(f"{text!r} never matches, since browsers send lower case: write {text.lower()}")
        return text


class Network(types.String):
    """An IP address, or a network in CIDR notation."""

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
