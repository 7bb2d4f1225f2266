"""Ids of trusts: each upload and each owner has its own."""

from __future__ import annotations

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.model.states import Event
from resumable_glance.model.upload import Image, Owner
from tests.support.records import ALICE, BOB, upload, wait

ELSEWHERE = Owner("another project", ALICE.user_id)


def test_an_owner_has_the_newest_own_trust(catalog: Catalog) -> None:
    owners = {"old": ALICE, "new": ALICE, "of another user": BOB, "of another project": ELSEWHERE}
    for now, (trust_id, owner) in enumerate(owners.items()):
        wait(catalog.trusts.add(trust_id, upload(owner=owner), now))
    found = [wait(catalog.trusts.of_owner(each)) for each in (ALICE, BOB, ELSEWHERE, Owner("none", "none"))]
    assert found == ["new", "of another user", "of another project", None]


def test_an_upload_has_the_newest_own_trust(catalog: Catalog) -> None:
    one, other, third = upload(), upload(), upload()
    for trust_id, of, now in (("new", one, 2.0), ("old", one, 1.0), ("other", other, 3.0)):
        wait(catalog.trusts.add(trust_id, of, now))
    assert [wait(catalog.trusts.of_upload(each.id)) for each in (one, other, third)] == ["new", "other", None]


def test_only_the_removed_trust_is_gone(catalog: Catalog) -> None:
    one, other = upload(), upload()
    for each in (one, other):
        wait(catalog.trusts.add(f"of {each.id}", each, 1.0))
    wait(catalog.trusts.remove(f"of {one.id}"))
    assert [wait(catalog.trusts.of_upload(each.id)) for each in (one, other)] == [None, f"of {other.id}"]


def test_a_trust_is_needless_without_upload_and_orphan(catalog: Catalog) -> None:
    made = [upload(owner=owner, image=None) for owner in (ALICE, BOB, ELSEWHERE, ALICE)]
    for number, each in enumerate(made):
        wait(catalog.uploads.add(each, None))
        wait(catalog.trusts.add(f"trust {number}", each, 1.0))
    assert wait(catalog.trusts.needless()) == []
    for each in made[:3]:
        wait(catalog.uploads.end(each.id, Event.CANCELLED, 1001.0))
    for owner in (BOB, ELSEWHERE):  # another user of Alice's project, and the same user in another project
        wait(catalog.orphans.expect(OrphanedImage(Image(f"of {owner.project_id}"), owner, None), 1.0, 1.0))
    assert wait(catalog.trusts.needless()) == ["trust 0"]
