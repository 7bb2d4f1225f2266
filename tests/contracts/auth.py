"""The contract of authenticators (resumable_glance.auth.base), as a check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

from resumable_glance.auth.base import Authenticator, Identity
from resumable_glance.errors import Reason
from tests.contracts.promises import promised, refused


async def check_authenticator(
    authenticator: Authenticator, good: Mapping[str, str], bad: Iterable[Mapping[str, str]] = ()
) -> None:
    """Check that an authenticator keeps the contract.

    `good` are headers (names in lower case) that the authenticator admits, `bad` those that it must refuse.
    """
    identity = await _admitted(authenticator, good)
    for headers in bad:
        sentence = "Other requests are refused as UNAUTHENTICATED, TICKET_EXPIRED or FORBIDDEN."
        reasons = [Reason.UNAUTHENTICATED, Reason.TICKET_EXPIRED, Reason.FORBIDDEN]
        for _ in range(2):  # a refusal must not be remembered as an admission
            await refused(authenticator.admit(headers), reasons, sentence)
    promised(await _admitted(authenticator, good) == identity, "An identity stays the same after refusals of others.")
    at_once = await asyncio.gather(*(_admitted(authenticator, good) for _ in range(8)))
    promised(all(each == identity for each in at_once), "Requests at the same time are the same identity.")


async def _admitted(authenticator: Authenticator, headers: Mapping[str, str]) -> Identity:
    given = dict(headers)
    identity = await authenticator.admit(given)
    promised(given == dict(headers), "An authenticator leaves the headers as they are.")
    promised(bool(identity.owner.project_id) != identity.system, "An identity has a project, or is of the system.")
    promised(bool(identity.owner.user_id), "An identity has a user.")
    promised(identity.expires_at > time.time(), "An identity has not expired.")
    only = identity.scope
    promised(only is None or bool(only.upload_id), "A ticket names the upload that it opens.")
    promised(only is None or identity.token is None, "An identity of a ticket has no token.")
    shown = f"{identity!r} {identity}"
    promised(identity.token is None or identity.token not in shown, "An identity never shows its token.")
    return identity
