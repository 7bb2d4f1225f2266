"""Idempotency keys in the catalog."""

from __future__ import annotations

import dataclasses

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.idempotency_keys import IdempotencyKey
from tests.support.records import ALICE, BOB, upload, wait

KEY = IdempotencyKey(ALICE, "key", "request")


def test_a_key_finds_its_upload_and_the_digest_of_its_request(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None, key=KEY))
    assert wait(catalog.idempotency_keys.find(KEY)) == (made, "request")
    assert wait(catalog.idempotency_keys.find(dataclasses.replace(KEY, request_digest="other"))) == (made, "request")


def test_a_key_is_that_of_one_owner(catalog: Catalog) -> None:
    wait(catalog.uploads.add(upload(), None, key=KEY))
    for other in (dataclasses.replace(KEY, owner=BOB), dataclasses.replace(KEY, key_digest="other")):
        assert wait(catalog.idempotency_keys.find(other)) is None


def test_a_key_that_is_used_again_stands_for_the_newer_upload(catalog: Catalog) -> None:
    older, newer = upload(), upload()
    for each in (older, newer):
        wait(catalog.uploads.add(each, None, key=KEY))
    assert wait(catalog.idempotency_keys.find(KEY)) == (newer, "request")
