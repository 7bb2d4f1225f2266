"""A keystoneauth1 session whose requests with image data happen once (imported late, see sinks/glance.py).

By itself keystoneauth1 sends a request again after a 401 (with a new token), after a redirect, and after a
failed connect. The data is a stream; the second time it is empty, Glance answers 204 and the image is lost.
"""

from __future__ import annotations

from typing import Any

import requests
from glanceclient import exc
from keystoneauth1 import plugin, service_token, session, token_endpoint


class SingleSendSession(session.Session):
    """Refuses to repeat whatever carries a stream; everything else as keystoneauth1 does it.

    After the last byte of a stream an answer may take `glance_timeout` seconds: Glance may have to move all of it within
    its store.
    """

    glance_timeout = 0.0

    def request(self, url: str, method: str, *args: Any, **kwargs: Any) -> requests.Response:
        data = kwargs.get("data")
        if data is not None and not isinstance(data, str | bytes):
            kwargs |= {"allow_reauth": False, "redirect": False, "connect_retries": 0, "status_code_retries": 0}
            # For each piece, and for the answer.
            kwargs["timeout"] = (self.timeout, max(self.glance_timeout, self.timeout or 0))
        return _with_its_status(super().request(url, method, *args, **kwargs))


def _with_its_status(response: requests.Response) -> requests.Response:
    """The response, once glanceclient can read it. exc.HTTPException if it would lose its status, as that of a 415."""
    response.headers.setdefault("Content-Type", "")  # it is taken for granted
    if response.status_code >= 400:
        problem = exc.from_response(response, response.content)
        if problem.code == exc.HTTPException.code:
            problem.code = response.status_code
            raise problem
    return response


def as_owner(plain: session.Session, endpoint: str, token: str | None, glance_timeout: float) -> SingleSendSession:
    """A session like `plain`, but with the owner's token, vouched for by that of `plain`, our service user's."""
    auth: plugin.BaseAuthPlugin = token_endpoint.Token(endpoint, token)
    if plain.auth is not None:
        auth = service_token.ServiceTokenAuthWrapper(user_auth=auth, service_auth=plain.auth)
    made = SingleSendSession(auth=auth, verify=plain.verify, cert=plain.cert, timeout=plain.timeout)
    made.glance_timeout = glance_timeout
    return made
