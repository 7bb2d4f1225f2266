"""OpenStack credentials: clouds.yaml, OS_* variables and options, read as the openstack command reads them; or none.

keystoneauth1 and openstacksdk take up to two seconds to import, so they are imported only here and only when used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resumable_glance import __version__
from resumable_glance.client.errors import ClientError

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion

_VARIABLES = ("OS_CLOUD", "OS_AUTH_URL", "OS_AUTH_TYPE", "OS_CLIENT_CONFIG_FILE", "OS_TOKEN", "OS_ENDPOINT")
_DIRECTORIES = (".", "~/.config/openstack", "/etc/openstack")


@dataclass(frozen=True, slots=True)
class Cloud:
    """A keystoneauth1 session, and the interface and region to look up in the catalog.

    Without `authenticated` there is neither a token nor a catalog. Usable as a context manager, which closes it.
    """

    session: Session
    authenticated: bool
    interface: str | list[str] | None = None
    region_name: str | None = None

    def __enter__(self) -> Cloud:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the open connections."""
        self.session.session.close()  # keystoneauth1 closes only sessions that it made itself


def connect(options: Mapping[str, Any] = {}, connections: int = 4) -> Cloud:
    """Return a session for up to `connections` requests at a time. Raise ClientError for an incomplete configuration.

    `options` are those of openstack.config, such as `cloud`, `auth_url`, `username`, `region_name` or `insecure`; they
    take precedence over clouds.yaml and OS_* variables.
    """
    # Its warnings (Keystone does not respond) repeat what our own messages say.
    logging.getLogger("keystoneauth").setLevel(logging.ERROR)
    given = {name: value for name, value in options.items() if value not in (None, "")}
    region = _region(given) if _is_configured(given) else None
    if region is None:
        from keystoneauth1.noauth import NoAuth

        return Cloud(_session(NoAuth(), connections, verify=not given.get("insecure")), authenticated=False)
    verify, certificate = region.get_requests_verify_args()
    return Cloud(
        _session(region.get_auth(), connections, verify=verify, cert=certificate),
        authenticated=region.config.get("auth_type") not in {"none", "noauth"},
        interface=region.get_interface(),
        region_name=region.get_region_name() or None,
    )


def _session(auth: object, connections: int, **options: object) -> Session:
    import requests
    from keystoneauth1 import session

    pool = requests.Session()
    for scheme in ("http://", "https://"):
        pool.mount(scheme, session.TCPKeepAliveAdapter(pool_maxsize=connections + 2))
    # No redirects and no retries here: client.plan decides both, since it knows which bytes are durable.
    return session.Session(
        auth=auth,  # type: ignore[arg-type]
        session=pool,
        redirect=False,
        connect_retries=0,
        app_name="resumable-glance",
        app_version=__version__,
        **options,  # type: ignore[arg-type]
    )


def _is_configured(options: Mapping[str, Any]) -> bool:
    """Return whether openstacksdk has anything to read."""
    if any(os.environ.get(each) for each in _VARIABLES) or options.keys() - {"insecure"}:
        return True
    homes = [Path(each).expanduser() for each in _DIRECTORIES]
    return any((home / f"clouds.{ending}").exists() for home in homes for ending in ("yaml", "yml", "json"))


def _region(options: Mapping[str, Any]) -> CloudRegion | None:
    """Return the configured region; None if the configuration names no cloud to authenticate with."""
    from keystoneauth1.exceptions import ClientException, auth_plugins
    from openstack.config import OpenStackConfig
    from openstack.exceptions import SDKException

    try:
        config = OpenStackConfig()
        found = config.get_one(validate=False, **options).config
        explicit = any(os.environ.get(each) for each in _VARIABLES) or options.keys() & {"cloud", "auth_type"}
        if not (found.get("auth") or {}).get("auth_url") and not found.get("auth_url") and not explicit:
            return None
        return config.get_one(**options)
    except (SDKException, ClientException, auth_plugins.AuthPluginException) as problem:
        raise ClientError(f"The OpenStack configuration is incomplete: {problem}") from None
