"""Tickets: signed capabilities for one upload each, so that browsers need no cloud token.

A ticket is valid by its signature, and nothing is stored for it. Its upload and generation are compared with the
upload's record, which is read anyway.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from resumable_glance.auth.base import Authenticator, Identity, Right, UploadScope
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Ticket
from resumable_glance.model.upload import Owner, Upload

PURPOSE = "tickets, version 1"  # of the derived keys
MAX_LENGTH = 2048  # characters; a ticket whose names have 64 characters each has about 500
RIGHTS = frozenset({Right.GET, Right.UPDATE, Right.DELETE})
_SCHEME = "bearer "


class Tickets:
    """Signs with the first key of the cipher, and accepts signatures of all its keys (HMAC-SHA256).

    `lifetime` in seconds; `clock` gives seconds since the epoch.
    """

    def __init__(self, cipher: TokenCipher, lifetime: int, clock: Callable[[], float] = time.time) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._serializer = URLSafeSerializer(
            list(reversed(cipher.derive_keys(PURPOSE))),  # itsdangerous signs with the last one
            salt=PURPOSE,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def issue(self, upload: Upload) -> Ticket:
        """Return a new ticket for an upload, of its present generation."""
        expires_at = int(self._clock()) + self._lifetime
        owner = upload.owner
        value = self._serializer.dumps([upload.id, owner.project_id, owner.user_id, upload.generation, expires_at])
        return Ticket(str(value), expires_at)

    def read(self, value: str) -> Identity:
        """Return the identity of a ticket. Raises Refused: UNAUTHENTICATED for one that is not ours, TICKET_EXPIRED."""
        try:
            if len(value) > MAX_LENGTH:
                raise BadData("too long")
            upload_id, project_id, user_id, generation, expires_at = self._serializer.loads(value)
        except BadData:  # nothing is parsed without a valid signature
            sentence = "This service issued no such ticket. Ask the upload's owner for a new one."
            raise Refused(Reason.UNAUTHENTICATED, sentence) from None
        if expires_at <= self._clock():
            raise ticket_expired("This ticket has expired.")
        return Identity(
            Owner(project_id, user_id), expires_at=expires_at, scope=UploadScope(upload_id, generation), allowed=RIGHTS
        )


@dataclass(frozen=True)
class TicketAuthenticator:
    """Admits requests with a ticket in `Authorization: Bearer ...`, and leaves all others to `fallback`."""

    tickets: Tickets
    fallback: Authenticator

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        authorization = headers.get("authorization", "")
        if authorization[: len(_SCHEME)].lower() == _SCHEME:
            return self.tickets.read(authorization[len(_SCHEME) :].strip(" "))
        return await self.fallback.admit(headers)

    async def check(self) -> None:
        await self.fallback.check()


def ticket_expired(why: str) -> Refused:
    """Return the refusal of a ticket that was valid once."""
    return Refused(Reason.TICKET_EXPIRED, f"{why} The bytes are safe. Ask the upload's owner for a new ticket.")
