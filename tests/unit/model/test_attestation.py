"""What a receipt says."""

from __future__ import annotations

import dataclasses

import pytest

from resumable_glance.api.protocols import native
from resumable_glance.api.protocols.base import RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.attestation import statement
from resumable_glance.model.commands import GetReceipt
from resumable_glance.model.states import State
from resumable_glance.model.upload import Delivery, Image, Owner, Proof, Upload, Verified
from tests.reliability.parsers import PLACE

PROOF = Proof("5" * 32, "a" * 128)
ACTIVE = Upload(
    id="a-" + "0" * 32,
    owner=Owner("project", "user"),
    size=10,
    state=State.ACTIVE,
    image=Image("new", replaced=("old",)),
    created_at=0.0,
    updated_at=7.0,
    expires_at=0.0,
    request_id="req-1",
    delivery=Delivery(proof=PROOF, verified=Verified(5.0, 10, PROOF.md5, PROOF.sha512, "req-2")),
)


def test_a_receipt_has_both_sides_and_their_request_ids() -> None:
    same = {"size": 10, "md5": PROOF.md5, "sha512": PROOF.sha512}
    assert statement(ACTIVE) == {
        **same,
        "iss": "resumable-glance",
        "upload_id": ACTIVE.id,
        "project_id": "project",
        "user_id": "user",
        "image_id": "new",
        "replaced": ["old"],
        "ours": same,
        "glance": same,
        "created_at": "1970-01-01T00:00:00Z",
        "verified_at": "1970-01-01T00:00:05Z",
        "request_ids": {"creation": "req-1", "handoff": "req-2"},
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_receipt_is_asked_for_by_its_address(method: str) -> None:
    assert native.parse(RequestHead(method, "a-0", {}, {}, "receipt"), b"", PLACE) == GetReceipt("a-0")


@pytest.mark.parametrize("state", sorted(set(State) - {State.ACTIVE}))
def test_nothing_but_an_active_upload_has_a_receipt(state: State) -> None:
    with pytest.raises(Refused) as refused:
        statement(dataclasses.replace(ACTIVE, state=state))
    assert refused.value.reason is Reason.UNFINISHED
