"""What has to survive so that an upload can go on: after Ctrl-C, after a reboot, after anything.

One JSON file for each upload under $XDG_STATE_HOME/resumable-glance/uploads, readable by its user only. It is
complete or absent: written beside its place, flushed, renamed. It holds no credentials.
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

from resumable_glance.client import Failure
from resumable_glance.runtime.durable import sync_directory


@dataclass(frozen=True, slots=True)
class Record:
    """An upload that was begun, and the file it was begun with. `size` in bytes.

    `request` is what the upload was created with: somebody who asks for something else wants another upload.
    """

    upload_id: str
    service_url: str
    path: str
    size: int
    mtime_ns: int
    fingerprint: str
    request: Mapping[str, Any]


def directory() -> Path:
    """Where records are kept; made with mode 0700 if missing."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    home = Path(state).expanduser() / "resumable-glance" / "uploads"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def key(service_url: str, path: Path, identity: str) -> str:
    """The name of a record: the same file for the same service by the same user is the same upload."""
    return hashlib.sha256("\0".join([service_url, str(path.resolve()), identity]).encode()).hexdigest()


class Shelf:
    """The place of one record."""

    def __init__(self, name: str, home: Path | None = None) -> None:
        try:
            self._home = home or directory()
        except OSError as problem:
            raise Failure(f"The place of resume records can't be used: {problem}. Set XDG_STATE_HOME.") from None
        self._path = self._home / f"{name}.json"
        self._lock = self._home / f"{name}.lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other process uploads the same file to the same place. Failure if one does."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Failure("This file is being uploaded by another process right now. Let it finish.") from None
            yield
            if not self._path.exists():
                self._lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def load(self) -> Record | None:
        """The record; None if there is none, or none that can be understood."""
        return _parse(self._path)

    def save(self, record: Record) -> None:
        """Durable when this returns. Failure if it can't be written."""
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._home, suffix=".partial", delete=False) as file:
                json.dump(asdict(record), file, indent=1)  # NamedTemporaryFile has mode 0600
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._path)
            sync_directory(self._home)
        except OSError as problem:
            raise Failure(f"The resume record can't be written: {problem}.") from None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        sync_directory(self._home)


def forget(upload_id: str) -> None:
    """Remove whatever record an upload has."""
    for path in directory().glob("*.json"):
        record = _parse(path)
        if record is not None and record.upload_id == upload_id:
            path.unlink(missing_ok=True)


def _parse(path: Path) -> Record | None:
    try:
        document = json.loads(path.read_text())
        return Record(**{each.name: document[each.name] for each in fields(Record)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
