"""Tickets: signed capabilities, each for one upload, so that no cloud token has to live in a browser.

Its one rule: a ticket is believed for its signature alone. Nothing is stored for it and nobody is asked about it; what
it says of the upload is compared with the record that is read anyway.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping

from itsdangerous import BadData, URLSafeSerializer

from resumable_glance.auth.base import Authenticator, Identity, Right, UploadScope
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Ticket
from resumable_glance.model.upload import Owner, Upload

PURPOSE = "tickets, version 1"  # of the keys, and of nothing else
MAX_LENGTH = 2048  # characters; names of 64 characters each make one of about 500
RIGHTS = frozenset({Right.GET, Right.UPDATE, Right.DELETE})
_SCHEME = "bearer "


class Tickets:
    """Signs with the first key of the cipher, and believes what any of them has signed (HMAC-SHA256).

    `lifetime` in seconds; `clock` gives seconds since the epoch.
    """

    def __init__(self, cipher: TokenCipher, lifetime: int, clock: Callable[[], float] = time.time) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._serializer = URLSafeSerializer(
            list(reversed(cipher.derived(PURPOSE))),  # itsdangerous signs with the last one
            salt=PURPOSE,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def issue(self, upload: Upload) -> Ticket:
        """A ticket for an upload as it is now."""
        expires_at = int(self._clock()) + self._lifetime
        owner = upload.owner
        value = self._serializer.dumps([upload.id, owner.project_id, owner.user_id, upload.generation, expires_at])
        return Ticket(str(value), expires_at)

    def read(self, value: str) -> Identity:
        """Who shows a ticket. Refused: UNAUTHENTICATED for what we have not signed, TICKET_EXPIRED."""
        try:
            if len(value) > MAX_LENGTH:
                raise BadData("longer than any")
            upload_id, project_id, user_id, generation, expires_at = self._serializer.loads(value)
        except BadData:  # and nothing is read of what does not bear our signature
            sentence = "This is no ticket of this service. Ask whoever created the upload for another one."
            raise Refused(Reason.UNAUTHENTICATED, sentence) from None
        if expires_at <= self._clock():
            raise ticket_expired("This ticket has expired.")
        return Identity(
            Owner(project_id, user_id), expires_at=expires_at, scope=UploadScope(upload_id, generation), allowed=RIGHTS
        )


class TicketAuthenticator:
    """Admits by a ticket in `Authorization: Bearer ...`; everybody else goes on to the gate behind it."""

    def __init__(self, tickets: Tickets, behind: Authenticator) -> None:
        self._tickets = tickets
        self._behind = behind

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        shown = headers.get("authorization", "")
        if shown[: len(_SCHEME)].lower() == _SCHEME:
            return self._tickets.read(shown[len(_SCHEME) :].strip(" "))
        return await self._behind.admit(headers)

    async def check(self) -> None:
        await self._behind.check()


def ticket_expired(why: str) -> Refused:
    """The refusal of a ticket that was good once."""
    return Refused(Reason.TICKET_EXPIRED, f"{why} The bytes are safe: go on with a new one from the upload's owner.")
