"""A gate that asks Keystone (identity API v3, `GET /v3/auth/tokens`) whose token it is.

Keystone's word is kept for a bounded time in memory, under the token's sha256, and never past the token's
own end. keystoneauth1 blocks and takes 130 ms to import: it runs in threads and is imported where it is used.
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

LOG = logging.getLogger(__name__)
GROUP = "keystone_authtoken"
CACHED_TOKENS = 10_000
MAX_TOKEN_LENGTH = 16 * 1024  # characters
MAX_THREADS = 16  # questions to Keystone


def service_session(conf: cfg.ConfigOpts) -> Session:
    """A session as our own service user, from [keystone_authtoken]. Raises CannotStart if that is not enough."""
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
            f"[{GROUP}] auth_type is not set: which user may ask Keystone about tokens? (auth_type = password)"
        )
    return loading.load_session_from_conf_options(conf, GROUP, auth=auth)


class KeystoneAuthenticator:
    """`cache_time` in seconds; `clock` gives seconds since the epoch; `rights` tells what somebody may do."""

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
        self._asking: dict[bytes, asyncio.Task[Identity]] = {}
        self._threads = Threads(MAX_THREADS, "keystone")

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        token = headers.get("x-auth-token", "")
        if not token or len(token) > MAX_TOKEN_LENGTH or not token.isascii() or not token.isprintable():
            raise Refused(Reason.UNAUTHENTICATED, "Send a Keystone token of a project in X-Auth-Token.")
        key = hashlib.sha256(token.encode()).digest()
        return self._cache.get(key) or await self._asked(key, token)

    async def check(self) -> None:
        await self._threads.run(self._ping)

    def _ping(self) -> None:
        from keystoneauth1 import exceptions, plugin

        version = {"interface": plugin.AUTH_INTERFACE, "version": (3, 0)}
        try:
            self._session.get("", endpoint_filter=version, authenticated=False)
        except exceptions.ClientException as problem:
            LOG.error("Keystone can't be asked: %s", problem)
            raise _unavailable() from problem

    async def _asked(self, key: bytes, token: str) -> Identity:
        # Parallel chunks with a new token ask Keystone once, and a chunk that goes away does not stop the others.
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._threads.run(self._ask, token))
            self._asking[key].add_done_callback(lambda _: self._asking.pop(key))
        identity = await asyncio.shield(self._asking[key])
        self._cache[key] = identity
        return identity

    def _ask(self, token: str) -> Identity:
        from keystoneauth1 import exceptions, plugin

        try:
            answer = self._session.get(
                "/auth/tokens?nocatalog",
                endpoint_filter={"interface": plugin.AUTH_INTERFACE, "version": (3, 0)},
                headers={"X-Subject-Token": token},
                raise_exc=False,
            )
        except exceptions.ClientException as problem:
            LOG.error("Keystone can't be asked about a token: %s", problem)
            raise _unavailable() from problem
        if answer.status_code == 404:
            raise Refused(Reason.UNAUTHENTICATED, "The token is unknown, revoked or expired. Get a new one.")
        if answer.status_code != 200:
            LOG.error("Keystone answered %s about a token; may our service user ask?", answer.status_code)
            raise _unavailable()
        try:
            identity = _identity(answer.json()["token"], token)
        except (KeyError, TypeError, ValueError) as problem:
            LOG.error("what answered about a token is not Keystone: %r", problem)
            raise _unavailable() from problem
        return dataclasses.replace(identity, allowed=self._rights(identity))


def _unavailable() -> Refused:
    return Refused(
        Reason.IDENTITY_UNAVAILABLE, "The identity service can't be asked right now. Try again soon.", retry_after=5
    )


def _identity(described: Mapping[str, Any], token: str) -> Identity:
    system = "system" in described and bool(described["system"])
    if "project" not in described and not system:
        raise Refused(Reason.FORBIDDEN, "The token belongs to no project. Get one that is scoped to a project.")
    expires_at = datetime.datetime.fromisoformat(described["expires_at"]).timestamp()
    roles = tuple(each["name"] for each in described.get("roles", ()))
    project_id = "" if system else described["project"]["id"]
    return Identity(Owner(project_id, described["user"]["id"]), token, expires_at, roles=roles, system=system)
