"""A gate that stands open: for development on the loopback interface only."""

from __future__ import annotations

from collections.abc import Mapping

from resumable_glance.auth import Identity, Right
from resumable_glance.protocol.upload import Owner


class AnyoneGate:
    async def admit(self, headers: Mapping[str, str]) -> Identity:
        return Identity(Owner(project_id="development", user_id="anyone"), may=frozenset(Right))

    async def check(self) -> None:
        pass
