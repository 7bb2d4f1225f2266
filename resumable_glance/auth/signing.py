"""Signatures of receipts, which prove that a receipt is ours: Ed25519, as JWS (RFC 7515, RFC 8037).

The keys are derived from those of the token cipher: the first one signs, all of them are published.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from resumable_glance.auth.encryption import TokenCipher

ALGORITHM = "EdDSA"
PURPOSE = "receipts, version 1"  # of the derived keys


class ReceiptSigner:
    """Signs receipts. `published` is the JWK Set (RFC 7517) to verify them with."""

    def __init__(self, cipher: TokenCipher) -> None:
        self._keys = [Ed25519PrivateKey.from_private_bytes(each) for each in cipher.derive_keys(PURPOSE)]
        self.published = {"keys": [_public(each) for each in self._keys]}

    def sign(self, statement: Mapping[str, object]) -> str:
        """Return a statement as a compact JWS; the same statement gives the same JWS."""
        key_id = str(self.published["keys"][0]["kid"])
        headers = {"kid": key_id, "typ": "receipt+jwt"}
        return str(jwt.encode(dict(statement), self._keys[0], ALGORITHM, headers=headers))


def _public(key: Ed25519PrivateKey) -> Mapping[str, object]:
    """Return the public key as a JWK. Its id is its thumbprint (RFC 7638)."""
    jwk = json.loads(OKPAlgorithm.to_jwk(key.public_key()))
    required = {name: jwk[name] for name in ("crv", "kty", "x")}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return {**required, "kid": thumbprint, "alg": ALGORITHM, "use": "sig"}
