"""Receipts: signed by the service alone, verified with its public keys."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.signing import ReceiptSigner
from resumable_glance.client.receipts import verify
from resumable_glance.model.attestation import statement
from tests.unit.model.test_attestation import ACTIVE


def test_a_receipt_is_verified_with_the_public_keys_alone(tmp_path: Path) -> None:
    signer = ReceiptSigner(TokenCipher(tmp_path / "key"))
    published = json.loads(json.dumps(signer.published))
    assert [set(each) for each in published["keys"]] == [{"kty", "crv", "x", "kid", "alg", "use"}]
    assert verify(signer.sign(statement(ACTIVE)), published) == statement(ACTIVE)
    assert signer.sign(statement(ACTIVE)) == ReceiptSigner(TokenCipher(tmp_path / "key")).sign(statement(ACTIVE))


def test_a_forged_receipt_is_invalid(tmp_path: Path) -> None:
    ours, theirs = (ReceiptSigner(TokenCipher(tmp_path / name)) for name in ("ours", "theirs"))
    jws = ours.sign(statement(ACTIVE))
    head, payload, signature = jws.split(".")
    _, other, _ = ours.sign(statement(dataclasses.replace(ACTIVE, size=11))).split(".")
    unsigned = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    for forged in ("", "x", theirs.sign(statement(ACTIVE)), f"{head}.{other}.{signature}", f"{unsigned}.{payload}."):
        with pytest.raises(ValueError):  # noqa: PT011
            verify(forged, ours.published)


def test_an_older_key_verifies_and_a_newer_one_signs(tmp_path: Path) -> None:
    old = ReceiptSigner(TokenCipher(tmp_path / "key"))
    first = old.sign(statement(ACTIVE))
    TokenCipher(tmp_path / "newer")  # it makes the file
    (tmp_path / "key").write_text((tmp_path / "newer").read_text() + (tmp_path / "key").read_text())
    both = ReceiptSigner(TokenCipher(tmp_path / "key"))
    assert len(both.published["keys"]) == 2
    assert both.sign(statement(ACTIVE)) != first
    assert verify(first, both.published) == verify(both.sign(statement(ACTIVE)), both.published) == statement(ACTIVE)
