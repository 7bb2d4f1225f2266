"""The options of `upload` and `uploads` that name the service and the user."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TypeVar

from resumable_glance.client import Cloud, connect
from resumable_glance.client.api import DEVELOPMENT_URL, SERVICE_TYPE, URL_VARIABLE

T = TypeVar("T")

_OPENSTACK = {
    "cloud": "name of the cloud in clouds.yaml",
    "auth-url": "URL of Keystone",
    "auth-type": "authentication plugin (default: password); 'none' does not use Keystone",
    "username": "name of the user",
    "user-id": "ID of the user",
    "user-domain-name": "name of the user's domain",
    "user-domain-id": "ID of the user's domain",
    "password": "password; other local users can see it here, so prefer clouds.yaml or OS_PASSWORD",
    "project-name": "name of the project",
    "project-id": "ID of the project",
    "project-domain-name": "name of the project's domain",
    "project-domain-id": "ID of the project's domain",
    "application-credential-id": "ID of an application credential",
    "application-credential-name": "name of an application credential; needs the user as well",
    "application-credential-secret": "secret of the application credential",
    "token": "token instead of a password; it cannot be renewed, so a long upload may outlive it",
    "region-name": "name of the region",
    "interface": "public (default), internal or admin",
    "cacert": "file of certificates to trust",
}


def matching(pattern: str, meaning: str, convert: Callable[[str], T]) -> Callable[[str], T]:
    """Return a type of arguments: text that is `meaning` if it matches `pattern` as a whole."""

    def parse(text: str) -> T:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is not {meaning}")
        return convert(text)

    return parse


def add_service_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--service-url", metavar="URL",
        help=f"URL of the service (default: ${URL_VARIABLE}, else the {SERVICE_TYPE} service in Keystone's catalog; "
        f"without OpenStack credentials {DEVELOPMENT_URL})",
    )  # fmt: skip
    group = command.add_argument_group(
        "OpenStack", "The options of the openstack command; each can also be an OS_* variable or in clouds.yaml."
    )
    for name, explanation in _OPENSTACK.items():
        group.add_argument(f"--os-{name}", metavar=name.rpartition("-")[2].upper(), help=explanation)
    group.add_argument("--insecure", action="store_true", default=None, help="do not verify TLS certificates")


def connect_as(arguments: argparse.Namespace, connections: int) -> Cloud:
    """Return a session with the user's credentials. Raise ClientError if they are incomplete."""
    options = {
        name.removeprefix("os_"): value
        for name, value in vars(arguments).items()
        if name.startswith("os_") or name == "insecure"
    }
    return connect(options, connections)
