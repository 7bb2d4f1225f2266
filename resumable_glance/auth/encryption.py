"""Owners' tokens at rest: encrypted, so that the catalog alone opens nothing. And keys for other purposes.

Its one rule: a key is used for one purpose. What else needs keys gets its own, derived from those of the file.
"""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from resumable_glance.errors import CannotStart
from resumable_glance.runtime.durable import make_directory, sync_directory


class BadKeyFile(CannotStart):
    """The key file can't be used; the sentence says why."""


class TokenCipher:
    """Encrypts with the first key of `key_file`, decrypts with any: one Fernet key a line.

    The file is made if it is missing. Raises BadKeyFile.
    """

    def __init__(self, key_file: Path) -> None:
        if not key_file.exists():
            _make(key_file)
        try:
            lines = key_file.read_text().split()
            self._keys = MultiFernet([Fernet(each) for each in lines])
            self._secrets = [base64.urlsafe_b64decode(each) for each in lines]
        except (OSError, ValueError) as problem:
            raise BadKeyFile(f"{key_file} does not hold keys that can be used: {problem}") from problem

    def close(self, token: str | None) -> bytes | None:
        return None if token is None else self._keys.encrypt(token.encode())

    def derived(self, purpose: str) -> list[bytes]:
        """Keys of 32 bytes for this purpose, the newest first: one for each line of the file (RFC 5869)."""
        info = f"resumable-glance {purpose}".encode()
        return [HKDF(SHA256(), length=32, salt=None, info=info).derive(each) for each in self._secrets]

    def open(self, closed: bytes | None) -> str | None:
        """The token, or None if there is none or its key is gone."""
        if closed is None:
            return None
        try:
            return self._keys.decrypt(closed).decode()
        except InvalidToken:
            return None


def _make(key_file: Path) -> None:
    try:
        make_directory(key_file.parent)
        # A start that dies here leaves no file without a key; of two at once, both use the key of the first one.
        partial = key_file.with_name(f"{key_file.name}.{os.getpid()}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(partial, key_file)
        partial.unlink()
        sync_directory(key_file.parent)
    except OSError as problem:
        raise BadKeyFile(f"{key_file} can't be made: {problem}") from problem
