"""Who is asking. A gate admits a request by its head alone, or refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.protocol.upload import Owner


@dataclass(frozen=True, slots=True)
class Reach:
    """The one upload that a ticket opens, if the upload is still of this generation."""

    upload_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who was admitted, and the token to act with on their behalf (never shown in a repr or a log).

    `only` is what there is to reach for somebody who has shown a ticket, and no token.
    """

    owner: Owner
    token: str | None = field(default=None, repr=False)
    expires_at: float = float("inf")  # seconds since the epoch
    only: Reach | None = None
    roles: tuple[str, ...] = ()  # their names, in the project


class Gate(Protocol):
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        """The identity behind a request with these headers (names in lower case).

        Refused: UNAUTHENTICATED, TICKET_EXPIRED, FORBIDDEN, or GATE_UNAVAILABLE when nobody can tell right now.
        """

    async def check(self) -> None:
        """Refused(GATE_UNAVAILABLE) if nobody can tell right now who anybody is."""
