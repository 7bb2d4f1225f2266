"""What the service says of an upload, and leaves of it, held against the model."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.harness import Stage
from tests.reliability.model import EXPIRY, LIFE, TICK, Modelled, ranges
from tests.reliability.speakers import IETF, NATIVE, TUS, Speaker
from tests.support.raw import Answer


class FormatCheck:
    """Raises AssertionError where the service and the model differ."""

    stage: Stage

    def right(self, upload: Modelled, answer: Answer) -> None:
        """The service's own description of an upload is the model's."""
        assert answer.status == 200, answer
        assert ranges(answer.document["ranges"]) == upload.ranges
        assert answer.document["parts"] == [each.id for each in upload.parts]
        self.right_headers(upload, NATIVE, answer)
        self.right_description(upload, answer.document)

    def right_headers(self, upload: Modelled, speaker: Speaker, answer: Answer) -> None:
        """So are the headers of an answer about it."""
        assert answer.offset == upload.offset, f"{answer.offset}, not {upload.offset}"
        if speaker is NATIVE:
            assert answer.number("upload-length") == upload.size
            # Not upload.right_state: an answer may be older than what was looked at since.
            assert (answer.headers["upload-state"] == "receiving") == (upload.state == "receiving")
        if speaker is IETF:
            assert (answer.headers["upload-complete"] == "?1") == upload.complete
            assert ("max-age" in answer.headers["upload-limit"]) == (upload.state == "receiving")
            return
        assert (answer.expires is not None) == (upload.state == "receiving")
        if answer.expires is not None:
            self._right_expiry(upload, answer.expires)

    def right_description(self, upload: Modelled, document: dict[str, object]) -> None:
        """So is its entry in a list."""
        assert upload.right_state(str(document["state"])), f"{document['state']}: {upload}"
        of_image = document["image"] or {"id": ""}
        assert isinstance(of_image, dict)
        told = (document["size"], document["offset"], document["received"], of_image["id"])
        assert told == (upload.size, upload.offset, upload.received, upload.image_id) or not upload.alive

    def _right_expiry(self, upload: Modelled, expires: float) -> None:
        assert upload.age < LIFE
        expected = self.stage.panel.now() + EXPIRY - upload.age * TICK
        assert abs(expires - expected) < TICK / 2, f"it expires {expires - expected} seconds too late"

    def scratch_of(self, upload: Modelled) -> list[Path]:
        """The files that its bytes are in."""
        return [self.stage.scratch / f"{each.id}.upload" for each in upload.parts or (upload,)]

    def nothing_left(self, upload: Modelled) -> None:
        """Neither scratch nor an image, once the service has tidied up."""
        of_image = [self.stage.images / f"{upload.image_id}{each}" for each in ("", ".json")] if upload.image_id else []
        for path in [*self.scratch_of(upload), *of_image]:
            if upload.expired:
                self.stage.await_file(path, there=False)
            assert not path.exists(), f"{path.name} is left of {upload}"

    def concat(self, upload: Modelled, speaker: Speaker) -> str:
        """How Upload-Concat begins."""
        if speaker is not TUS:
            return ""
        return "partial" if upload.part else "final;h" if upload.parts else ""
