"""Encryption of owners' tokens in the catalog, and keys for other purposes.

Each key has one purpose: keys for signatures are derived from those in the key file.
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
    """The key file is unusable; the sentence says why."""


class TokenCipher:
    """Encrypts with the first key of `key_file`, and decrypts with any: one Fernet key a line.

    A missing file is created. Raises BadKeyFile.
    """

    def __init__(self, key_file: Path) -> None:
        if not key_file.exists():
            _create(key_file)
        try:
            lines = key_file.read_text().split()
            self._keys = MultiFernet([Fernet(each) for each in lines])
            self._secrets = [base64.urlsafe_b64decode(each) for each in lines]
        except (OSError, ValueError) as problem:
            raise BadKeyFile(f"{key_file} has no usable keys: {problem}") from problem

    def encrypt(self, token: str | None) -> bytes | None:
        """Return the encrypted token, or None for none."""
        return None if token is None else self._keys.encrypt(token.encode())

    def derive_keys(self, purpose: str) -> list[bytes]:
        """Return keys of 32 bytes for this purpose, one for each line of the file, in order (HKDF, RFC 5869)."""
        info = f"resumable-glance {purpose}".encode()
        return [HKDF(SHA256(), length=32, salt=None, info=info).derive(each) for each in self._secrets]

    def decrypt(self, encrypted: bytes | None) -> str | None:
        """Return the token, or None if there is none or its key is gone."""
        if encrypted is None:
            return None
        try:
            return self._keys.decrypt(encrypted).decode()
        except InvalidToken:
            return None


def _create(key_file: Path) -> None:
    try:
        make_directory(key_file.parent)
        # A crash here leaves no file without a key. Of two starts at once, both use the key of the first.
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
        raise BadKeyFile(f"{key_file} can't be created: {problem}") from problem
