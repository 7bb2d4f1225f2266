"""Signatures of receipts: Ed25519 over a compact JWS (RFC 7515, RFC 8037).

Apart from the service's own code, so that a receipt is verified with its public keys alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

ALGORITHM = "EdDSA"


def verify(jws: str, keys: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the statement of a receipt signed with one of `keys` (a JWK Set, RFC 7517). Raise ValueError otherwise."""
    try:
        key_id = jwt.get_unverified_header(jws).get("kid")
        (key,) = [each for each in keys["keys"] if each["kid"] == key_id]
        statement: Mapping[str, Any] = jwt.decode(jws, jwt.PyJWK(dict(key)), algorithms=[ALGORITHM])
    except (jwt.PyJWTError, KeyError, TypeError) as problem:
        raise ValueError(str(problem)) from problem
    return statement
