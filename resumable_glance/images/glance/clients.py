"""Glance's clients, which share what Glance says of itself.

By itself each of them asks for the schema of images, which is the same for everybody, before it shows its first one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from cachetools import TTLCache, cachedmethod

if TYPE_CHECKING:
    from keystoneauth1.session import Session

KEPT = 3600.0  # seconds for which a schema is taken for Glance's own: an upgrade may change it


class GlanceClients:
    """glanceclient takes long to import: it is, with the first client."""

    def __init__(self) -> None:
        self._schemas: TTLCache[Any, Any] = TTLCache(8, KEPT)
        self._lock = threading.Lock()

    def client(self, session: Session, request_id: str | None) -> Any:
        import glanceclient

        made = glanceclient.Client("2", session=session, global_request_id=request_id)
        made.images.schema_client = _Schemas(made.schemas, self._schemas, self._lock)
        return made


class _Schemas:
    """As glanceclient's own controller of schemas."""

    def __init__(self, asked: Any, known: TTLCache[Any, Any], lock: threading.Lock) -> None:
        self._asked = asked
        self._known = known
        self._lock = lock

    @cachedmethod(lambda self: self._known, lock=lambda self: self._lock)
    def get(self, schema_name: str) -> Any:
        return self._asked.get(schema_name)
