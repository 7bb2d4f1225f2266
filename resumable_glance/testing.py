"""The contracts of the families, as checks that every member runs: scratch, sinks and gates.

You are writing a new scratch, sink or gate? Then its test is one line, and this module is the reader of your
work: each check walks through what the family's `__init__` promises and breaks off, with a sentence, at the first
promise that your member does not keep. It raises BrokenPromise, which is an AssertionError, so that any test runner
shows it well.

    def test_my_scratch_keeps_the_contract(tmp_path):
        asyncio.run(check_scratch(MyScratch(tmp_path)))

The checks speak to your member only through the family's Protocol. They leave nothing behind if the contract is
kept, need no network of their own, and take well under a second for a member that works in memory. They can't see
what a crash of the machine loses: for that there are the power cuts (docs/reliability.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping

from resumable_glance.auth import Gate, Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.protocol.delivery import Presence, Receipt
from resumable_glance.protocol.upload import Image, ImageRequest
from resumable_glance.scratch import Scratch
from resumable_glance.sinks import PIECE, Actor, DeliveryFailed, Sink

KiB = 1024
SETTLING_TIME = 10.0  # seconds in which a sink must have noticed that its source broke off
BAD_IDS = (
    "",
    ".",
    "..",
    "../x",
    "a-../../../../../../tmp/x",
    "/etc/passwd",
    "%2e%2e%2fx",
    "a-" + "0" * 31,
    "a-" + "0" * 33,
    "a-" + "A" * 32,
    "a-" + "g" * 32,
    "-" + "0" * 32,
    "0" * 32,
    "b" * 17 + "-" + "0" * 32,
    "a-" + "0" * 32 + "\n",
    "a-" + "0" * 32 + "\0",
    "a-" + "٠" * 32,
    " a-" + "0" * 32,
)


class BrokenPromise(AssertionError):
    """A member of a family does not keep the family's contract; the sentence says which promise it is."""


def promised(kept: bool, sentence: str) -> None:
    if not kept:
        raise BrokenPromise(sentence)


@contextlib.contextmanager
def raises(kind: type[Exception], sentence: str) -> Iterator[None]:
    """Inside, `kind` is raised; anything else, or nothing, breaks the promise."""
    try:
        yield
    except kind:
        return
    except Exception as other:
        raise BrokenPromise(f"{sentence} (it raised {other!r})") from other
    raise BrokenPromise(f"{sentence} (nothing was raised)")


async def refused(asked: Awaitable[object], reasons: Iterable[Reason], sentence: str) -> None:
    """`asked` is refused for one of the reasons; anything else breaks the promise."""
    try:
        await asked
    except Refused as refusal:
        promised(refusal.reason in set(reasons), f"{sentence} (the reason given was {refusal.reason})")
    except Exception as other:
        raise BrokenPromise(f"{sentence} (it raised {other!r})") from other
    else:
        raise BrokenPromise(f"{sentence} (it was not refused)")


# Scratch


async def check_scratch(scratch: Scratch) -> None:
    """Hold a scratch to the contract of resumable_glance.scratch. What others have there is not touched."""
    for check in (
        _creation_is_exclusive,
        _holes_read_as_zeros,
        _bytes_land_where_they_belong,
        _writers_do_not_disturb_each_other,
        _a_file_that_is_too_short_says_so,
        _synced_bytes_are_seen_by_others,
        _a_reader_gives_everything,
        _removal_frees,
        _missing_files_are_missed,
        _an_upload_of_no_bytes_is_a_file_too,
    ):
        upload_id = f"check-{secrets.token_hex(16)}"
        try:
            await check(scratch, upload_id)
        finally:
            await scratch.remove(upload_id)
    await _bad_ids_touch_nothing(scratch)
    free = await scratch.free()
    promised(type(free) is int and free >= 0, f"free() is a number of bytes; it was {free!r}.")


async def _listed(scratch: Scratch) -> set[str]:
    listed = [each async for each in scratch.uploads()]
    promised(len(set(listed)) == len(listed), "uploads() names each upload once.")
    return set(listed)


async def _creation_is_exclusive(scratch: Scratch, upload_id: str) -> None:
    await scratch.create(upload_id, 8)
    async with scratch.open(upload_id) as file:
        await file.write(0, b"12345678")
        await file.sync()
    with raises(FileExistsError, "create() of an upload that has a file raises FileExistsError."):
        await scratch.create(upload_id, 8)
    async with scratch.open(upload_id) as file:
        promised(await file.read(0, 8) == b"12345678", "create() that is refused leaves the file as it was.")
    promised(upload_id in await _listed(scratch), "uploads() lists what was created.")


async def _holes_read_as_zeros(scratch: Scratch, upload_id: str) -> None:
    await scratch.create(upload_id, 64 * KiB)
    async with scratch.open(upload_id) as file:
        promised(await file.read(0, 64 * KiB) == bytes(64 * KiB), "A file that nobody wrote to is all zeros.")
        await file.write(40_000, b"x")
        expected = bytes(40_000) + b"x" + bytes(64 * KiB - 40_001)
        promised(await file.read(0, 64 * KiB) == expected, "Around what was written there are zeros.")


async def _bytes_land_where_they_belong(scratch: Scratch, upload_id: str) -> None:
    size = 300 * KiB
    model = bytearray(size)
    await scratch.create(upload_id, size)
    async with scratch.open(upload_id) as file:
        for position, length in ((200_000, 70_000), (0, 1), (size - 1, 1), (100, 100_000), (150, 10), (5, 0)):
            data = secrets.token_bytes(length)
            await file.write(position, memoryview(data) if length % 2 else data)
            model[position : position + length] = data
        await file.sync()
        promised(await file.read(0, size) == model, "Any position can be written to, in any order, and again.")
        promised(await file.read(149, 12) == model[149:161], "Any part can be read.")
        promised(await file.read(7, 0) == b"", "A read of no bytes gives none.")


async def _writers_do_not_disturb_each_other(scratch: Scratch, upload_id: str) -> None:
    writers, stripe, rounds = 8, 4 * KiB, 8
    await scratch.create(upload_id, writers * stripe * rounds)

    async def write(mine: int) -> None:
        async with scratch.open(upload_id) as file:
            for turn in range(rounds):
                await file.write((turn * writers + mine) * stripe, bytes([mine + 1]) * stripe)
            await file.sync()

    await asyncio.gather(*(write(each) for each in range(writers)))
    expected = b"".join(bytes([each + 1]) * stripe for each in range(writers)) * rounds
    async with scratch.open(upload_id) as file:
        found = await file.read(0, len(expected))
    promised(found == expected, "Several writers at a time, each at its own places, lose nothing of each other.")


async def _a_file_that_is_too_short_says_so(scratch: Scratch, upload_id: str) -> None:
    await scratch.create(upload_id, 10)
    async with scratch.open(upload_id) as file:
        await file.write(0, b"0123456789")
        for position, length in ((0, 11), (10, 1), (1000, 1)):
            with raises(EOFError, "read() beyond the end raises EOFError rather than give fewer bytes."):
                await file.read(position, length)
        promised(await file.read(9, 1) == b"9", "After an EOFError the file can still be read.")


async def _synced_bytes_are_seen_by_others(scratch: Scratch, upload_id: str) -> None:
    await scratch.create(upload_id, 4)
    async with scratch.open(upload_id) as one, scratch.open(upload_id) as other:
        await one.write(0, b"once")
        await one.sync()
        promised(await other.read(0, 4) == b"once", "What was synced is seen by whoever has the file open.")
        await one.sync()  # nothing new: no error
    async with scratch.open(upload_id) as later:
        promised(await later.read(0, 4) == b"once", "What was synced is seen by whoever opens the file later.")


async def _a_reader_gives_everything(scratch: Scratch, upload_id: str) -> None:
    data = secrets.token_bytes(200_000)
    await scratch.create(upload_id, len(data))
    async with scratch.open(upload_id) as file:
        await file.write(0, data)
        await file.sync()

    def read_all() -> bytes:
        with scratch.reader(upload_id) as reader:
            pieces = list(iter(lambda: reader.read(30_000), b""))
            promised(all(len(each) <= 30_000 for each in pieces), "A reader gives no more than it is asked for.")
            promised(reader.read(1) == b"", "A reader at its end gives nothing, however often it is asked.")
        return b"".join(pieces)

    promised(await asyncio.to_thread(read_all) == data, "A reader gives every byte, in order, to a thread.")


async def _removal_frees(scratch: Scratch, upload_id: str) -> None:
    await scratch.create(upload_id, 4)
    async with scratch.open(upload_id) as file:
        await file.write(0, b"left")
        await file.sync()
    await scratch.remove(upload_id)
    promised(upload_id not in await _listed(scratch), "uploads() does not list what was removed.")
    with raises(FileNotFoundError, "What was removed can't be opened."):
        async with scratch.open(upload_id):
            pass
    await scratch.remove(upload_id)  # idempotent: no error
    await scratch.create(upload_id, 4)
    async with scratch.open(upload_id) as file:
        promised(await file.read(0, 4) == bytes(4), "A file that is made again has nothing of the one before.")


async def _missing_files_are_missed(scratch: Scratch, upload_id: str) -> None:
    with raises(FileNotFoundError, "open() of an upload that has no file raises FileNotFoundError."):
        async with scratch.open(upload_id):
            pass
    with raises(FileNotFoundError, "reader() of an upload that has no file raises FileNotFoundError."):
        scratch.reader(upload_id).close()
    promised(upload_id not in await _listed(scratch), "Asking for a file does not make it.")
    await scratch.remove(upload_id)  # no error if there is nothing to free


async def _an_upload_of_no_bytes_is_a_file_too(scratch: Scratch, upload_id: str) -> None:
    await scratch.create(upload_id, 0)
    promised(upload_id in await _listed(scratch), "An upload of no bytes is listed.")
    async with scratch.open(upload_id) as file:
        await file.sync()
        promised(await file.read(0, 0) == b"", "An upload of no bytes can be read, and gives none.")
    with scratch.reader(upload_id) as reader:
        promised(reader.read(10) == b"", "The reader of an upload of no bytes is at its end.")


async def _bad_ids_touch_nothing(scratch: Scratch) -> None:
    before = await _listed(scratch)
    for bad in BAD_IDS:
        sentence = f"{bad!r} is not an upload id: ValueError, before anything is touched."
        with raises(ValueError, sentence):
            await scratch.create(bad, 1)
        with raises(ValueError, sentence):
            async with scratch.open(bad):
                pass
        with raises(ValueError, sentence):
            scratch.reader(bad).close()
        with raises(ValueError, sentence):
            await scratch.remove(bad)
    promised(await _listed(scratch) == before, "What is not an upload id changes nothing.")


# Sinks


class SourceBroke(Exception):
    """Raised by a check's source in the middle, as the handoff's own does when scratch has changed."""


class WatchedSource:
    """Gives `data`, raises SourceBroke after `breaks_after` bytes, and notes what no sink may do to it."""

    def __init__(self, data: bytes, breaks_after: int | None = None) -> None:
        self._data = data
        self._position = 0
        self._breaks_after = breaks_after
        self._broke = False
        self._loop_thread = threading.get_ident()
        self._reading = threading.Lock()
        self.sins: list[str] = []

    def read(self, size: int = PIECE, /) -> bytes:
        if not 0 < size <= PIECE:
            self.sins.append(f"A sink asks for at most PIECE bytes at once; it asked for {size}.")
        if threading.get_ident() == self._loop_thread:
            self.sins.append("A source blocks: a sink reads it in a thread, never on the event loop.")
        if self._broke:
            self.sins.append("A source that raised is not read again.")
        if not self._reading.acquire(blocking=False):
            self.sins.append("A source is one stream: it is read by one thread at a time.")
            return b""
        try:
            return self._piece(size)
        finally:
            self._reading.release()

    def _piece(self, size: int) -> bytes:
        if self._breaks_after is not None and self._position >= self._breaks_after:
            self._broke = True
            raise SourceBroke("this source was told to break")
        stop = len(self._data) if self._breaks_after is None else self._breaks_after
        piece = self._data[self._position : min(self._position + min(max(size, 0), PIECE), stop)]
        self._position += len(piece)
        return piece


async def check_sink(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    """Hold a sink to the contract of resumable_glance.sinks.

    `request` describes a new image such as the sink takes any bytes for (in Glance: disk_format raw, container_format
    bare); `actor` may make it. Some ten images of less than 1 MiB are made, and discarded at the end.
    """
    promised(request.image_id is None, "check_sink() wants a request for a new image.")
    promised(bool((await sink.check()).strip()), "check() is a sentence on where images go.")
    for check in (
        _an_image_is_known_before_its_bytes,
        _delivered_bytes_are_what_the_receipt_says,
        _an_image_of_no_bytes_is_complete_too,
        _a_source_that_breaks_leaves_the_image_waiting,
        _a_source_that_is_too_short_never_completes,
        _a_discarded_image_is_gone,
        _a_waiting_image_can_be_adopted,
        _other_images_cannot_be_adopted,
    ):
        await check(sink, actor, request)


@contextlib.asynccontextmanager
async def _image(sink: Sink, actor: Actor, request: ImageRequest, size: int) -> AsyncIterator[Image]:
    image = await sink.prepare(request, size, actor)
    try:
        yield image
    finally:
        await sink.discard(image, actor)


async def _settled(sink: Sink, image: Image, actor: Actor) -> Receipt:
    """The receipt, once the sink is not busy any more."""
    until = time.monotonic() + SETTLING_TIME
    receipt = await sink.receipt(image, actor)
    while receipt.presence is Presence.BUSY and time.monotonic() < until:
        await asyncio.sleep(0.1)
        receipt = await sink.receipt(image, actor)
    return receipt


async def _deliver(sink: Sink, image: Image, size: int, source: WatchedSource, actor: Actor) -> None:
    try:
        await sink.deliver(image, size, source, actor)
    finally:
        promised(not source.sins, " ".join(dict.fromkeys(source.sins)))


def _content(size: int = 3 * PIECE + 17) -> bytes:
    return secrets.token_bytes(size)


def _complete(receipt: Receipt, data: bytes) -> None:
    promised(receipt.presence is Presence.COMPLETE, f"An image that was delivered is complete; it is {receipt}.")
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    promised(receipt.size == len(data), f"The receipt has the size that was delivered; it is {receipt}.")
    promised(receipt.md5 == md5, f"The receipt has the md5 of the bytes that were delivered; it is {receipt}.")
    sha512 = hashlib.sha512(data).hexdigest()
    promised(receipt.sha512 == sha512, f"The receipt has the sha512 of the bytes that were delivered; it is {receipt}.")


async def _an_image_is_known_before_its_bytes(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    async with _image(sink, actor, request, 100) as image:
        receipt = await sink.receipt(image, actor)
        promised(receipt.presence is Presence.AWAITED, f"A prepared image waits for its bytes; it is {receipt}.")
        promised(not image.adopted, "An image that the sink made is not an adopted one.")
        promised(image.name == request.properties.get("name"), "An image has the name that was asked for.")
        promised(image.store == request.store, "An image remembers its store.")
        async with _image(sink, actor, request, 100) as other:
            promised(image.id != other.id, "Each prepared image is one of its own.")


async def _delivered_bytes_are_what_the_receipt_says(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    for data in (_content(), _content(PIECE), _content(1)):
        async with _image(sink, actor, request, len(data)) as image:
            await _deliver(sink, image, len(data), WatchedSource(data), actor)
            _complete(await _settled(sink, image, actor), data)


async def _an_image_of_no_bytes_is_complete_too(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    async with _image(sink, actor, request, 0) as image:
        await _deliver(sink, image, 0, WatchedSource(b""), actor)
        _complete(await _settled(sink, image, actor), b"")


async def _a_source_that_breaks_leaves_the_image_waiting(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    data = _content()
    for breaks_after in (0, PIECE + 1, len(data)):  # at the very end, too: all bytes came, but the check of them failed
        async with _image(sink, actor, request, len(data)) as image:
            try:
                await _deliver(sink, image, len(data), WatchedSource(data, breaks_after), actor)
            except (SourceBroke, DeliveryFailed):
                pass
            else:
                raise BrokenPromise("deliver() raises what its source raises, or DeliveryFailed.")
            receipt = await _settled(sink, image, actor)
            promised(
                receipt.presence is Presence.AWAITED,
                f"After a source broke at byte {breaks_after} of {len(data)} the image waits again; it is {receipt}.",
            )
            await _deliver(sink, image, len(data), WatchedSource(data), actor)
            _complete(await _settled(sink, image, actor), data)


async def _a_source_that_is_too_short_never_completes(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    data = _content()
    async with _image(sink, actor, request, len(data) + 1) as image:
        with raises(DeliveryFailed, "A source that ends before its size is a failed delivery."):
            await _deliver(sink, image, len(data) + 1, WatchedSource(data), actor)
        receipt = await _settled(sink, image, actor)
        promised(receipt.presence is not Presence.COMPLETE, "An image that lacks bytes is never complete.")


async def _a_discarded_image_is_gone(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    data = _content(1000)
    async with _image(sink, actor, request, len(data)) as image:
        await _deliver(sink, image, len(data), WatchedSource(data), actor)
        _complete(await _settled(sink, image, actor), data)
        await sink.discard(image, actor)
        promised((await sink.receipt(image, actor)).presence is Presence.GONE, "A discarded image is gone.")
        await sink.discard(image, actor)  # no error if it is gone
    async with _image(sink, actor, request, len(data)) as image:
        await sink.discard(image, actor)
        with raises(DeliveryFailed, "Nothing can be delivered into an image that was discarded."):
            await _deliver(sink, image, len(data), WatchedSource(data), actor)
        promised((await sink.receipt(image, actor)).presence is Presence.GONE, "A delivery brings no image back.")


async def _a_waiting_image_can_be_adopted(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    data = _content(1000)
    async with _image(sink, actor, request, len(data)) as image:
        adopted = await sink.prepare(ImageRequest(image_id=image.id, store=request.store), len(data), actor)
        promised(adopted.id == image.id, "An adopted image is the one that was asked for.")
        promised(adopted.adopted, "An adopted image is known as one: it is not ours to delete.")
        await _deliver(sink, adopted, len(data), WatchedSource(data), actor)
        _complete(await _settled(sink, adopted, actor), data)


async def _other_images_cannot_be_adopted(sink: Sink, actor: Actor, request: ImageRequest) -> None:
    unknown = ImageRequest(image_id=str(uuid.uuid4()))
    sentence = "An image that does not exist can't be adopted: IMAGE_UNKNOWN."
    await refused(sink.prepare(unknown, 1, actor), [Reason.IMAGE_UNKNOWN], sentence)
    data = _content(1000)
    async with _image(sink, actor, request, len(data)) as image:
        await _deliver(sink, image, len(data), WatchedSource(data), actor)
        _complete(await _settled(sink, image, actor), data)
        sentence = "An image that has its bytes can't be adopted: IMAGE_NOT_QUEUED."
        again = ImageRequest(image_id=image.id)
        await refused(sink.prepare(again, len(data), actor), [Reason.IMAGE_NOT_QUEUED], sentence)
        _complete(await sink.receipt(image, actor), data)


# Gates


async def check_gate(gate: Gate, good: Mapping[str, str], bad: Iterable[Mapping[str, str]] = ()) -> None:
    """Hold a gate to the contract of resumable_glance.auth.

    `good` are headers (names in lower case) that the gate admits, `bad` those that it must refuse.
    """
    identity = await _admitted(gate, good)
    for headers in bad:
        sentence = "Whoever is not admitted is refused, as UNAUTHENTICATED or FORBIDDEN."
        for _ in range(2):  # a refusal must not be remembered as an admission
            await refused(gate.admit(headers), [Reason.UNAUTHENTICATED, Reason.FORBIDDEN], sentence)
    promised(await _admitted(gate, good) == identity, "Who is admitted stays the same, whoever else is refused.")
    at_once = await asyncio.gather(*(_admitted(gate, good) for _ in range(8)))
    promised(all(each == identity for each in at_once), "Requests at the same time are the same identity.")


async def _admitted(gate: Gate, headers: Mapping[str, str]) -> Identity:
    given = dict(headers)
    identity = await gate.admit(given)
    promised(given == dict(headers), "A gate leaves the headers as they are.")
    promised(bool(identity.owner.project_id), "An identity has a project.")
    promised(bool(identity.owner.user_id), "An identity has a user.")
    promised(identity.expires_at > time.time(), "Nobody is admitted whose time is over.")
    shown = f"{identity!r} {identity}"
    promised(identity.token is None or identity.token not in shown, "An identity never shows its token.")
    return identity
