"""Streams of server-sent events, which show the progress of an upload.

Each event has the document that a GET would return at that moment; before each, the client is authenticated again.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from resumable_glance.api.protocols.base import Reply, RequestContext, WireProtocol
from resumable_glance.auth.base import Identity
from resumable_glance.catalog.notifications import ChangeNotifier
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import UploadFound, Watch
from resumable_glance.model.states import ENDED, State
from resumable_glance.uploads.body import EmptyBody
from resumable_glance.uploads.service import UploadService

EVENT_INTERVAL = 0.5  # seconds between two events, at least
POLL_INTERVAL = 15  # seconds until a stream without notifications asks the catalog
PING_INTERVAL = 15  # seconds between two comments, which keep a proxy from closing the connection
CLOSE_TIMEOUT = 5  # seconds for a stream to end by itself when the service stops
SEND_TIMEOUT = 60  # seconds that a client may leave an event unread
Admit = Callable[[], Awaitable[Identity]]
LAST_STATES = ENDED | {State.FAILED, State.JOINED}  # nothing follows by itself


class EventStreams:
    """All streams, of which a project may have `per_project` at a time; 0: no limit.

    `progress` has the number of bytes that the image service was given, by upload.
    """

    def __init__(
        self, uploads: UploadService, notifier: ChangeNotifier, progress: Mapping[str, int], per_project: int
    ) -> None:
        self._uploads = uploads
        self._notifier = notifier
        self._progress = progress
        self._per_project = per_project
        self._open: collections.Counter[str] = collections.Counter()

    async def open(
        self, watch: Watch, identity: Identity, admit: Admit, protocol: WireProtocol, context: RequestContext
    ) -> EventSourceResponse:
        """Return the response to a request of this identity, which `admit` authenticates again.

        Raises Refused: OVER_LIMIT, or as the command Get.
        """
        first = await self._find(watch, identity)
        project = identity.owner.project_id
        if 0 < self._per_project <= self._open[project]:
            sentence = f"Your project has {self._open[project]} open streams, and may have no more. Poll, or close one."
            raise Refused(Reason.OVER_LIMIT, sentence, retry_after=60)
        return _CountedResponse(self._events(first, admit, protocol, context), self._open, project)

    async def _events(
        self, shown: UploadFound, admit: Admit, protocol: WireProtocol, context: RequestContext
    ) -> AsyncIterator[ServerSentEvent]:
        yield _event("upload", protocol.render(shown, context))
        again = Watch(shown.upload.id, again=True)
        with self._notifier.subscribe(shown.upload.id) as changed:
            while shown.upload.state not in LAST_STATES:
                await asyncio.sleep(EVENT_INTERVAL)
                await self._wait(changed, shown)
                changed.clear()
                try:
                    found = await self._find(again, await admit())
                except Refused as refusal:
                    yield _event("problem", protocol.refuse(refusal, "GET", context))
                    return
                if found != shown:
                    shown = found
                    yield _event("upload", protocol.render(shown, context))

    async def _wait(self, changed: asyncio.Event, shown: UploadFound) -> None:
        """Wait for a notification, for delivered bytes (which the catalog does not record), or POLL_INTERVAL."""
        for _ in range(int(POLL_INTERVAL / EVENT_INTERVAL)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVENT_INTERVAL):
                    await changed.wait()
            if changed.is_set() or self._progress.get(shown.upload.id, 0) != shown.delivered:
                return

    async def _find(self, watch: Watch, identity: Identity) -> UploadFound:
        outcome = await self._uploads.perform(watch, identity, EmptyBody())
        assert isinstance(outcome, UploadFound)
        return outcome


class _CountedResponse(EventSourceResponse):
    """A stream that is counted from its construction until it ends, however it ends."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], counter: collections.Counter[str], name: str) -> None:
        # When the service stops, the stream ends by itself, after an event that says so.
        super().__init__(events, ping=PING_INTERVAL, sep="\n", send_timeout=SEND_TIMEOUT,
                         shutdown_grace_period=CLOSE_TIMEOUT)  # fmt: skip
        self._counter, self._name = counter, name
        counter[name] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._counter[self._name] -= 1
            self._counter += collections.Counter()  # removes names with a count of 0


def _event(kind: str, reply: Reply) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(reply.document, ensure_ascii=False, separators=(",", ":")), event=kind, sep="\n")
