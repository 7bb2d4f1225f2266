"""The interface of wire protocols: heads of requests become commands, outcomes become replies.

HTTP status codes are known only in this package. A wire protocol never touches the bytes of a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resumable_glance.errors import Refused
from resumable_glance.model.commands import Command, Outcome


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body. Header names are in lower case; a header that came twice has both values.

    `upload_id` is the path segment, unchecked, and `aspect` the segment after it; `query` has decoded parameters.
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
    """The facts about the service and the request that replies need, for links and limits."""

    base: str  # the service's URL as the client sees it, without a slash at its end
    request_id: str
    max_upload_size: int  # bytes
    max_chunk_size: int  # bytes
    record_retention: int = 0  # seconds
    upload_expiry: int = 0  # seconds
    first_byte_expiry: int = 0  # seconds
    waiting_retention: int = 0  # seconds
    now: float = 0.0  # seconds since the epoch


class WireProtocol(Protocol):
    """The interface of a protocol module. One more protocol is one more module with these members."""

    MOUNT: str  # the path of the protocol; uploads are one level below
    ASPECTS: tuple[str, ...]  # the resources one level below an upload
    MAX_DOCUMENT_SIZE: int  # bytes of a POST's body that is a document, read before parse(); 0 if the body is a chunk
    REQUEST_HEADERS: str  # that the protocol reads, for CORS
    RESPONSE_HEADERS: str  # that the protocol sends, for CORS

    def parse(self, head: RequestHead, document: bytes, context: RequestContext) -> Command:
        """Return the command of a request. Refused if it has none."""

    def options(self, head: RequestHead, context: RequestContext) -> Reply:
        """Return the reply to OPTIONS."""

    def render(self, outcome: Outcome, context: RequestContext) -> Reply:
        """Return the reply to a command that was carried out."""

    def refuse(self, refusal: Refused, method: str, context: RequestContext) -> Reply:
        """Return the reply to a refused request with this method."""
