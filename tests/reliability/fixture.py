"""The fixture of the state machine: a running service and its model. Each method does one thing to both.

Every answer must be one that the model allows, and afterwards the service must describe the upload as the model does.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from pathlib import Path

from tests.reliability import joining
from tests.reliability.harness import PATIENCE, Harness
from tests.reliability.model import LIFE, TICK, Kept, Modelled, Outcomes, ranges
from tests.reliability.protocols import NATIVE, PARTS, RUFH, TUS, Chunk, Tus, WireProtocol
from tests.support.launcher import token
from tests.support.raw import Answer, Request

UNKNOWN = "a-" + "0" * 32
SEALED = "upload-sealed"


class Fixture:
    """Uploads of two projects. Their contents come from `chance`."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        harness.begin()  # an example that failed may have left it stopped
        self.chance = random.Random(1)
        self.uploads: list[Modelled] = []
        number = next(harness.numbers)
        self.projects = (f"ada-{number}", f"ben-{number}")
        self._unnamed = dict.fromkeys(self.projects, 0)  # uploads whose creation failed: only their records are left
        self._before = harness.files()

    # One request at a time

    def create(
        self, project: str, protocol: WireProtocol, size: int | None, goal: int, first: Chunk | None
    ) -> Modelled:
        """Create an upload, perhaps with its first bytes."""
        if first is not None and isinstance(protocol, Tus) and not first.body and not first.chunked:
            first = None  # tus: a body without bytes is no chunk
        draft = Modelled("", project, size, goal, "", part=protocol is PARTS)
        answer = self.harness.ask(project, protocol.create(size, first))
        if answer.status != 201:
            # The first chunk was refused, and the upload cancelled: create it again without one.
            assert first is not None, answer
            allowed = draft.outcomes(first)
            assert answer.reason in allowed, f"{answer.reason} and not {list(allowed)}"
            if draft.refused_by_head(first) == "":
                self._unnamed[project] += 1
            return self.create(project, protocol, size, goal, None)
        upload = self._admitted(draft, answer)
        if first is not None:
            outcomes = upload.outcomes(first)
            assert "" in outcomes, f"a first chunk was taken and should be refused: {list(outcomes)}"
            self.settle(upload, first, outcomes[""])
        elif protocol.completes:
            upload.asked()
        self.compare_headers(upload, protocol, answer)
        if protocol.completes:
            self.look(upload)
        return upload

    def create_in_vain(self, project: str, size: int) -> Modelled:
        """Create an upload with a digest of the whole image that can't hold."""
        answer = self.harness.ask(project, NATIVE.create(size, digests={"sha256": "0" * 64}))
        assert answer.status == 201, answer
        upload = self._admitted(Modelled("", project, size, size, "", doomed=True), answer)
        self.look(upload)
        return upload

    def _admitted(self, draft: Modelled, answer: Answer) -> Modelled:
        """Add the upload that was just created. It is read from the list, for a question may complete it."""
        draft.id, draft.image_id = self.newest(draft.project)
        assert draft.id == answer.created
        assert (draft.image_id == "") == draft.part
        self.uploads.append(draft)
        return draft

    def newest(self, project: str) -> tuple[str, str]:
        """Return the ids of a project's newest upload and of its image; a part has no image."""
        (upload,) = self.harness.ask(project, NATIVE.list_uploads("?limit=1")).document["uploads"]
        return upload["id"], upload["image"]["id"] if upload["image"] else ""

    def append(self, upload: Modelled, protocol: WireProtocol, chunk: Chunk) -> None:
        allowed = upload.outcomes(chunk)
        answer = self.harness.ask(upload.project, protocol.append(upload.id, chunk))
        self._settle(upload, protocol, chunk, answer, allowed)

    def inspect(self, upload: Modelled, protocol: WireProtocol) -> None:
        answer = self.harness.ask(upload.project, protocol.inspect(upload.id))
        if upload.gone:
            assert answer.status == 410, answer
            return
        if protocol.completes:
            upload.asked()
        assert answer.status == (200 if protocol.completes else 204), answer
        assert answer.headers["cache-control"] == "no-store"
        assert answer.number("upload-length") == upload.size
        assert protocol is not TUS or ("upload-defer-length" in answer.headers) == (upload.size is None)
        assert answer.headers.get("upload-concat", "")[:7] == self.concat(upload, protocol)
        self.compare_headers(upload, protocol, answer)

    def look(self, upload: Modelled) -> str:
        """Compare the service's description of an upload with the model; return the state."""
        answer = self.harness.ask(upload.project, NATIVE.inspect(upload.id))
        if upload.gone:
            assert (answer.status, answer.reason) == (410, upload.gone), answer
            return upload.state
        upload.asked()
        self.compare(upload, answer)
        return str(answer.document["state"])

    def read(self, upload: Modelled) -> None:
        """Read an upload, from scratch or from its image; the bytes are the model's."""
        answer = self.harness.ask(upload.project, TUS.read(upload.id))
        if upload.gone or upload.state != "sealed":
            assert answer.reason == (upload.gone or "upload-unfinished"), answer
            return
        assert (answer.status, answer.offset) == (200, upload.size), answer
        assert answer.content == upload.content, f"{len(answer.content)} other bytes than {upload}"

    def fill(self, upload: Modelled) -> None:
        """Send all missing bytes."""
        if upload.state == "receiving" and upload.size is None:
            body = self.chance.randbytes(upload.goal - upload.offset)
            chunk = Chunk(upload.offset, upload.goal, body, total=upload.goal, in_order=True)
            self.append(upload, TUS, chunk)
        for start, stop in upload.gaps if upload.state == "receiving" else []:
            body = self.chance.randbytes(stop - start)
            self.append(upload, NATIVE, Chunk(start, stop, body, total=upload.size))

    def cancel(self, upload: Modelled, protocol: WireProtocol) -> None:
        answer = self.harness.ask(upload.project, protocol.cancel(upload.id))
        if upload.expired or upload.state == "joined":
            assert answer.reason == (upload.gone or upload.closed), answer
        elif upload.state == "sealed" and not upload.doomed and answer.status != 204:
            assert answer.reason == SEALED, answer
            assert upload.right_state("active")
        else:
            assert answer.status == 204, answer
            assert not upload.freed, "an active image was cancelled"
            upload.cancel()
            self.nothing_left(upload)
        self.look(upload)

    def strangers(self, upload: Modelled, request: Request) -> None:
        """Assert that another project's request is answered as one for an upload that does not exist."""
        other = next(each for each in self.projects if each != upload.project)
        unknown = Request(
            request.method, request.path.replace(upload.id, UNKNOWN), request.headers, request.body, request.chunked
        )
        answers = [self.harness.ask(other, each) for each in (request, unknown)]
        assert answers[0].status == 404, answers[0]
        same = [({**each.headers, "date": "", "x-openstack-request-id": ""}, each.document) for each in answers]
        for _, document in same:
            if document is not None:
                del document["request_id"]
        assert same[0] == same[1]
        self.look(upload)

    def list_uploads(self, project: str) -> None:
        """Assert that a project's list has its uploads, newest first."""
        document = self.harness.ask(project, NATIVE.list_uploads()).document
        mine = {each.id: each for each in self.uploads if each.project == project}
        named = [each for each in document["uploads"] if each["id"] in mine]
        unnamed = [each for each in document["uploads"] if each["id"] not in mine]
        assert [each["id"] for each in named] == list(reversed(mine))
        assert [each["state"] for each in unnamed] == ["cancelled"] * self._unnamed[project]
        for each in named:
            upload = mine[each["id"]]
            unclean = upload.expired and each["state"] == "receiving"  # the cleaner has not run since
            if not unclean:
                self.compare_entry(upload, each)

    def malformed(self, project: str, request: Request) -> None:
        with self.harness.apart() as line:
            line.send(request.plus(token(project)).wire())
            answer = line.answer(request.method)
        self.harness.noted(project, request, answer)
        assert answer.status == 400, f"{request} was answered with {answer}"
        assert answer.reason in {"malformed-request", "status 400"}, answer

    def tick(self) -> None:
        """Let time pass: at the third tick without a new byte an upload expires, at the second without any."""
        self.harness.panel.advance(TICK)
        for each in self.uploads:
            each.tick()

    def restart(self, gracefully: bool) -> None:
        self.harness.end(gracefully)
        self.harness.begin()
        for each in self.uploads:
            self.look(each)

    def finish(self, upload: Modelled) -> None:
        """Wait for the final state of an upload that has all of its bytes, and compare its image."""
        self.look(upload)
        if upload.state != "sealed":
            return
        goal = "failed" if upload.doomed else "active"
        deadline = time.monotonic() + PATIENCE
        while self.look(upload) != goal:
            assert time.monotonic() < deadline, f"{upload} does not become {goal}"
            time.sleep(0.001)
        image = self.harness.images / upload.image_id
        if upload.doomed:
            assert not image.exists(), "an image is complete although the declared digest does not hold"
            return
        assert image.read_bytes() == upload.content, f"the image is not {upload}"
        described = json.loads(image.with_suffix(".json").read_text())
        assert (described["status"], described["size"]) == ("active", upload.size)
        assert described["checksum"] == hashlib.md5(upload.content, usedforsecurity=False).hexdigest()
        assert described["os_hash_value"] == hashlib.sha512(upload.content).hexdigest()
        for each in self.scratch_of(upload):
            self.harness.await_file(each, there=False)
        upload.freed = True

    def finish_all(self) -> None:
        """Finish every upload that can be; assert that there is one image of each, and nothing else."""
        for each in self.uploads:
            self.fill(each)
        for project in self.projects:
            joining.join_the_rest(self, project)
        for each in self.uploads:
            self.finish(each)
        for each in self.uploads:
            if each.expired or each.doomed:
                if not each.expired:
                    self.cancel(each, NATIVE)
                self.nothing_left(each)
        for project in self.projects:
            self.list_uploads(project)
        finished = {each.image_id for each in self.uploads if each.state == "sealed"}
        expected = finished | {f"{each}.json" for each in finished}
        assert self.harness.files() - self._before == expected
        for name in expected:  # the next example begins without images
            (self.harness.images / name).unlink()

    def disown(self, project: str) -> None:
        """Cancel the upload whose creation was not answered, if there is one."""
        known = {each.id for each in self.uploads}
        listed = self.harness.ask(project, NATIVE.list_uploads()).document["uploads"]
        unnamed = [each for each in listed if each["id"] not in known]
        for each in unnamed:
            if each["state"] != "cancelled":
                assert self.harness.ask(project, NATIVE.cancel(each["id"])).status == 204
        assert len(unnamed) - self._unnamed[project] in {0, 1}
        self._unnamed[project] = len(unnamed)

    # Comparisons with the model

    def settle(self, upload: Modelled, chunk: Chunk, kept: Kept, meanwhile: bool = False) -> None:
        """Let the model take over what the service kept of a chunk, if it may. `meanwhile`: the chunk still runs."""
        if upload.gone or upload.closed:
            self.look(upload)
        elif chunk.last is False and not meanwhile:  # a native question would complete a full upload
            answer = self.harness.ask(upload.project, RUFH.inspect(upload.id))
            assert answer.status == 204, answer
            observed = upload.with_offset(answer.offset or 0)
            upload.adopt(observed, answer.number("upload-length"), chunk, kept)
            self.compare_headers(upload, RUFH, answer)
        else:
            answer = self.harness.ask(upload.project, NATIVE.inspect(upload.id))
            assert answer.status == 200, answer
            upload.adopt(ranges(answer.document["ranges"]), answer.document["size"], chunk, kept)
            upload.asked()
            self.compare(upload, answer)

    def _settle(
        self, upload: Modelled, protocol: WireProtocol, chunk: Chunk, answer: Answer, allowed: Outcomes
    ) -> None:
        assert answer.reason in allowed, f"{answer} and not one of {list(allowed)}"
        self.settle(upload, chunk, allowed[answer.reason])
        if not answer.reason:
            assert answer.status == (201 if protocol is RUFH and upload.complete else 204), answer
            assert chunk.total in {None, upload.size}
            self.compare_headers(upload, protocol, answer)
        elif answer.reason == "wrong-offset":
            assert answer.offset == upload.offset

    def compare(self, upload: Modelled, answer: Answer) -> None:
        """Compare the native description of an upload with the model."""
        assert answer.status == 200, answer
        assert ranges(answer.document["ranges"]) == upload.ranges
        assert answer.document["parts"] == [each.id for each in upload.parts]
        self.compare_headers(upload, NATIVE, answer)
        self.compare_entry(upload, answer.document)

    def compare_headers(self, upload: Modelled, protocol: WireProtocol, answer: Answer) -> None:
        """Compare the headers of an answer with the model."""
        assert answer.offset == upload.offset, f"{answer.offset}, not {upload.offset}"
        if protocol is NATIVE:
            assert answer.number("upload-length") == upload.size
            # Not upload.right_state: the answer may be older than a later look.
            assert (answer.headers["upload-state"] == "receiving") == (upload.state == "receiving")
        if protocol is RUFH:
            assert (answer.headers["upload-complete"] == "?1") == upload.complete
            assert ("max-age" in answer.headers["upload-limit"]) == (upload.state == "receiving") or upload.doomed
            return
        # A doomed upload has an expiry again once it has failed, and when that is, no header of tus tells.
        assert (answer.expires is not None) == (upload.state == "receiving") or upload.doomed
        if answer.expires is not None and upload.state == "receiving":
            self._compare_expiry(upload, answer.expires)

    def compare_entry(self, upload: Modelled, document: dict[str, object]) -> None:
        """Compare the entry of an upload in a list with the model."""
        assert upload.right_state(str(document["state"])), f"{document['state']}: {upload}"
        of_image = document["image"] or {"id": ""}
        assert isinstance(of_image, dict)
        shown = (document["size"], document["offset"], document["received"], of_image["id"])
        assert shown == (upload.size, upload.offset, upload.received, upload.image_id) or not upload.alive

    def _compare_expiry(self, upload: Modelled, expires: float) -> None:
        assert upload.age < LIFE
        expected = self.harness.panel.now() + upload.expiry - upload.age * TICK
        assert abs(expires - expected) < TICK / 2, f"it expires {expires - expected} seconds too late"

    def scratch_of(self, upload: Modelled) -> list[Path]:
        """Return the files on scratch that hold an upload's bytes."""
        return [self.harness.scratch / f"{each.id}.upload" for each in upload.parts or (upload,)]

    def nothing_left(self, upload: Modelled) -> None:
        """Assert that an upload has neither scratch nor an image, once the cleaner has run."""
        of_image = (
            [self.harness.images / f"{upload.image_id}{each}" for each in ("", ".json")] if upload.image_id else []
        )
        for path in [*self.scratch_of(upload), *of_image]:
            if upload.expired:
                self.harness.await_file(path, there=False)
            assert not path.exists(), f"{path.name} is left of {upload}"

    def concat(self, upload: Modelled, protocol: WireProtocol) -> str:
        """Return how Upload-Concat begins in a protocol."""
        if protocol is not TUS:
            return ""
        return "partial" if upload.part else "final;h" if upload.parts else ""
