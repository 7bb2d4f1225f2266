"""The state that lets a later run resume an upload: after Ctrl-C, a reboot or a crash.

One JSON file per upload in $XDG_STATE_HOME/resumable-glance/uploads, readable by its user only and without
credentials. It is written beside its final name, flushed and renamed: it is complete or absent.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from resumable_glance.client.errors import ClientError
from resumable_glance.runtime.durable import sync_directory


@dataclass(frozen=True, slots=True)
class ResumeState:
    """An upload, and the file it was begun with. `size` in bytes.

    `request` is the creation request: another request for the same file needs another upload.
    """

    upload_id: str
    service_url: str
    path: str
    size: int
    mtime_ns: int
    fingerprint: str
    request: Mapping[str, Any]


def directory() -> Path:
    """Return the directory of all state files, created with mode 0700 if missing."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    home = Path(state).expanduser() / "resumable-glance" / "uploads"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def key(service_url: str, path: Path, identity: str) -> str:
    """Return the name of a state file: one for each service, file and user."""
    return hashlib.sha256("\0".join([service_url, str(path.resolve()), identity]).encode()).hexdigest()


class StateFile:
    """The state file of one upload."""

    def __init__(self, name: str) -> None:
        try:
            self._home = directory()
        except OSError as problem:
            raise ClientError(f"The directory of resume state cannot be used: {problem}. Set XDG_STATE_HOME.") from None
        self._path = self._home / f"{name}.json"
        self._lock = self._home / f"{name}.lock"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from uploading the same file to the same service. Raise ClientError if one does."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ClientError("Another process is uploading this file. Wait until it ends.") from None
            yield
            if not self._path.exists():
                self._lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def load(self) -> ResumeState | None:
        """Return the state; None if the file is missing or cannot be understood."""
        return _parse(self._path)

    def save(self, state: ResumeState) -> None:
        """Make the state durable. Raise ClientError if it cannot be written."""
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._home, suffix=".partial", delete=False) as file:
                json.dump(asdict(state), file, indent=1)  # NamedTemporaryFile has mode 0600
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._path)
            sync_directory(self._home)
        except OSError as problem:
            raise ClientError(f"The resume state cannot be written: {problem}.") from None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        sync_directory(self._home)


def forget(upload_id: str) -> None:
    """Remove the state file of an upload, if there is one."""
    for path in directory().glob("*.json"):
        state = _parse(path)
        if state is not None and state.upload_id == upload_id:
            path.unlink(missing_ok=True)


def _parse(path: Path) -> ResumeState | None:
    try:
        document = json.loads(path.read_text())
        return ResumeState(**{each.name: document[each.name] for each in fields(ResumeState)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
