"""What the client keeps for its next run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resumable_glance.client import ClientError, resume_state
from resumable_glance.client.resume_state import ResumeState, StateFile

STATE = ResumeState("a-1", "http://service", "/disk.raw", 5, 7, "abc", {"image": {"name": "disk.raw"}})


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of state files."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return resume_state.directory()


def test_resume_state_is_found_again_and_private(state_home: Path) -> None:
    name = resume_state.key("http://service", Path("/disk.raw"), "project/user")
    assert StateFile(name).load() is None
    StateFile(name).save(STATE)
    assert StateFile(name).load() == STATE
    (file,) = state_home.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert state_home.stat().st_mode & 0o777 == 0o700
    StateFile(name).remove()
    assert StateFile(name).load() is None


def test_resume_state_belongs_to_a_service_a_file_and_a_user() -> None:
    keys = {
        resume_state.key("http://a", Path("/disk"), "p/u"),
        resume_state.key("http://b", Path("/disk"), "p/u"),
        resume_state.key("http://a", Path("/other"), "p/u"),
        resume_state.key("http://a", Path("/disk"), "p/v"),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("content", ["", "{}", "[]", '"text"', "\x00"])
def test_invalid_resume_state_is_ignored(content: str, state_home: Path) -> None:
    (state_home / "name.json").write_text(content)
    assert StateFile("name").load() is None


@pytest.mark.usefixtures("state_home")
def test_resume_state_is_forgotten_with_its_upload() -> None:
    StateFile("one").save(STATE)
    StateFile("two").save(replace(STATE, upload_id="a-2"))
    resume_state.forget("a-1")
    assert StateFile("one").load() is None
    assert StateFile("two").load() is not None


def test_one_process_at_a_time_uploads_a_file(state_home: Path) -> None:
    def lock_again() -> None:
        with StateFile("name").lock():
            pass

    with StateFile("name").lock(), pytest.raises(ClientError):
        lock_again()
    lock_again()
    assert list(state_home.iterdir()) == []
