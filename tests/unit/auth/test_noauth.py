"""The authenticator of development mode."""

from __future__ import annotations

import asyncio

from resumable_glance.auth.base import Right
from resumable_glance.auth.noauth import NoAuthenticator


def test_every_request_is_the_same_user_with_all_rights() -> None:
    one, other = (asyncio.run(NoAuthenticator().admit(headers)) for headers in ({}, {"x-auth-token": "any"}))
    assert one == other
    assert (one.allowed, one.token, one.scope) == (frozenset(Right), None, None)
