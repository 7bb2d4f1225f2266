"""Keystone trusts (OS-TRUST), by which our service user can act for an owner longer than a token lives.

If a trust can't be created or used, uploads continue without it. keystoneauth1 blocks and takes 130 ms to import: it
runs in threads, and is imported where it is used.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from oslo_config import cfg

from resumable_glance.auth.base import Identity
from resumable_glance.auth.keystone import GROUP, request, unavailable
from resumable_glance.runtime.threads import Threads

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from requests import Response

LOG = logging.getLogger(__name__)
MAX_THREADS = 4  # for requests to Keystone
_SCOPES = ("project_id", "project_name", "project_domain_id", "project_domain_name", "domain_id", "domain_name",
           "system_scope")  # fmt: skip


class Trusts(Protocol):
    """The interface of trusts. All methods may raise Refused: IDENTITY_UNAVAILABLE."""

    async def create(self, identity: Identity) -> str | None:
        """Create a trust with the roles of this identity's token; return its id, or None if Keystone forbids it."""

    async def token(self, trust_id: str) -> str | None:
        """Return a new token of the owner; None if the trust has ended or is invalid."""

    async def end(self, trust_id: str) -> None:
        """End a trust, if it still exists."""


@dataclass(frozen=True)
class KeystoneTrusts:
    """Trusts for the service user of `session`, from `conf`. A trust expires after `lifetime` seconds."""

    conf: cfg.ConfigOpts
    session: Session
    lifetime: int
    clock: Callable[[], float] = time.time
    _threads: Threads = field(default_factory=lambda: Threads(MAX_THREADS, "trusts"), init=False)

    async def create(self, identity: Identity) -> str | None:
        return await self._threads.run(self._create, identity)

    async def token(self, trust_id: str) -> str | None:
        return await self._threads.run(self._token, trust_id)

    async def end(self, trust_id: str) -> None:
        token = await self.token(trust_id)  # only the owner may end it, so we act as the owner
        if token is None:
            return
        response = await self._threads.run(self._request, "DELETE", f"/{trust_id}", token)
        if response.status_code not in {204, 404}:
            LOG.warning("trust %s can't be ended: Keystone responded %s", trust_id, response.status_code)

    def _create(self, identity: Identity) -> str | None:
        end = datetime.datetime.fromtimestamp(self.clock() + self.lifetime, datetime.UTC)
        trust = {
            "trustor_user_id": identity.owner.user_id,
            "trustee_user_id": self.session.get_user_id(),
            "project_id": identity.owner.project_id,
            "impersonation": True,
            "roles": [{"name": each} for each in identity.roles],
            "expires_at": end.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        response = self._request("POST", "", str(identity.token), json={"trust": trust})
        if response.status_code != 201:  # as for application credentials, and tokens made with one
            LOG.info("no trust for user %s: Keystone responded %s", identity.owner.user_id, response.status_code)
            return None
        return str(response.json()["trust"]["id"])

    def _token(self, trust_id: str) -> str | None:
        from keystoneauth1 import exceptions, loading

        unscoped: dict[str, Any] = dict.fromkeys(_SCOPES)
        try:
            auth = loading.load_auth_from_conf_options(self.conf, GROUP, trust_id=trust_id, **unscoped)
            return None if auth is None else auth.get_token(self.session)
        except (exceptions.Unauthorized, exceptions.Forbidden, exceptions.NotFound) as problem:
            LOG.info("trust %s can't be used: %s", trust_id, problem)
            return None
        except exceptions.ClientException as problem:
            raise unavailable(problem) from problem

    def _request(self, method: str, path: str, token: str, **options: Any) -> Response:
        headers = {"X-Auth-Token": token}
        path = f"/OS-TRUST/trusts{path}"
        response = request(self.session, method, path, authenticated=False, headers=headers, **options)
        if response.status_code >= 500:
            raise unavailable(f"status {response.status_code}")
        return response
