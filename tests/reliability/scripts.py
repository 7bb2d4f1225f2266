"""Random scripts of uploads, for the trials on the strict disk.

Every acknowledgement goes into the disk's log, to be compared with the states after a power cut.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from resumable_glance.api.http11.body import RequestBody
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import (
    Append,
    Appended,
    Cancel,
    Chunk,
    Command,
    Create,
    Created,
    Get,
    Join,
    Outcome,
    UploadFound,
)
from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range, missing
from resumable_glance.model.states import WITH_HANDOFF, State
from resumable_glance.model.upload import ImageRequest
from tests.fakes.memory_body import PATIENCE, MemoryReceiver
from tests.reliability.world import LONGEST, ME, World

NOTHING = Range(0, 0)
NEVER = {Reason.LOST, Reason.SCRATCH_FAILED, Reason.NO_SPACE}  # on a disk that works


@dataclass(frozen=True, slots=True)
class Plan:
    """The content of an upload; `size` is announced at its creation."""

    content: bytes
    size: int | None
    zeros: Range = NOTHING  # a run of zeros in it
    part: bool = False
    refutable: bool = False  # the declared digest of the whole is another file's


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An answer to a client: the range is durable, and the upload has this final state, if any."""

    upload_id: str
    range: Range = NOTHING
    state: State | None = None


@dataclass(frozen=True, slots=True)
class MayEnd:
    """An upload that may end from now on: it was cancelled, or left to expire."""

    upload_id: str


class Body(RequestBody):
    """The body of a request, in small pieces at random moments; `broken`: the client hangs up after them."""

    def __init__(self, content: bytes, chance: random.Random, broken: bool = False) -> None:
        gone = Refused(Reason.DISCONNECTED, "The client is gone.")
        pieces = []
        while content:
            length = chance.randint(1, 200)
            pieces.append(content[:length])
            content = content[length:]
        super().__init__(Hesitant(pieces, chance, gone if broken else None), PATIENCE)


class Hesitant(MemoryReceiver):
    """A receiver that gives each piece after some turns of the event loop."""

    def __init__(self, pieces: list[bytes], chance: random.Random, end: Refused | None) -> None:
        super().__init__(pieces, end)
        self._chance = chance

    async def next(self) -> bytes:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        return await super().next()


@dataclass
class Person:
    """A client with `plans` by label; `mine` are the uploads whose ids it knows."""

    world: World
    chance: random.Random
    plans: dict[str, Plan] = field(default_factory=dict)
    mine: dict[str, str] = field(default_factory=dict)  # labels by upload
    refused: list[Reason] = field(default_factory=list)

    def plan(self, upload_id: str) -> Plan:
        return self.plans[self.mine[upload_id]]

    def tell(self, upload_id: str, range_: Range = NOTHING, state: State | None = None) -> None:
        self.world.disk.note(Acknowledgement(upload_id, range_, state))

    async def perform(self, command: Command, body: Body | None = None) -> Outcome | None:
        """Return the outcome of a command; None if it is refused."""
        try:
            return await self.world.uploads.perform(command, ME, body or Body(b"", self.chance))
        except Refused as refusal:
            self.refused.append(refusal.reason)
            if refusal.reason is Reason.SUPERSEDED and isinstance(command, Append):
                self.tell(command.upload_id, Range(0, int(str(refusal.facts.get("offset", 0)))))
            return None

    async def create(self, kind: str = "", length: int | None = None) -> str | None:
        """Create an upload, of a random kind if none is given."""
        kind = kind or self.chance.choice(
            ["sized", "sized", "digest", "first", "unsized", "part", "part", "wrong digest"]
        )
        sizes = [0, 1, 100, 300, 700, 1000, 1500, 2000]
        content = self.chance.randbytes(self.chance.choice(sizes) if length is None else length)
        zeros = self._run_of_zeros(len(content))
        content = content[: zeros.start] + bytes(zeros.length) + content[zeros.stop :]
        size = None if kind == "unsized" else len(content)
        label = f"plan {len(self.plans)}"
        self.plans[label] = Plan(content, size, zeros, kind == "part", kind == "wrong digest")
        of_all = Digest("sha256", hashlib.sha256(content + (b"!" if kind == "wrong digest" else b"")).digest())
        first = Chunk(0, min(len(content), self.chance.randint(1, 400))) if kind == "first" else None
        image = None if kind == "part" else ImageRequest({"name": label})
        create = Create(size, image, (of_all,) if "digest" in kind else (), label, first)
        outcome = await self.perform(create, Body(content[: (first and first.length) or 0], self.chance))
        if not isinstance(outcome, Created):
            return None
        self.mine[outcome.upload.id] = label
        self.tell(outcome.upload.id, Range(0, (first and first.length) or 0))
        return outcome.upload.id

    def _run_of_zeros(self, size: int) -> Range:
        start = self.chance.randint(0, size)
        return Range(start, self.chance.randint(start, size)) if self.chance.random() < 0.7 else NOTHING

    def some(self) -> str | None:
        return self.chance.choice(list(self.mine)) if self.mine else None

    async def send(self, upload_id: str | None = None) -> None:
        """Send some bytes of an upload, in one of many ways."""
        upload_id = upload_id or self.some()
        if upload_id is None:
            return
        size = len(self.plan(upload_id).content)
        start = self.chance.choice([0, self.chance.randint(0, size), self.chance.randint(0, size)])
        stop = self.chance.randint(start, min(size, start + LONGEST))
        await self.append(
            upload_id, start, stop, self.chance.choice(["", "", "digest", "cut", "cut digest", "spoilt digest"])
        )

    async def append(self, upload_id: str, start: int, stop: int, how: str = "", total: int | None = None) -> None:
        content = self.plan(upload_id).content
        sent = content[start:stop]
        declared = (Digest("md5", hashlib.md5(sent, usedforsecurity=False).digest()),) if "digest" in how else ()
        if "spoilt" in how:
            sent = bytes(each ^ 1 for each in sent)
        if "cut" in how and sent:
            sent = sent[: self.chance.randrange(len(sent))]
        zeros = how == "zeros"
        body = Body(b"" if zeros else sent, self.chance, broken="cut" in how)
        chunk = Chunk(start, stop - start, declared, zeros=zeros)
        outcome = await self.perform(Append(upload_id, chunk, total), body)
        if isinstance(outcome, Appended):
            self.tell(upload_id, Range(start, stop))

    async def declare(self, upload_id: str | None = None) -> None:
        """Declare some zeros of an upload, perhaps where other bytes came and were not kept."""
        having = [each for each in self.mine if self.plan(each).zeros.length]
        if not having:
            return
        upload_id = upload_id if upload_id in having else self.chance.choice(having)
        first, last = self.plan(upload_id).zeros
        start = self.chance.choice([first, self.chance.randrange(first, last)])
        stop = min(last, start + LONGEST)
        if self.chance.random() < 0.5:
            await self.append(upload_id, start, stop, "spoilt digest")
        await self.append(upload_id, start, stop, "zeros")

    async def take_over(self) -> None:
        """Send the same bytes twice at once."""
        upload_id = self.some()
        await asyncio.gather(self.send(upload_id), self.send(upload_id))

    async def leave(self) -> None:
        """Start requests, and cancel them in the middle."""
        for _ in range(3):
            task = asyncio.create_task(self.send())
            for _ in range(self.chance.randrange(150)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def ask(self, upload_id: str | None = None) -> UploadFound | None:
        upload_id = upload_id or self.some()
        if upload_id is None:
            return None
        outcome = await self.perform(Get(upload_id, taking_over=self.chance.random() < 0.3))
        if not isinstance(outcome, UploadFound):
            return None
        for each in outcome.durable:
            self.tell(upload_id, each)
        if outcome.upload.state is State.ACTIVE:
            self.tell(upload_id, state=State.ACTIVE)
        return outcome

    async def finish(self, upload_id: str | None = None) -> None:
        """Ask which bytes are missing, and send them."""
        upload_id = upload_id or self.some()
        if self.chance.random() < 0.5:
            await self.declare(upload_id)
        found = await self.ask(upload_id)
        if upload_id is None or found is None or found.upload.state is not State.RECEIVING:
            return
        size = len(self.plan(upload_id).content)
        gaps = missing(size, found.durable) or [Range(size, size)]
        for start, stop in gaps:
            await self.append(upload_id, start, stop, self.chance.choice(["", "digest"]), total=size)

    async def join(self, upload_ids: list[str] | None = None) -> None:
        """Join some parts, complete or not."""
        parts = [each for each in self.mine if self.plan(each).part]
        taken = upload_ids or self.chance.sample(parts, min(len(parts), self.chance.randint(1, 3)))
        if not taken:
            return
        if self.chance.random() < 0.8:
            await asyncio.gather(*map(self.finish, taken))
        label = f"plan {len(self.plans)}"
        content = b"".join(self.plan(each).content for each in taken)
        self.plans[label] = Plan(content, len(content))
        outcome = await self.perform(Join(tuple(taken), ImageRequest({"name": label}), label))
        if isinstance(outcome, Created):
            self.mine[outcome.upload.id] = str(outcome.upload.metadata)  # it may be the label of an earlier join
            self.tell(outcome.upload.id, Range(0, len(content)))

    async def cancel(self, upload_id: str | None = None) -> None:
        upload_id = upload_id or self.some()
        if upload_id is None:
            return
        self._mean(upload_id)
        if await self.perform(Cancel(upload_id)):
            self.tell(upload_id, state=State.CANCELLED)

    async def expire(self) -> None:
        """Let all uploads expire."""
        for each in self.mine:
            self._mean(each)
        self.world.now += 8 * 24 * 3600.0
        await self.world.cleaner.tidy()

    async def rest(self) -> None:
        for _ in range(self.chance.randrange(60)):
            await asyncio.sleep(0)

    def _mean(self, upload_id: str) -> None:
        self.world.disk.note(MayEnd(upload_id))
        known = self.world.recorded().uploads.get(upload_id)
        for each in known.files if known is not None else ():
            self.world.disk.note(MayEnd(each))  # the parts end with the whole

    async def act(self, seldom: float = 0.03) -> None:
        """Do one random thing, or several at once."""
        if self.chance.random() < seldom:
            await self.expire()
            return
        ways: list[Callable[[], Awaitable[object]]] = [
            self.create, self.create, self.send, self.send, self.send, self.declare, self.declare, self.take_over,
            self.leave, self.leave, self.ask, self.finish, self.finish, self.join, self.cancel, self.rest,
        ]  # fmt: skip
        await asyncio.gather(*(each() for each in self.chance.sample(ways, self.chance.choice([1, 1, 2, 3]))))

    async def end(self) -> None:
        """Finish every upload; cancel those that can't become images."""
        for each in list(self.mine):
            await self.finish(each)
        for each in [each for each in self.mine if self.plan(each).part]:
            found = await self.ask(each)
            if found is not None and found.upload.state is State.RECEIVING:
                await self.join([each])
        for each in list(self.mine):
            while (found := await self.ask(each)) is not None and found.upload.state in WITH_HANDOFF:
                for _ in range(50):
                    await asyncio.sleep(0)
            if found is not None and found.upload.state in {State.RECEIVING, State.FAILED}:
                await self.cancel(each)
