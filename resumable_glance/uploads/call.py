"""The context of a command."""

from __future__ import annotations

from dataclasses import dataclass

from resumable_glance.auth.base import Identity
from resumable_glance.images.base import Actor
from resumable_glance.uploads.body import Body


@dataclass(frozen=True, slots=True)
class Call:
    """The caller, the request's body, and its id in the logs."""

    identity: Identity
    body: Body
    request_id: str | None = None

    @property
    def actor(self) -> Actor:
        """The caller, for calls of the image service."""
        return Actor(self.identity.owner, self.identity.token, self.request_id, self.identity.expires_at)
