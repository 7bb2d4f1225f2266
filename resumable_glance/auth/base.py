"""Authentication: the identity behind a request, and what it may do."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.model.upload import Owner


class Right(enum.StrEnum):
    """A right of an identity. The values are names of policy rules (policy.py)."""

    CREATE = "upload:create"
    LIST = "upload:list"
    GET = "upload:get"
    UPDATE = "upload:update"
    DELETE = "upload:delete"
    LIST_ALL = "upload:list_all"  # from here on: for uploads of all owners
    GET_ANY = "upload:get_any"
    CANCEL_ANY = "upload:cancel_any"


OWN = frozenset({Right.CREATE, Right.LIST, Right.GET, Right.UPDATE, Right.DELETE})


@dataclass(frozen=True, slots=True)
class UploadScope:
    """The one upload that a ticket is for, valid for this generation of the upload's tickets."""

    upload_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller, and the token to act with on its behalf (never shown in a repr or a log).

    `scope` limits an identity with a ticket to one upload. With `system` the token is one of the whole cloud, and of
    no project.
    """

    owner: Owner
    token: str | None = field(default=None, repr=False)
    expires_at: float = float("inf")  # seconds since the epoch
    scope: UploadScope | None = None
    roles: tuple[str, ...] = ()  # names of roles in the project
    system: bool = False
    allowed: frozenset[Right] = OWN


class Authenticator(Protocol):
    """The interface of all authenticators, which judge a request by its headers alone."""

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        """Return the identity behind a request with these headers (names in lower case).

        Raises Refused: UNAUTHENTICATED, TICKET_EXPIRED, FORBIDDEN, or IDENTITY_UNAVAILABLE for now.
        """

    async def check(self) -> None:
        """Check that identities can be told right now. Raises Refused: IDENTITY_UNAVAILABLE."""
