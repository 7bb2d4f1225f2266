"""Progress as it happens: server-sent events, each of which says what asking would say at that moment.

Its one rule: a stream knows nothing that polling would not tell, and nobody is told more than the gate lets them hear:
before each event they are admitted again.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from resumable_glance.api.protocols.base import Reply
from resumable_glance.auth.base import Identity
from resumable_glance.catalog.notifications import ChangeNotifier
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Outcome, UploadFound, Watch
from resumable_glance.model.states import ENDED, State
from resumable_glance.uploads.body import EmptyBody
from resumable_glance.uploads.service import UploadService

PACE = 0.5  # seconds between two events, at least
LOOK = 15  # seconds after which a stream looks even if it has heard nothing
HEARTBEAT = 15  # seconds between two comments that keep a proxy from ending the connection
FAREWELL = 5  # seconds to end by itself at a stop
SEND_TIMEOUT = 60  # seconds that a client may not read
LAST = ENDED | {State.FAILED, State.JOINED}  # nothing follows by itself


class EventStreams:
    """All streams. A project may have `per_project` at a time; 0: any number."""

    def __init__(
        self, uploads: UploadService, notifier: ChangeNotifier, progress: Mapping[str, int], per_project: int
    ) -> None:
        self._uploads = uploads
        self._notifier = notifier
        self._progress = progress
        self._per_project = per_project
        self._open: collections.Counter[str] = collections.Counter()

    async def open(
        self,
        watch: Watch,
        identity: Identity,
        admit: Callable[[], Awaitable[Identity]],
        render: Callable[[Outcome], Reply],
        refuse: Callable[[Refused], Reply],
    ) -> EventSourceResponse:
        """The answer to a request of this identity, which `admit` admits again. Refused as Inspect, OVER_LIMIT."""
        first = await self._seen(watch, identity)
        project = identity.owner.project_id
        if 0 < self._per_project <= self._open[project]:
            raise Refused(
                Reason.OVER_LIMIT,
                f"Your project watches {self._open[project]} uploads, and may watch no more. Poll, or end a stream.",
                retry_after=60,
            )
        again = dataclasses.replace(watch, again=True)

        async def look() -> UploadFound:
            return await self._seen(again, await admit())

        return _Counted(self._told(first, look, render, refuse), self._open, project)

    async def _told(
        self,
        shown: UploadFound,
        look: Callable[[], Awaitable[UploadFound]],
        render: Callable[[Outcome], Reply],
        refuse: Callable[[Refused], Reply],
    ) -> AsyncIterator[ServerSentEvent]:
        yield _event("upload", render(shown))
        with self._notifier.subscribe(shown.upload.id) as changed:
            while shown.upload.state not in LAST:
                await asyncio.sleep(PACE)
                await self._wait(changed, shown)
                changed.clear()
                try:
                    seen = await look()
                except Refused as refusal:
                    yield _event("problem", refuse(refusal))
                    return
                if seen != shown:
                    shown = seen
                    yield _event("upload", render(shown))

    async def _wait(self, changed: asyncio.Event, shown: UploadFound) -> None:
        """Wait until there may be something else to show. The bytes that were delivered are looked at in memory."""
        for _ in range(int(LOOK / PACE)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PACE):
                    await changed.wait()
            if changed.is_set() or self._progress.get(shown.upload.id, 0) != shown.delivered:
                return

    async def _seen(self, watch: Watch, identity: Identity) -> UploadFound:
        outcome = await self._uploads.perform(watch, identity, EmptyBody())
        assert isinstance(outcome, UploadFound)
        return outcome


class _Counted(EventSourceResponse):
    """Counts from when it is made (nothing comes between that and its call) until it has ended, however it does."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], counter: collections.Counter[str], name: str) -> None:
        # At a stop it is our own stream that ends, once it has said so.
        super().__init__(events, ping=HEARTBEAT, sep="\n", send_timeout=SEND_TIMEOUT, shutdown_grace_period=FAREWELL)
        self._counter, self._name = counter, name
        counter[name] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._counter[self._name] -= 1
            self._counter += collections.Counter()  # forgets who has none


def _event(kind: str, reply: Reply) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(reply.document, ensure_ascii=False, separators=(",", ":")), event=kind, sep="\n")
