"""The driver: one file, from wherever its upload is now, to an image that is proven to be the file.

    record? -> go on with its upload, or create one -> send what is missing -> wait for the handoff -> compare

Its one rule: "verified" is said only when our own digests of the file are those of the image.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resumable_glance.client import Failure
from resumable_glance.client.connection import ZEROS, Seen, Service
from resumable_glance.client.imagefile import ImageFile, WholeDigests
from resumable_glance.client.patience import Gone, Patience
from resumable_glance.client.progress import Phase, Progress
from resumable_glance.client.record import Record, Shelf, key
from resumable_glance.client.sender import Sender
from resumable_glance.model.states import State

FIRST_POLL, LONGEST_POLL = 0.2, 2.0  # seconds between two looks at the handoff
_GLANCE_NAMES = {"size": "size", "md5": "checksum", "sha512": "os_hash_value"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wants. `request` is what the service is asked for, without size and digests; bytes, seconds."""

    request: Mapping[str, Any]
    chunk_size: int
    parallel: int = 3
    digest: str | None = None  # computed before, and declared
    wait: bool = True  # for the image to be active
    give_up_after: float | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What the image is, as Glance (or else the service) says, after it was found to be what the file is."""

    image_id: str
    size: int
    md5: str
    sha512: str


class Uploader:
    """Uploads one file. May raise Failure, and KeyboardInterrupt after which the same call goes on."""

    def __init__(self, file: ImageFile, service: Service, wish: Wish, progress: Progress) -> None:
        self._file = file
        self._service = service
        self._wish = wish
        self._progress = progress
        self._patience = Patience(progress.say, wish.give_up_after)
        self._digests: WholeDigests | None = None
        self._declares = False  # whether the service takes zeros without their bytes

    def run(self) -> Seen | Proof:
        """The proof; without `wait` what the service shows of the upload once it has all bytes."""
        limits: Any = self._patience.ask(self._service.describe).document
        if limits.get("name") != "resumable-glance":
            raise Failure(f"{self._service.url} is not a resumable-glance service: is the service URL right?")
        identity = str(self._patience.ask(self._service.identity).document["identity"])
        native = limits["protocols"]["native"]
        chunk_size = min(self._wish.chunk_size, int(native["chunks"]["max_size"]))
        self._declares = native.get("zeros", {}).get("content_type") == ZEROS
        shelf = Shelf(key(self._service.url, self._file.path, identity))
        with shelf.held():
            try:
                return self._finish(shelf, self._send(self._found(shelf) or self._begun(shelf), chunk_size))
            except Gone as gone:
                shelf.remove()
                raise Failure(f"{gone} The same command starts a new upload.") from None

    def _found(self, shelf: Shelf) -> Seen | None:
        """The upload that an earlier run has begun, if it is there and still wanted."""
        record = shelf.load()
        if record is None:
            return None
        try:
            answer = self._patience.ask(lambda: self._service.inspect(record.upload_id))
        except Gone as gone:
            self._progress.say(f"upload {record.upload_id} can't be resumed: {gone} Starting anew.")
            shelf.remove()
            return None
        seen = Seen.parse(answer)
        if difference := self._difference(record):
            fate = f"goes on without us, to image {seen.image_id}"
            if seen.state in {State.RECEIVING, State.FAILED}:
                fate = f"stays until it expires; to cancel it now: resumable-glance uploads cancel {seen.id}"
            self._progress.say(f"upload {seen.id} is not resumed: {difference}. Starting a new one. The old one {fate}")
            return None
        received = sum(each.length for each in seen.durable)
        self._progress.say(
            f"resuming upload {seen.id}: {received} of {seen.size} bytes are there"
            if seen.state is State.RECEIVING
            else f"resuming upload {seen.id}: it is {seen.state}"
        )
        return seen

    def _difference(self, record: Record) -> str | None:
        """What about the file or the options is not as it was when the upload was begun."""
        if record.size != self._file.size:
            return f"the file had {record.size} bytes and has {self._file.size} now"
        if record.mtime_ns != self._file.mtime_ns or record.fingerprint != self._file.fingerprint():
            return "the file was changed since"
        if dict(record.request) != dict(self._wish.request):
            return "the options for the image are others now"
        return None

    def _begun(self, shelf: Shelf) -> Seen:
        request: dict[str, object] = {"size": self._file.size, **self._wish.request}
        if self._wish.digest is not None:
            self._digests = WholeDigests(self._file, "md5", "sha512", self._wish.digest)
            request["digests"] = {self._wish.digest: self._own_digests(Phase.HASHING)[self._wish.digest]}
        fingerprint = self._file.fingerprint()
        key = secrets.token_hex(16)
        seen = Seen.parse(self._patience.ask(lambda: self._service.create(request, key)))
        shelf.save(
            Record(
                upload_id=seen.id,
                service_url=self._service.url,
                path=str(self._file.path.resolve()),
                size=self._file.size,
                mtime_ns=self._file.mtime_ns,
                fingerprint=fingerprint,
                request=self._wish.request,
            )
        )
        self._progress.say(f"upload {seen.id} for image {seen.image_id}")
        return seen

    def _send(self, seen: Seen, chunk_size: int) -> Seen:
        """Until no byte is missing at the service."""
        if self._digests is None:
            self._digests = WholeDigests(self._file, "md5", "sha512")
        if seen.state is State.RECEIVING:
            self._progress.begin(Phase.UPLOADING, seen.size, sum(each.length for each in seen.durable))
            sender = Sender(
                self._service,
                self._file,
                self._patience,
                self._wish.parallel,
                self._progress.say,
                self._progress.at,
                declares=self._declares,
            )
            sender.run(seen, chunk_size)
        return self._look(seen)

    def _finish(self, shelf: Shelf, seen: Seen) -> Seen | Proof:
        if not self._wish.wait and seen.state is not State.FAILED:
            if self._file.changed():
                raise Failure(f"{self._file.path} was changed while it was uploaded. Cancel upload {seen.id}.")
            return seen
        self._progress.begin(Phase.HANDING_OVER, seen.size, seen.delivered)
        pause, trouble = FIRST_POLL, None
        while seen.state not in {State.ACTIVE, State.FAILED}:
            if seen.trouble is not None and seen.trouble != trouble:
                self._progress.say(f"the service will hand the image over later: {seen.trouble}")
            trouble = seen.trouble
            self._progress.at(seen.delivered)
            time.sleep(pause)
            pause = min(LONGEST_POLL, pause * 1.5)
            seen = self._look(seen)
        if seen.state is State.FAILED:
            raise Failure(
                f"The upload has failed: {seen.trouble or 'the service does not say why'} Its bytes are kept: "
                f"'resumable-glance uploads retry {seen.id}' tries again to hand them over, once the cause is gone; "
                f"'resumable-glance uploads cancel {seen.id}' lets go of them, and then a new upload can be made."
            )
        self._progress.at(seen.size)
        shelf.remove()
        return self._proven(seen)

    def _look(self, seen: Seen) -> Seen:
        return Seen.parse(self._patience.ask(lambda: self._service.inspect(seen.id)))

    def _proven(self, seen: Seen) -> Proof:
        """Compare our own digests with the service's and with Glance's. Failure if they are not the same."""
        own = {"size": str(self._file.size), **self._own_digests(Phase.CHECKING)}
        theirs = {"size": str(seen.size), **(seen.hashes or {})}
        self._compare("the service", seen, own, theirs)
        shown = self._shown_by_glance(seen)
        self._compare("Glance", seen, {name: own[name] for name in shown}, shown)
        return Proof(seen.image_id, int(own["size"]), own["md5"], own["sha512"])

    def _shown_by_glance(self, seen: Seen) -> dict[str, str]:
        """Size and digests as the image itself has them; those that Glance does not have are not in it."""
        answer = self._service.image(seen.image_id)
        if answer is None:
            return {}
        if answer.status == 404:
            raise Failure(f"The service says that image {seen.image_id} is active, and Glance has no such image.")
        if answer.status != 200:
            self._progress.say(f"Glance could not be asked itself ({answer.detail}): the proof is the service's")
            return {}
        image = answer.document
        if image.get("status") != "active":
            raise Failure(f"The service says that image {seen.image_id} is active, Glance: {image.get('status')}.")
        names = dict(_GLANCE_NAMES)
        if image.get("os_hash_algo") != "sha512":
            del names["sha512"]
        return {name: str(image[theirs]) for name, theirs in names.items() if image.get(theirs) is not None}

    def _compare(self, who: str, seen: Seen, own: Mapping[str, str], theirs: Mapping[str, str]) -> None:
        for name, value in own.items():
            if name in {"size", "md5", "sha512"} and theirs.get(name) != value:
                changed = " The file was changed while it was uploaded." if self._file.changed() else ""
                raise Failure(
                    f"Image {seen.image_id} is not this file: its {name} is {theirs.get(name)} according to {who}, and "
                    f"{value} here.{changed} Delete the image, and upload again."
                )

    def _own_digests(self, phase: Phase) -> Mapping[str, str]:
        if self._digests is None:
            self._digests = WholeDigests(self._file, "md5", "sha512")
        if self._digests.done < self._file.size:
            self._progress.begin(phase, self._file.size, self._digests.done)
        return self._digests.wait(self._progress.at)
