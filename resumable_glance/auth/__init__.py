"""Who is asking. A gate admits a request by its head alone, or refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.protocol.upload import Owner


@dataclass(frozen=True, slots=True)
class Identity:
    """Who was admitted, and the token to act with on their behalf (never shown in a repr or a log)."""

    owner: Owner
    token: str | None = field(default=None, repr=False)
    expires_at: float = float("inf")  # seconds since the epoch


class Gate(Protocol):
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        """The identity behind a request with these headers (names in lower case).

        Refused: UNAUTHENTICATED, FORBIDDEN, or GATE_UNAVAILABLE when nobody can tell right now.
        """

    async def check(self) -> None:
        """Refused(GATE_UNAVAILABLE) if nobody can tell right now who anybody is."""
