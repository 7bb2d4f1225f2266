"""Directories of the service. Their durability: unit/storage, on the strict disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resumable_glance.runtime.durable import make_directory, sync_directory


def test_missing_directories_are_made_for_their_user_only(tmp_path: Path) -> None:
    for _ in range(2):
        make_directory(tmp_path / "a" / "b")
    assert [each.stat().st_mode & 0o777 for each in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]


def test_syncing_a_directory_keeps_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    sync_directory(tmp_path)
    (descriptor,) = synced
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
