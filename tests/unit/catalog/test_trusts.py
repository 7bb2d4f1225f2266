"""Ids of trusts in the catalog."""

from __future__ import annotations

from resumable_glance.catalog import Catalog
from resumable_glance.model.states import Event
from tests.support.records import ALICE, BOB, upload, wait


def test_the_newest_trust_of_an_upload_and_of_an_owner(catalog: Catalog) -> None:
    first, second = upload(), upload()
    for each in (first, second):
        wait(catalog.uploads.add(each, None))
    for trust_id, of, now in (("old", first, 1.0), ("new", first, 2.0), ("other", second, 3.0)):
        wait(catalog.trusts.add(trust_id, of, now))
    assert wait(catalog.trusts.of_upload(first.id)) == "new"
    assert wait(catalog.trusts.of_owner(ALICE)) == "other"
    assert wait(catalog.trusts.of_owner(BOB)) is None


def test_the_trust_of_an_ended_upload_is_needless_until_removed(catalog: Catalog) -> None:
    made = upload(image=None)
    wait(catalog.uploads.add(made, None))
    wait(catalog.trusts.add("trust", made, 1.0))
    assert wait(catalog.trusts.needless()) == []
    wait(catalog.uploads.transition(made.id, Event.CANCELLED, 1001.0))
    assert wait(catalog.trusts.needless()) == ["trust"]
    wait(catalog.trusts.remove("trust"))
    assert wait(catalog.trusts.needless()) == []
