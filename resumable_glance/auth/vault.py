"""Owners' tokens at rest: encrypted, so that the catalog alone opens nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from resumable_glance.errors import CannotStart
from resumable_glance.files import make_directory, sync_directory


class BadKeyFile(CannotStart):
    """The key file can't be used; the sentence says why."""


class Vault:
    """Encrypts with the first key of `key_file`, decrypts with any: one Fernet key a line.

    The file is made if it is missing. Raises BadKeyFile.
    """

    def __init__(self, key_file: Path) -> None:
        if not key_file.exists():
            _make(key_file)
        try:
            keys = [Fernet(line) for line in key_file.read_text().split()]
            self._keys = MultiFernet(keys)
        except (OSError, ValueError) as problem:
            raise BadKeyFile(f"{key_file} does not hold keys that can be used: {problem}") from problem

    def close(self, token: str | None) -> bytes | None:
        return None if token is None else self._keys.encrypt(token.encode())

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
