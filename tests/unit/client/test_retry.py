"""What the client tries again, and for how long."""

from __future__ import annotations

import pytest

from resumable_glance.client import ClientError, UploadGone
from resumable_glance.client.plan import (
    ApiResponse,
)
from resumable_glance.client.retry import RetryPolicy
from resumable_glance.errors import Reason


def problem(status: int, reason: Reason, **members: object) -> ApiResponse:
    """A refusal of the service itself."""
    kind = f"urn:problem-type:resumable-glance:{reason.value}"
    return ApiResponse(status, "A sentence.", {"type": kind, **members}, request_id="req-1")


LOST = ApiResponse(None, "connection refused")


def test_retries_until_success_with_one_message_per_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    said: list[str] = []
    answers = iter([LOST] * 10 + [ApiResponse(200)])
    assert RetryPolicy(said.append).call(lambda: next(answers)).status == 200
    assert len(said) == 2  # that it waits, and that the service is back


def test_retries_end_after_the_time_limit() -> None:
    with pytest.raises(ClientError, match="Given up"):
        RetryPolicy(lambda sentence: None, give_up_after=0.2).call(lambda: LOST)


@pytest.mark.parametrize(
    ("answer", "kind"), [(problem(403, Reason.FORBIDDEN), ClientError), (problem(410, Reason.EXPIRED), UploadGone)]
)
def test_final_refusals_are_not_retried(answer: ApiResponse, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        RetryPolicy(lambda sentence: None).call(lambda: answer)
