"""Keystone trusts (OS-TRUST): an owner lets our service user act for them, where things take longer than tokens live.

Its one rule: a trust is a convenience. Where none can be made or used, everything goes on as without one.
keystoneauth1 blocks and takes 130 ms to import: it runs in threads and is imported where it is used.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from oslo_config import cfg

from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.runtime.threads import Threads

if TYPE_CHECKING:
    from keystoneauth1.session import Session

LOG = logging.getLogger(__name__)
GROUP = "keystone_authtoken"
MAX_THREADS = 4  # questions to Keystone
_SCOPES = ("project_id", "project_name", "project_domain_id", "project_domain_name", "domain_id", "domain_name",
           "system_scope")  # fmt: skip


class Trusts(Protocol):
    """Each may raise Refused(IDENTITY_UNAVAILABLE): nobody can tell right now."""

    async def make(self, identity: Identity) -> str | None:
        """The id of a new trust of this identity, with the roles of its token; None if it may not make any."""

    async def token(self, trust_id: str) -> str | None:
        """A fresh token of the owner; None if the trust is over, or no longer good."""

    async def end(self, trust_id: str) -> None:
        """The trust is over. It is no error if it was."""


class KeystoneTrusts:
    """`session` is our service user's, from `conf`; a trust ends by itself after `lifetime` seconds."""

    def __init__(
        self, conf: cfg.ConfigOpts, session: Session, lifetime: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._conf = conf
        self._session = session
        self._lifetime = lifetime
        self._clock = clock
        self._threads = Threads(MAX_THREADS, "trusts")

    async def make(self, identity: Identity) -> str | None:
        return await self._threads.run(self._make, identity)

    async def token(self, trust_id: str) -> str | None:
        return await self._threads.run(self._token, trust_id)

    async def end(self, trust_id: str) -> None:
        await self._threads.run(self._end, trust_id)

    def _make(self, identity: Identity) -> str | None:
        end = datetime.datetime.fromtimestamp(self._clock() + self._lifetime, datetime.UTC)
        trust = {
            "trustor_user_id": identity.owner.user_id,
            "trustee_user_id": self._session.get_user_id(),
            "project_id": identity.owner.project_id,
            "impersonation": True,
            "roles": [{"name": each} for each in identity.roles],
            "expires_at": end.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        answer = self._ask("POST", "", str(identity.token), json={"trust": trust})
        if answer.status_code != 201:  # application credentials may not, nor may what was made with one
            LOG.info("no trust for user %s: Keystone says %s", identity.owner.user_id, answer.status_code)
            return None
        return str(answer.json()["trust"]["id"])

    def _token(self, trust_id: str) -> str | None:
        from keystoneauth1 import exceptions, loading

        unscoped: dict[str, Any] = dict.fromkeys(_SCOPES)
        try:
            auth = loading.load_auth_from_conf_options(self._conf, GROUP, trust_id=trust_id, **unscoped)
            return None if auth is None else auth.get_token(self._session)
        except (exceptions.Unauthorized, exceptions.Forbidden, exceptions.NotFound) as problem:
            LOG.info("the trust %s is of no use: %s", trust_id, problem)
            return None
        except exceptions.ClientException as problem:
            raise _unavailable(problem) from problem

    def _end(self, trust_id: str) -> None:
        token = self._token(trust_id)  # its owner may end it, and so may we in the owner's name
        if token is None:
            return
        answer = self._ask("DELETE", f"/{trust_id}", token)
        if answer.status_code not in {204, 404}:
            LOG.warning("the trust %s can't be ended: Keystone says %s", trust_id, answer.status_code)

    def _ask(self, method: str, path: str, token: str, **more: Any) -> Any:
        from keystoneauth1 import exceptions, plugin

        try:
            answer = self._session.request(
                f"/OS-TRUST/trusts{path}",
                method,
                endpoint_filter={"interface": plugin.AUTH_INTERFACE, "version": (3, 0)},
                authenticated=False,
                headers={"X-Auth-Token": token},
                raise_exc=False,
                **more,
            )
        except exceptions.ClientException as problem:
            raise _unavailable(problem) from problem
        if answer.status_code >= 500:
            raise _unavailable(answer.status_code)
        return answer


def _unavailable(problem: object) -> Refused:
    LOG.error("Keystone can't be asked about a trust: %s", problem)
    return Refused(Reason.IDENTITY_UNAVAILABLE, "The identity service can't be asked right now. Try again soon.")
