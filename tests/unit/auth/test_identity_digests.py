"""Identity digests: stable, of one owner each, and told by nobody without the key."""

from __future__ import annotations

import hashlib
from pathlib import Path

from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.identity_digests import IdentityDigests
from resumable_glance.model.upload import Owner

ADA = Owner("project", "ada")


def digests(directory: Path) -> IdentityDigests:
    return IdentityDigests(TokenCipher(directory / "key"))


def test_an_owner_has_the_same_digest_after_a_restart(tmp_path: Path) -> None:
    assert digests(tmp_path).of(ADA) == digests(tmp_path).of(Owner("project", "ada"))


def test_owners_that_differ_in_anything_have_other_digests(tmp_path: Path) -> None:
    owners = [ADA, Owner("project", "bob"), Owner("other", "ada"), Owner("ada", "project"), Owner("projecta", "da")]
    here = digests(tmp_path)
    assert len({here.of(each) for each in owners}) == len(owners)


def test_a_digest_cannot_be_computed_without_the_key(tmp_path: Path) -> None:
    first, second = digests(tmp_path / "first").of(ADA), digests(tmp_path / "second").of(ADA)
    assert first != second
    assert first != hashlib.sha256(b'["project", "ada"]').hexdigest()


def test_an_older_key_in_the_file_changes_nothing(tmp_path: Path) -> None:
    before = digests(tmp_path).of(ADA)
    TokenCipher(tmp_path / "older")  # it makes the file
    with (tmp_path / "key").open("a") as file:
        file.write((tmp_path / "older").read_text())
    assert digests(tmp_path).of(ADA) == before
