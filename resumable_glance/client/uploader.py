"""One upload from wherever it is to an image that is verified to be the file.

    resume or create -> send the missing chunks -> wait for the handoff -> compare digests

The image is called verified only if the client's own digests of the file are those of the image.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resumable_glance.client.api import ZEROS, ApiClient, UploadView
from resumable_glance.client.errors import ClientError, UploadGone
from resumable_glance.client.image_file import ImageFile, WholeDigests
from resumable_glance.client.plan import DEFAULT_CHUNK
from resumable_glance.client.progress import Phase, Progress, Silent
from resumable_glance.client.resume_state import ResumeState, StateFile, key
from resumable_glance.client.retry import RetryPolicy
from resumable_glance.client.sender import Sender
from resumable_glance.model.states import State

FIRST_POLL, LONGEST_POLL = 0.2, 2.0  # seconds between two polls during the handoff
_GLANCE_NAMES = {"size": "size", "md5": "checksum", "sha512": "os_hash_value"}


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """The creation request, without size and digests, and how to transfer.

    `chunk_size` in bytes, the largest one; `give_up_after` in seconds without any success, None for never.
    `digest` names an algorithm to compute first and declare. Without `wait` the run ends before the handoff.
    """

    request: Mapping[str, Any]
    chunk_size: int = DEFAULT_CHUNK
    parallel: int = 3
    digest: str | None = None
    wait: bool = True
    give_up_after: float | None = None


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """An image whose size and digests, as Glance or else the service shows them, are those of the file."""

    image_id: str
    size: int
    md5: str
    sha512: str


class Uploader:
    """Uploads one file. After KeyboardInterrupt or ClientError, another run resumes."""

    def __init__(
        self, api: ApiClient, file: ImageFile, options: UploadOptions, progress: Progress | None = None
    ) -> None:
        self._api = api
        self._file = file
        self._options = options
        self._progress = progress or Silent()
        self._retries = RetryPolicy(self._progress.say, options.give_up_after)
        self._digests: WholeDigests | None = None

    def run(self) -> UploadView | VerifiedImage:
        """Return the verified image; without `wait`, the upload once the service has all bytes."""
        service = self._retries.call(self._api.describe).document
        if service.get("name") != "resumable-glance":
            raise ClientError(f"{self._api.url} is not a resumable-glance service: check the service URL.")
        identity = self._retries.call(self._api.identity).document["identity"]
        native = service["protocols"]["native"]
        chunk_size = min(self._options.chunk_size, int(native["chunks"]["max_size"]))
        declares = native.get("zeros", {}).get("content_type") == ZEROS
        state_file = StateFile(key(self._api.url, self._file.path, identity))
        with state_file.lock():
            try:
                view = self._resumed(state_file) or self._created(state_file)
                return self._finish(state_file, self._send(view, chunk_size, declares))
            except UploadGone as gone:
                state_file.remove()
                raise ClientError(f"{gone} The same command starts a new upload.") from None

    def _resumed(self, state_file: StateFile) -> UploadView | None:
        """Return the upload of an earlier run, if it still exists and still fits."""
        state = state_file.load()
        if state is None:
            return None
        try:
            response = self._retries.call(lambda: self._api.get(state.upload_id))
        except UploadGone as gone:
            self._progress.say(f"upload {state.upload_id} cannot be resumed: {gone} Starting a new upload.")
            state_file.remove()
            return None
        view = UploadView.parse(response)
        if difference := self._difference(state):
            fate = f"will still become image {view.image_id}"
            if view.state in {State.RECEIVING, State.FAILED}:
                fate = f"stays until it expires; to cancel it: resumable-glance uploads cancel {view.id}"
            self._progress.say(f"upload {view.id} is not resumed: {difference}. Starting a new one. The old one {fate}")
            return None
        self._progress.say(
            f"resuming upload {view.id}: {view.received} of {view.size} bytes are there"
            if view.state is State.RECEIVING
            else f"resuming upload {view.id}: it is {view.state}"
        )
        return view

    def _difference(self, state: ResumeState) -> str | None:
        """Return how the file or the options differ from when the upload was begun; None if they do not."""
        if state.size != self._file.size:
            return f"the file had {state.size} bytes and has {self._file.size} now"
        if state.mtime_ns != self._file.mtime_ns or state.fingerprint != self._file.fingerprint():
            return "the file has changed since"
        if dict(state.request) != dict(self._options.request):
            return "the options for the image differ"
        return None

    def _created(self, state_file: StateFile) -> UploadView:
        request: dict[str, object] = {"size": self._file.size, **self._options.request}
        if self._options.digest is not None:
            self._digests = WholeDigests(self._file, "md5", "sha512", self._options.digest)
            request["digests"] = {self._options.digest: self._file_digests(Phase.HASHING)[self._options.digest]}
        fingerprint = self._file.fingerprint()
        idempotency_key = secrets.token_hex(16)
        view = UploadView.parse(self._retries.call(lambda: self._api.create(request, idempotency_key)))
        state_file.save(
            ResumeState(
                upload_id=view.id,
                service_url=self._api.url,
                path=str(self._file.path.resolve()),
                size=self._file.size,
                mtime_ns=self._file.mtime_ns,
                fingerprint=fingerprint,
                request=self._options.request,
            )
        )
        self._progress.say(f"upload {view.id} for image {view.image_id}")
        return view

    def _send(self, view: UploadView, chunk_size: int, declares: bool) -> UploadView:
        """Send until the service misses no byte."""
        if self._digests is None:
            self._digests = WholeDigests(self._file, "md5", "sha512")
        if view.state is State.RECEIVING:
            self._progress.begin(Phase.UPLOADING, view.size, view.received)
            sender = Sender(
                self._api,
                self._file,
                self._retries,
                self._progress,
                parallel=self._options.parallel,
                declares=declares,
            )
            sender.run(view, chunk_size)
        return self._get(view)

    def _finish(self, state_file: StateFile, view: UploadView) -> UploadView | VerifiedImage:
        if not self._options.wait and view.state is not State.FAILED:
            if self._file.changed():
                raise ClientError(f"{self._file.path} changed during the upload. Cancel upload {view.id}.")
            return view
        self._progress.begin(Phase.HANDING_OVER, view.size, view.delivered)
        pause, last_error = FIRST_POLL, None
        while view.state not in {State.ACTIVE, State.FAILED}:
            if view.last_error is not None and view.last_error != last_error:
                self._progress.say(f"the handoff to Glance will be retried: {view.last_error}")
            last_error = view.last_error
            self._progress.update(view.delivered)
            time.sleep(pause)
            pause = min(LONGEST_POLL, pause * 1.5)
            view = self._get(view)
        if view.state is State.FAILED:
            raise ClientError(
                f"The upload has failed: {view.last_error or 'the service does not say why.'} Its bytes are kept. Once "
                f"the cause is removed, 'resumable-glance uploads retry {view.id}' repeats the handoff; "
                f"'resumable-glance uploads cancel {view.id}' deletes the bytes, so that a new upload can begin."
            )
        self._progress.update(view.size)
        state_file.remove()
        return self._verified(view)

    def _get(self, view: UploadView) -> UploadView:
        return UploadView.parse(self._retries.call(lambda: self._api.get(view.id)))

    def _verified(self, view: UploadView) -> VerifiedImage:
        """Compare the digests of the file with the service's and Glance's. Raise ClientError if they differ."""
        own = {"size": str(self._file.size), **self._file_digests(Phase.CHECKING)}
        self._compare("the service", view, own, {"size": str(view.size), **(view.hashes or {})})
        shown = self._shown_by_glance(view)
        self._compare("Glance", view, {name: own[name] for name in shown}, shown)
        return VerifiedImage(view.image_id, int(own["size"]), own["md5"], own["sha512"])

    def _shown_by_glance(self, view: UploadView) -> dict[str, str]:
        """Return the size and digests of the image in Glance, without those that Glance does not have."""
        response = self._api.image(view.image_id)
        if response is None:
            return {}
        if response.status == 404:
            raise ClientError(f"The service shows image {view.image_id} as active, but Glance has no such image.")
        if response.status != 200:
            self._progress.say(
                f"Glance could not be asked ({response.detail}): verified against what the service shows"
            )
            return {}
        image = response.document
        if image.get("status") != "active":
            raise ClientError(
                f"The service shows image {view.image_id} as active, but Glance shows it as {image.get('status')}."
            )
        names = dict(_GLANCE_NAMES)
        if image.get("os_hash_algo") != "sha512":
            del names["sha512"]
        return {name: str(image[theirs]) for name, theirs in names.items() if image.get(theirs) is not None}

    def _compare(self, source: str, view: UploadView, own: Mapping[str, str], theirs: Mapping[str, str]) -> None:
        for name, value in own.items():
            if name in _GLANCE_NAMES and theirs.get(name) != value:
                changed = " The file changed during the upload." if self._file.changed() else ""
                raise ClientError(
                    f"Image {view.image_id} is not this file: its {name} is {theirs.get(name)} according to {source}, "
                    f"and {value} here.{changed} Delete the image, and upload the file again."
                )

    def _file_digests(self, phase: Phase) -> Mapping[str, str]:
        if self._digests is None:
            self._digests = WholeDigests(self._file, "md5", "sha512")
        if self._digests.done < self._file.size:
            self._progress.begin(phase, self._file.size, self._digests.done)
        return self._digests.wait(self._progress.update)
