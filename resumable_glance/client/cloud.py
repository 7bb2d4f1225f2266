"""Who the user is: what clouds.yaml, OS_* and --os-* say, as the openstack command reads them, or nobody.

keystoneauth1 and openstacksdk take up to two seconds to import: only here, and only when they are needed.
"""

from __future__ import annotations

import argparse
import logging
import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resumable_glance import __version__
from resumable_glance.client import Failure

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion

_OPTIONS = {
    "cloud": "the cloud in clouds.yaml",
    "auth-url": "Keystone's URL",
    "auth-type": "the authentication plugin; 'none' uses no Keystone",
    "username": "the user's name",
    "user-id": "or the user's id",
    "user-domain-name": "the user's domain",
    "user-domain-id": "or its id",
    "password": "the password; better in clouds.yaml or OS_PASSWORD, where no other user sees it",
    "project-name": "the project",
    "project-id": "or its id",
    "project-domain-name": "the project's domain",
    "project-domain-id": "or its id",
    "application-credential-id": "an application credential",
    "application-credential-name": "or its name, with the user",
    "application-credential-secret": "its secret",
    "token": "a token instead of a password; it can't be renewed, so that a long upload may outlive it",
    "region-name": "the region",
    "interface": "public, internal or admin",
    "cacert": "a file with the certificates to trust",
}
_VARIABLES = ("OS_CLOUD", "OS_AUTH_URL", "OS_AUTH_TYPE", "OS_CLIENT_CONFIG_FILE", "OS_TOKEN", "OS_ENDPOINT")
_DIRECTORIES = (".", "~/.config/openstack", "/etc/openstack")


@dataclass(frozen=True, slots=True)
class Cloud:
    """A keystoneauth1 session and where in the catalogue to look. Without `authenticated` there is no catalogue."""

    session: Session
    authenticated: bool
    interface: str | list[str] | None = None
    region_name: str | None = None

    def close(self) -> None:
        """Close the connections that are open."""
        self.session.session.close()  # keystoneauth1 closes only sessions that it made itself


def add_options(parser: argparse.ArgumentParser) -> None:
    """The standard options of OpenStack commands. Each can be an OS_* variable or stand in clouds.yaml instead."""
    group = parser.add_argument_group(
        "OpenStack", "as for the openstack command; OS_* variables and clouds.yaml are read too"
    )
    for name, explanation in _OPTIONS.items():
        group.add_argument(f"--os-{name}", metavar=name.upper().replace("-", "_"), help=explanation)
    group.add_argument("--insecure", action="store_true", default=None, help="do not look at TLS certificates")


def connect(arguments: argparse.Namespace, connections: int) -> Cloud:
    """A session for up to `connections` requests at once. Failure names what is missing in the configuration."""
    # What it warns of (Keystone does not answer) is said by us, once, and in other words.
    logging.getLogger("keystoneauth").setLevel(logging.ERROR)
    region = _region(arguments) if _is_configured(arguments) else None
    if region is None:
        from keystoneauth1.noauth import NoAuth

        return Cloud(_session(NoAuth(), connections, verify=not arguments.insecure), authenticated=False)
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
    # Neither follows redirects nor tries again by itself: client.plan decides, who knows what is durable.
    return session.Session(
        auth=auth,  # type: ignore[arg-type]
        session=pool,
        redirect=False,
        connect_retries=0,
        app_name="resumable-glance",
        app_version=__version__,
        **options,  # type: ignore[arg-type]
    )


def _is_configured(arguments: argparse.Namespace) -> bool:
    """Whether there is anything at all that openstacksdk would have to read."""
    if any(os.environ.get(each) for each in _VARIABLES):
        return True
    if any(value for name, value in vars(arguments).items() if name.startswith("os_")):
        return True
    homes = [pathlib.Path(each).expanduser() for each in _DIRECTORIES]
    return any((home / f"clouds.{ending}").exists() for home in homes for ending in ("yaml", "yml", "json"))


def _region(arguments: argparse.Namespace) -> CloudRegion | None:
    """What the configuration says; None if it names no cloud to authenticate at."""
    from keystoneauth1.exceptions import ClientException, auth_plugins
    from openstack.config import OpenStackConfig
    from openstack.exceptions import SDKException

    given = {name: value for name, value in vars(arguments).items() if name.startswith("os_") or name == "insecure"}
    chosen = argparse.Namespace(**given)
    try:
        config = OpenStackConfig()
        peeked = config.get_one(argparse=chosen, validate=False).config
        if not (peeked.get("auth") or {}).get("auth_url") and not peeked.get("auth_url") and not _explicit(arguments):
            return None
        return config.get_one(argparse=chosen)
    except (SDKException, ClientException, auth_plugins.AuthPluginException) as problem:
        raise Failure(f"The OpenStack configuration is not complete: {problem}") from None


def _explicit(arguments: argparse.Namespace) -> bool:
    return any(os.environ.get(each) for each in _VARIABLES) or bool(arguments.os_cloud or arguments.os_auth_type)
