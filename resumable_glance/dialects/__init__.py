"""How HTTP speaks of uploads. Pure: header text in, commands out; outcomes in, replies out.

The only place that knows HTTP status codes. A dialect never touches the bytes of a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. Header names in lower case; a header that came twice has both values.

    `upload_id` is what stood in the path, unchecked; `query` the decoded query parameters.
    """

    method: str
    upload_id: str | None
    headers: Mapping[str, tuple[str, ...]]
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. `document` is sent as JSON."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service is, as its client sees it, and what goes into each reply: for links and limits."""

    base: str  # the service's URL without a slash at its end
    request_id: str
    max_upload_size: int  # bytes
    max_chunk_size: int  # bytes
    record_retention: int = 0  # seconds
    upload_expiry: int = 0  # seconds
