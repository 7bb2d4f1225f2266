"""Clients of Glance that act for owners of images.

glanceclient takes long to import, so this module is imported with the first request to Glance.
"""

from __future__ import annotations

import threading
import types
from typing import Any

import glanceclient
import requests
from cachetools import TTLCache, cached
from glanceclient import exc
from keystoneauth1 import plugin, service_token, session, token_endpoint

SCHEMA_TTL = 3600.0  # seconds: an upgrade of Glance may change its schemas


class GlanceClients:
    """Clients with the connection settings and the service token of one `session`.

    They share the schemas that each of them would otherwise request again. After the last byte of image data Glance has
    `glance_timeout` seconds to answer.
    """

    def __init__(self, session: session.Session, glance_timeout: float) -> None:
        self._session = session
        self._glance_timeout = glance_timeout
        self._schemas: TTLCache[Any, Any] = TTLCache(8, SCHEMA_TTL)
        self._lock = threading.Lock()

    def client(self, endpoint: str, token: str | None, request_id: str | None) -> Any:
        """Return a client with an owner's token, accompanied by the service token."""
        shared = self._session
        auth: plugin.BaseAuthPlugin = token_endpoint.Token(endpoint, token)
        if shared.auth is not None:
            auth = service_token.ServiceTokenAuthWrapper(user_auth=auth, service_auth=shared.auth)
        own = SingleSendSession(auth=auth, verify=shared.verify, cert=shared.cert, timeout=shared.timeout)
        own.glance_timeout = self._glance_timeout
        client = glanceclient.Client("2", session=own, global_request_id=request_id)
        get_schema = cached(self._schemas, lock=self._lock)(client.schemas.get)
        client.images.schema_client = types.SimpleNamespace(get=get_schema)
        return client


class SingleSendSession(session.Session):
    """A session that sends a request with image data only once.

    keystoneauth1 repeats a request after a 401 (with a new token), a redirect or a failed connect. Image data is a
    stream, which is empty the second time: Glance answers 204, and the image is lost.
    """

    glance_timeout = 0.0

    def request(self, url: str, method: str, *args: Any, **kwargs: Any) -> requests.Response:
        data = kwargs.get("data")
        if data is not None and not isinstance(data, str | bytes):
            kwargs |= {"allow_reauth": False, "redirect": False, "connect_retries": 0, "status_code_retries": 0}
            # The second one is for the answer: Glance may have to move all of the data within its store first.
            kwargs["timeout"] = (self.timeout, max(self.glance_timeout, self.timeout or 0))
        return _with_its_status(super().request(url, method, *args, **kwargs))


def _with_its_status(response: requests.Response) -> requests.Response:
    """Return a response that glanceclient can handle.

    Raises:
        glanceclient.exc.HTTPException: an error whose status glanceclient would lose, such as 415.
    """
    response.headers.setdefault("Content-Type", "")  # glanceclient relies on it
    if response.status_code >= 400:
        problem = exc.from_response(response, response.content)
        if problem.code == exc.HTTPException.code:
            problem.code = response.status_code
            raise problem
    return response
