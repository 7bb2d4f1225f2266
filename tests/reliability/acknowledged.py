"""An upload as its client knows it: nothing that the service has acknowledged may ever be taken back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.model import ranges
from tests.reliability.protocols import WireProtocol
from tests.support.raw import Answer

ORDER = {"receiving": 0, "sealed": 1, "delivering": 1, "verifying": 1, "active": 2}  # a handoff may be begun again


@dataclass(eq=False)
class AcknowledgedUpload:
    """One upload and its file. AssertionError where an answer contradicts an earlier one."""

    id: str
    protocol: WireProtocol  # its client sends in this one
    content: bytes = field(repr=False)
    image_id: str = ""
    state: str = "receiving"
    acknowledged: list[tuple[int, int]] = field(default_factory=list)  # in order, with gaps between them

    @property
    def offset(self) -> int:
        return next((stop for start, stop in self.acknowledged if start == 0), 0)

    @property
    def missing(self) -> list[tuple[int, int]]:
        starts = [0, *(stop for _, stop in self.acknowledged)]
        stops = [*(start for start, _ in self.acknowledged), len(self.content)]
        return [(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]

    def acknowledge(self, start: int, stop: int) -> None:
        if start < stop:
            apart = [each for each in self.acknowledged if each[1] < start or stop < each[0]]
            joined = [each for each in self.acknowledged if each not in apart] + [(start, stop)]
            one = (min(each[0] for each in joined), max(each[1] for each in joined))
            self.acknowledged = sorted([*apart, one])

    def record(self, answer: Answer) -> None:
        """Record what an answer acknowledges."""
        if answer.offset is not None:
            assert answer.offset >= self.offset, f"offset {answer.offset} after {self.offset} in {self}"
            self.acknowledge(0, answer.offset)
        if answer.status == 200 and answer.document and "ranges" in answer.document:
            self._record_description(answer)

    def _record_description(self, answer: Answer) -> None:
        document = answer.document
        durable = ranges(document["ranges"])
        for start, stop in self.acknowledged:
            assert any(first <= start and stop <= last for first, last in durable), (
                f"bytes {start} to {stop} were acknowledged, durable are {durable} in {self}"
            )
        for start, stop in durable:
            self.acknowledge(start, stop)
        received = sum(stop - start for start, stop in self.acknowledged)
        assert (document["offset"], document["received"]) == (self.offset, received), f"{document} contradicts itself"
        assert document["state"] in ORDER, f"{self} has become {document}"
        assert ORDER[document["state"]] >= ORDER[self.state], f"{document['state']} again: {self}"
        assert self.image_id in {"", document["image"]["id"]}, f"another image: {document}"
        self.state, self.image_id = document["state"], document["image"]["id"]

    def compare_image(self, images: Path) -> None:
        """Assert that the image is the file."""
        found = _content(images / self.image_id)
        assert found == self.content, f"the image of {self} {_difference(found, self.content, 0)}"

    def compare_scratch(self, scratch: Path) -> None:
        """Assert that all acknowledged bytes are on scratch. FileNotFoundError if there is no file."""
        found = (scratch / f"{self.id}.upload").read_bytes()
        for start, stop in self.acknowledged:
            there, sent = found[start:stop], self.content[start:stop]
            assert there == sent, f"scratch of {self} {_difference(there, sent, start)}"


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _difference(found: bytes | None, sent: bytes, start: int) -> str:
    if found is None:
        return "is missing"
    wrong = sum(one != other for one, other in zip(found, sent, strict=False)) + abs(len(sent) - len(found))
    first = next((each for each, (one, other) in enumerate(zip(found, sent, strict=False)) if one != other), len(found))
    return f"has {wrong} wrong bytes of {len(sent)}, the first at {start + first}"
