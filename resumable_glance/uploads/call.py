"""What a use case is called with besides its command."""

from __future__ import annotations

from dataclasses import dataclass

from resumable_glance.auth.base import Identity
from resumable_glance.images.base import Actor
from resumable_glance.uploads.body import Body


@dataclass(frozen=True, slots=True)
class Call:
    """The caller, the body of the request, and the request's id in the logs."""

    identity: Identity
    body: Body
    request_id: str | None = None

    @property
    def actor(self) -> Actor:
        """The caller, as the image service is to see it."""
        return Actor(self.identity.owner, self.identity.token, self.request_id)
