"""Refusals, and the reasons that are part of the wire."""

import re

import pytest

from resumable_glance.errors import Reason, Refused


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_can_stand_in_a_urn(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", reason.value)


def test_a_refusal_has_a_reason_a_detail_and_facts() -> None:
    refusal = Refused(Reason.SEALED, "There is nothing left to send.", offset=100, state="active")
    assert refusal.reason is Reason.SEALED
    assert refusal.detail == str(refusal) == "There is nothing left to send."
    assert refusal.facts == {"offset": 100, "state": "active"}


def test_a_refusal_shows_its_reason_and_detail() -> None:
    assert repr(Refused(Reason.SEALED, "Nothing left.")) == "Refused(upload-sealed: Nothing left.)"
