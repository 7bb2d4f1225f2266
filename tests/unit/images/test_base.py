"""What every image service shares."""

from resumable_glance.images.base import Actor, DeliveryFailed
from resumable_glance.model.upload import FailureReason, Owner

ACTOR = Actor(Owner("project", "user"), token="secret", request_id="req-1")


def test_an_actor_never_shows_its_token() -> None:
    assert "secret" not in f"{ACTOR!r} {ACTOR}"


def test_a_failed_delivery_says_why_and_whether_it_is_final() -> None:
    failed = DeliveryFailed(FailureReason.IMAGE_GONE, "The image was deleted.", final=True)
    assert (failed.error.reason, failed.error.detail, failed.final) == (
        FailureReason.IMAGE_GONE,
        "The image was deleted.",
        True,
    )
    assert not DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Later.").final
