"""Owners' tokens at rest: only whoever has the key reads them."""

import base64
import errno
import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resumable_glance.auth.encryption import BadKeyFile, TokenCipher

TOKEN = "gAAAAA-a-token"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "credentials.key"


def test_an_encrypted_token_can_be_decrypted(key_file: Path) -> None:
    cipher = TokenCipher(key_file)
    assert cipher.decrypt(cipher.encrypt(TOKEN)) == TOKEN


def test_no_token_is_no_token(key_file: Path) -> None:
    cipher = TokenCipher(key_file)
    assert cipher.encrypt(None) is None
    assert cipher.decrypt(None) is None


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_token_is_kept_as_it_was(key_file: Path, token: str) -> None:
    cipher = TokenCipher(key_file)
    closed = cipher.encrypt(token)
    assert closed is not None
    assert cipher.decrypt(closed) == token


def test_an_encrypted_token_shows_nothing_of_itself(key_file: Path) -> None:
    cipher = TokenCipher(key_file)
    closed = cipher.encrypt(TOKEN)
    assert closed is not None
    assert TOKEN.encode() not in closed
    assert closed != cipher.encrypt(TOKEN)  # two uploads of one owner do not look alike


def test_a_restart_decrypts_older_tokens(key_file: Path) -> None:
    closed = TokenCipher(key_file).encrypt(TOKEN)
    assert TokenCipher(key_file).decrypt(closed) == TOKEN


def test_the_key_file_is_private(tmp_path: Path) -> None:
    key_file = tmp_path / "one" / "two" / "credentials.key"
    TokenCipher(key_file)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    assert key_file.stat().st_size == 45


def test_a_new_key_file_and_then_its_name_are_durable(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its name the key is lost in a power cut, and with it every token that was closed since."""
    synced: list[Path] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    TokenCipher(key_file)
    assert synced[-2:] == [key_file.with_name(f"credentials.key.{os.getpid()}.partial"), key_file.parent]


def test_two_processes_that_make_the_key_file_share_one_key(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[TokenCipher] = []
    fsync = os.fsync

    def overtaken(descriptor: int) -> None:
        fsync(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".partial"):
            monkeypatch.undo()
            monkeypatch.setattr(os, "getpid", lambda: 1)  # another process
            first.append(TokenCipher(key_file))
            monkeypatch.undo()

    # The partial file has its name already, so that the other process gets one of its own.
    monkeypatch.setattr(os, "fsync", overtaken)
    second = TokenCipher(key_file)
    assert second.decrypt(first[0].encrypt("token")) == "token"
    assert [each.name for each in key_file.parent.iterdir()] == [key_file.name]


def test_a_key_file_that_is_there_is_not_changed(key_file: Path) -> None:
    key = Fernet.generate_key()
    key_file.write_bytes(key)
    TokenCipher(key_file)
    assert key_file.read_bytes() == key


def test_a_new_key_encrypts_and_the_old_one_still_decrypts(key_file: Path) -> None:
    old = TokenCipher(key_file)
    closed = old.encrypt(TOKEN)
    key_file.write_bytes(Fernet.generate_key() + b"\n" + key_file.read_bytes())
    rotated = TokenCipher(key_file)
    assert rotated.decrypt(closed) == TOKEN
    assert old.decrypt(rotated.encrypt(TOKEN)) is None


def test_without_its_key_a_token_is_gone_and_nothing_breaks(key_file: Path) -> None:
    closed = TokenCipher(key_file).encrypt(TOKEN)
    key_file.unlink()
    assert TokenCipher(key_file).decrypt(closed) is None


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff" * 100])
def test_a_damaged_credential_is_no_token(key_file: Path, damage: bytes) -> None:
    cipher = TokenCipher(key_file)
    closed = cipher.encrypt(TOKEN)
    assert closed is not None
    assert cipher.decrypt(damage) is None
    assert cipher.decrypt(closed[:-1] + b"A") is None


KEY = base64.urlsafe_b64encode(bytes(range(32)))


@pytest.mark.parametrize("content", [b"", b"\n", b"not a key\n", b"\xff\xfe", "ключ".encode(), KEY + b"\nshort\n"])
def test_a_key_file_without_good_keys_is_named(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(BadKeyFile) as bad:
        TokenCipher(key_file)
    assert str(key_file) in str(bad.value)


def test_a_complaint_about_a_key_file_never_shows_a_key(key_file: Path) -> None:
    key = Fernet.generate_key()
    key_file.write_bytes(key + b"\n" + key[:-4])
    with pytest.raises(BadKeyFile) as bad:
        TokenCipher(key_file)
    assert key[:-4].decode() not in str(bad.value)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKeyFile) as bad:
        TokenCipher(tmp_path)
    assert str(tmp_path) in str(bad.value)


def test_a_key_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadKeyFile) as bad:
        TokenCipher(tmp_path / "file" / "credentials.key")
    assert "credentials.key" in str(bad.value)


def test_a_crash_while_the_key_is_made_blocks_no_next_start(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(Fernet, "generate_key", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            TokenCipher(key_file)
    cipher = TokenCipher(key_file)
    assert cipher.decrypt(cipher.encrypt(TOKEN)) == TOKEN


def test_a_full_disk_while_the_key_is_made_blocks_no_next_start(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as dying:
        dying.setattr(os, "fsync", full)
        with pytest.raises(BadKeyFile):
            TokenCipher(key_file)
    assert not key_file.exists()
    TokenCipher(key_file)
