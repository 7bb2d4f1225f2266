"""Who is asking. A gate admits a request by its head alone, or refuses it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.model.upload import Owner


class Right(enum.StrEnum):
    """What somebody may do. The values are the names of policy rules (policies.py)."""

    CREATE = "upload:create"
    LIST = "upload:list"
    GET = "upload:get"
    UPDATE = "upload:update"
    DELETE = "upload:delete"
    LIST_ALL = "upload:list_all"  # from here on: with the uploads of others, too
    GET_ANY = "upload:get_any"
    CANCEL_ANY = "upload:cancel_any"


OWN = frozenset({Right.CREATE, Right.LIST, Right.GET, Right.UPDATE, Right.DELETE})


@dataclass(frozen=True, slots=True)
class UploadScope:
    """The one upload that a ticket opens, if the upload is still of this generation."""

    upload_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who was admitted, and the token to act with on their behalf (never shown in a repr or a log).

    `only` is what there is to reach for somebody who has shown a ticket, and no token. `system`: the token is one for
    the whole cloud, and of no project.
    """

    owner: Owner
    token: str | None = field(default=None, repr=False)
    expires_at: float = float("inf")  # seconds since the epoch
    only: UploadScope | None = None
    roles: tuple[str, ...] = ()  # their names, in the project
    system: bool = False
    may: frozenset[Right] = OWN


class Authenticator(Protocol):
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        """The identity behind a request with these headers (names in lower case).

        Refused: UNAUTHENTICATED, TICKET_EXPIRED, FORBIDDEN, or IDENTITY_UNAVAILABLE when nobody can tell right now.
        """

    async def check(self) -> None:
        """Refused(IDENTITY_UNAVAILABLE) if nobody can tell right now who anybody is."""
