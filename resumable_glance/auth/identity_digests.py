"""Identity digests: keyed hashes of owners, by which clients keep their records of uploads apart.

A browser remembers uploads, and several people may use it, one after the other. A keyed hash names each of them without
revealing their ids to readers of the browser's storage.
"""

from __future__ import annotations

import hashlib
import hmac
import json

from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.model.upload import Owner

PURPOSE = "identity digests, version 1"  # of the derived key


class IdentityDigests:
    """Computes the digests with a key that is derived from the cipher's first one (HMAC-SHA256)."""

    def __init__(self, cipher: TokenCipher) -> None:
        self._key = cipher.derive_keys(PURPOSE)[0]

    def of(self, owner: Owner) -> str:
        """Return the digest of an owner, in hexadecimal; it changes with the first key of the key file."""
        text = json.dumps([owner.project_id, owner.user_id])
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
