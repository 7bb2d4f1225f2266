"""An authenticator that admits everyone, for development on the loopback interface only."""

from __future__ import annotations

from collections.abc import Mapping

from resumable_glance.auth.base import Identity, Right
from resumable_glance.model.upload import Owner


class NoAuthenticator:
    """Gives everyone the same identity, with all rights."""

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        return Identity(Owner(project_id="development", user_id="anyone"), allowed=frozenset(Right))

    async def check(self) -> None:
        pass
