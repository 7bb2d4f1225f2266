"""How HTTP speaks of uploads. Pure: header text in, commands out; outcomes in, replies out.

The only place that knows HTTP status codes. A dialect never touches the bytes of a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.errors import Refused
from resumable_glance.model.commands import Command, Outcome


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. Header names in lower case; a header that came twice has both values.

    `upload_id` is what stood in the path, unchecked, and `aspect` what came after it; `query` the decoded query
    parameters.
    """

    method: str
    upload_id: str | None
    headers: Mapping[str, tuple[str, ...]]
    query: Mapping[str, str] = field(default_factory=dict)
    aspect: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. `document` is sent as JSON."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Where the service is, as its client sees it, and what goes into each reply: for links and limits."""

    base: str  # the service's URL without a slash at its end
    request_id: str
    max_upload_size: int  # bytes
    max_chunk_size: int  # bytes
    record_retention: int = 0  # seconds
    upload_expiry: int = 0  # seconds
    now: float = 0.0  # seconds since the epoch


class WireProtocol(Protocol):
    """What a module of this room has: a third dialect is one more file with these."""

    @property
    def MOUNT(self) -> str:
        """The path under which it is spoken; an upload is one level below."""

    @property
    def ASPECTS(self) -> Mapping[str, tuple[str, ...]]:
        """What there is one level below an upload, with its methods."""

    @property
    def LARGEST_DOCUMENT(self) -> int:
        """How many bytes of a POST's body are a description, to be read before parse; the rest is a chunk."""

    def parse(self, head: Head, document: bytes, place: RequestContext) -> Command:
        """The command of a request. Refused if it is none."""

    def options(self, head: Head, place: RequestContext) -> Reply:
        """The reply to OPTIONS: what can be done here."""

    def render(self, outcome: Outcome, place: RequestContext) -> Reply:
        """The reply to a command that was carried out."""

    def refuse(self, refusal: Refused, method: str, place: RequestContext) -> Reply:
        """The reply to a request with this method that was refused."""
