"""An authenticator that validates tokens with Keystone (identity API v3, `GET /v3/auth/tokens`).

Identities are cached in memory for a limited time, by the sha256 of their token, and never longer than the token lives.
keystoneauth1 blocks and takes 130 ms to import: it runs in threads, and is imported where it is used.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cachetools import TLRUCache
from oslo_config import cfg

from resumable_glance.auth.base import OWN, Identity, Right
from resumable_glance.errors import CannotStart, Reason, Refused
from resumable_glance.model.upload import Owner
from resumable_glance.runtime.config import SESSION_TIMEOUT
from resumable_glance.runtime.threads import Threads

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from requests import Response

LOG = logging.getLogger(__name__)
GROUP = "keystone_authtoken"
CACHED_TOKENS = 10_000
MAX_TOKEN_LENGTH = 16 * 1024  # characters
MAX_THREADS = 16  # for requests to Keystone


def service_session(conf: cfg.ConfigOpts) -> Session:
    """Return a session of our service user, from [keystone_authtoken]. Raise CannotStart if an option is missing."""
    from keystoneauth1 import exceptions, loading

    loading.register_session_conf_options(conf, GROUP)
    conf.set_default("timeout", SESSION_TIMEOUT, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    try:
        auth = loading.load_auth_from_conf_options(conf, GROUP)
    except (exceptions.AuthPluginException, cfg.Error) as problem:
        raise CannotStart(f"[{GROUP}]: {problem}") from problem
    if auth is None:
        raise CannotStart(
            f"[{GROUP}] auth_type is not set. Configure the service user that validates tokens: auth_type = password"
        )
    return loading.load_session_from_conf_options(conf, GROUP, auth=auth)


class KeystoneAuthenticator:
    """Validates tokens. `cache_time` in seconds; `clock` gives seconds since the epoch; `rights` is the policy."""

    def __init__(
        self,
        session: Session,
        cache_time: float,
        clock: Callable[[], float] = time.time,
        rights: Callable[[Identity], frozenset[Right]] = lambda _: OWN,
    ) -> None:
        self._session = session
        self._rights = rights
        self._cache: TLRUCache[bytes, Identity] = TLRUCache(
            CACHED_TOKENS, ttu=lambda _, identity, now: min(now + cache_time, identity.expires_at), timer=clock
        )
        self._running: dict[bytes, asyncio.Task[Identity]] = {}
        self._threads = Threads(MAX_THREADS, "keystone")

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        token = headers.get("x-auth-token", "")
        if not token or len(token) > MAX_TOKEN_LENGTH or not token.isascii() or not token.isprintable():
            raise Refused(Reason.UNAUTHENTICATED, "Send a project-scoped Keystone token in X-Auth-Token.")
        key = hashlib.sha256(token.encode()).digest()
        return self._cache.get(key) or await self._validated(key, token)

    async def check(self) -> None:
        await self._threads.run(request, self._session, "GET", "", authenticated=False, raise_exc=True)

    async def _validated(self, key: bytes, token: str) -> Identity:
        # Parallel chunks with a new token share one request to Keystone, which continues if one of them is cancelled.
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._threads.run(self._validate, token))
            self._running[key].add_done_callback(lambda _: self._running.pop(key))
        identity = await asyncio.shield(self._running[key])
        self._cache[key] = identity
        return identity

    def _validate(self, token: str) -> Identity:
        response = request(self._session, "GET", "/auth/tokens?nocatalog", headers={"X-Subject-Token": token})
        if response.status_code == 404:
            raise Refused(Reason.UNAUTHENTICATED, "The token is unknown, revoked or expired. Get a new one.")
        if response.status_code != 200:
            raise unavailable(f"status {response.status_code}; may our service user validate tokens?")
        try:
            identity = _identity(response.json()["token"], token)
        except (KeyError, TypeError, ValueError) as problem:
            raise unavailable(f"the response is not one of Keystone: {problem!r}") from problem
        return dataclasses.replace(identity, allowed=self._rights(identity))


def request(session: Session, method: str, path: str, *, raise_exc: bool = False, **options: Any) -> Response:
    """Return Keystone's response to a request; with `raise_exc` only one without an error status.

    Raises Refused: IDENTITY_UNAVAILABLE if none comes.
    """
    from keystoneauth1 import exceptions, plugin

    keystone = {"interface": plugin.AUTH_INTERFACE, "version": (3, 0)}
    try:
        return session.request(path, method, endpoint_filter=keystone, raise_exc=raise_exc, **options)
    except exceptions.ClientException as problem:
        raise unavailable(problem) from problem


def unavailable(problem: object) -> Refused:
    """Log a failed request to Keystone, and return the refusal for the client."""
    LOG.error("a request to Keystone failed: %s", problem)
    return Refused(Reason.IDENTITY_UNAVAILABLE, "The identity service is unavailable. Try again soon.", retry_after=5)


def _identity(described: Mapping[str, Any], token: str) -> Identity:
    system = "system" in described and bool(described["system"])
    if "project" not in described and not system:
        raise Refused(Reason.FORBIDDEN, "The token is not scoped to a project. Get one that is.")
    expires_at = datetime.datetime.fromisoformat(described["expires_at"]).timestamp()
    roles = tuple(each["name"] for each in described.get("roles", ()))
    project_id = "" if system else described["project"]["id"]
    return Identity(Owner(project_id, described["user"]["id"]), token, expires_at, roles=roles, system=system)
