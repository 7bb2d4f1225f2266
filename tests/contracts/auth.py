"""The contract of resumable_glance.auth, as a check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

from resumable_glance.auth.base import Authenticator, Identity
from resumable_glance.errors import Reason
from tests.contracts.promises import promised, refused


async def check_authenticator(
    gate: Authenticator, good: Mapping[str, str], bad: Iterable[Mapping[str, str]] = ()
) -> None:
    """Hold a gate to the contract of resumable_glance.auth.

    `good` are headers (names in lower case) that the gate admits, `bad` those that it must refuse.
    """
    identity = await _admitted(gate, good)
    for headers in bad:
        sentence = "Whoever is not admitted is refused, as UNAUTHENTICATED, TICKET_EXPIRED or FORBIDDEN."
        reasons = [Reason.UNAUTHENTICATED, Reason.TICKET_EXPIRED, Reason.FORBIDDEN]
        for _ in range(2):  # a refusal must not be remembered as an admission
            await refused(gate.admit(headers), reasons, sentence)
    promised(await _admitted(gate, good) == identity, "Who is admitted stays the same, whoever else is refused.")
    at_once = await asyncio.gather(*(_admitted(gate, good) for _ in range(8)))
    promised(all(each == identity for each in at_once), "Requests at the same time are the same identity.")


async def _admitted(gate: Authenticator, headers: Mapping[str, str]) -> Identity:
    given = dict(headers)
    identity = await gate.admit(given)
    promised(given == dict(headers), "A gate leaves the headers as they are.")
    promised(bool(identity.owner.project_id) != identity.system, "An identity has a project, or is of the system.")
    promised(bool(identity.owner.user_id), "An identity has a user.")
    promised(identity.expires_at > time.time(), "Nobody is admitted whose time is over.")
    only = identity.only
    promised(only is None or bool(only.upload_id), "A ticket names the upload that it opens.")
    promised(only is None or identity.token is None, "Who shows a ticket has no token to act with.")
    shown = f"{identity!r} {identity}"
    promised(identity.token is None or identity.token not in shown, "An identity never shows its token.")
    return identity
