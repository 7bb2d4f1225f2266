"""The contract of image services (resumable_glance.images.base), as a check."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import secrets
import threading
import time
import uuid
from collections.abc import AsyncIterator

from resumable_glance.errors import Reason
from resumable_glance.images.base import PIECE, Actor, DeliveryFailed, ImageService, ImageStatus, Presence
from resumable_glance.model.stores import DIRECT
from resumable_glance.model.upload import Image, ImageRequest
from tests.contracts.promises import BrokenPromise, promised, raises, refused

SETTLING_TIME = 10.0  # seconds in which an image service must have noticed that its source broke off


class SourceBroke(Exception):
    """Raised by a check's source in the middle, as the handoff's own does when scratch has changed."""


class WatchedSource:
    """Gives `data`, raises SourceBroke after `breaks_after` bytes, and notes what no image service may do to it."""

    def __init__(self, data: bytes, breaks_after: int | None = None) -> None:
        self._data = data
        self._position = 0
        self._breaks_after = breaks_after
        self._broke = False
        self._loop_thread = threading.get_ident()
        self._reading = threading.Lock()
        self.sins: list[str] = []

    def read(self, size: int = PIECE, /) -> bytes:
        if size <= 0:  # more than PIECE is no sin: a source gives less then
            self.sins.append(f"An image service asks for a positive number of bytes; it asked for {size}.")
        if threading.get_ident() == self._loop_thread:
            self.sins.append("A source blocks: an image service reads it in a thread, never on the event loop.")
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


async def check_image_service(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    """Check that an image service keeps the contract.

    `request` describes an image that takes any bytes (in Glance: disk_format raw, container_format bare); `actor` may
    make it. Some ten images of less than 1 MiB are made, and deleted at the end.
    """
    promised(request.image_id is None, "check_image_service() wants a request for a new image.")
    promised(bool((await service.check()).strip()), "check() is a sentence on where images go.")
    for check in (
        _what_is_not_offered_is_refused,
        _an_image_is_known_before_its_bytes,
        _delivered_bytes_are_what_the_receipt_says,
        an_image_of_no_bytes_is_complete_too,
        _delivered_bytes_are_given_back,
        _a_source_that_breaks_leaves_the_image_waiting,
        a_source_that_is_too_short_never_completes,
        _a_discarded_image_is_gone,
        _another_image_can_be_made_like_it,
        _a_waiting_image_can_be_adopted,
        _an_image_can_be_described_before_its_bytes,
        _other_images_cannot_be_adopted,
    ):
        await check(service, actor, request)


@contextlib.asynccontextmanager
async def _image(service: ImageService, actor: Actor, request: ImageRequest, size: int) -> AsyncIterator[Image]:
    image = await service.prepare(request, size, actor)
    try:
        yield image
    finally:
        await service.delete(image, actor)


async def _settled(service: ImageService, image: Image, actor: Actor) -> ImageStatus:
    """The receipt, once the image service is not busy any more."""
    until = time.monotonic() + SETTLING_TIME
    receipt = await service.status(image, actor)
    while receipt.presence is Presence.SAVING and time.monotonic() < until:
        await asyncio.sleep(0.1)
        receipt = await service.status(image, actor)
    return receipt


async def _deliver(service: ImageService, image: Image, size: int, source: WatchedSource, actor: Actor) -> None:
    try:
        await service.deliver(image, size, source, actor)
    finally:
        promised(not source.sins, " ".join(dict.fromkeys(source.sins)))


def _content(size: int = 3 * PIECE + 17) -> bytes:
    return secrets.token_bytes(size)


def _complete(receipt: ImageStatus, data: bytes) -> None:
    promised(receipt.presence is Presence.ACTIVE, f"An image that was delivered is complete; it is {receipt}.")
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    promised(receipt.size == len(data), f"The receipt has the size that was delivered; it is {receipt}.")
    promised(receipt.md5 == md5, f"The receipt has the md5 of the bytes that were delivered; it is {receipt}.")
    sha512 = hashlib.sha512(data).hexdigest()
    promised(receipt.sha512 == sha512, f"The receipt has the sha512 of the bytes that were delivered; it is {receipt}.")


async def _what_is_not_offered_is_refused(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    offer = await service.stores(actor)
    nowhere = ImageRequest(request.properties, stores=("no-such-store",))
    sentence = "An image can't be imported into a store that is not offered: IMAGE_REFUSED."
    await refused(service.prepare(nowhere, 1, actor), [Reason.IMAGE_REFUSED], sentence)
    if DIRECT not in offer.import_methods:
        sentence = "Where no import is offered none can be asked for: IMAGE_REFUSED."
        everywhere = ImageRequest(request.properties, all_stores=True)
        await refused(service.prepare(everywhere, 1, actor), [Reason.IMAGE_REFUSED], sentence)


async def _an_image_is_known_before_its_bytes(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    async with _image(service, actor, request, 100) as image:
        receipt = await service.status(image, actor)
        promised(receipt.presence is Presence.QUEUED, f"A prepared image waits for its bytes; it is {receipt}.")
        promised(not image.adopted, "An image that the image service made is not an adopted one.")
        promised(image.name == request.properties.get("name"), "An image has the name that was asked for.")
        promised(image.store == request.store, "An image remembers its store.")
        promised(image.imports == request.imports, "An image remembers that it is to be imported.")
        promised(
            image.stores == request.stores or request.all_stores, "An image remembers the stores that it goes into."
        )
        async with _image(service, actor, request, 100) as other:
            promised(image.id != other.id, "Each prepared image is one of its own.")


async def _delivered_bytes_are_given_back(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    for data in (_content(), b""):
        async with _image(service, actor, request, len(data)) as image:
            await _deliver(service, image, len(data), WatchedSource(data), actor)
            await _settled(service, image, actor)
            given = b"".join([piece async for piece in await service.content(image, actor)])
            promised(given == data, "content() gives back the bytes that were delivered.")


async def _delivered_bytes_are_what_the_receipt_says(
    service: ImageService, actor: Actor, request: ImageRequest
) -> None:
    for data in (_content(), _content(PIECE), _content(1)):
        async with _image(service, actor, request, len(data)) as image:
            await _deliver(service, image, len(data), WatchedSource(data), actor)
            _complete(await _settled(service, image, actor), data)


async def an_image_of_no_bytes_is_complete_too(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    async with _image(service, actor, request, 0) as image:
        await _deliver(service, image, 0, WatchedSource(b""), actor)
        _complete(await _settled(service, image, actor), b"")


async def _a_source_that_breaks_leaves_the_image_waiting(
    service: ImageService, actor: Actor, request: ImageRequest
) -> None:
    data = _content()
    for breaks_after in (0, PIECE + 1, len(data)):  # at the very end, too: all bytes came, but the check of them failed
        async with _image(service, actor, request, len(data)) as image:
            try:
                await _deliver(service, image, len(data), WatchedSource(data, breaks_after), actor)
            except (SourceBroke, DeliveryFailed):
                pass
            else:
                raise BrokenPromise("deliver() raises what its source raises, or DeliveryFailed.")
            receipt = await _settled(service, image, actor)
            promised(
                receipt.presence is Presence.QUEUED,
                f"After a source broke at byte {breaks_after} of {len(data)} the image waits again; it is {receipt}.",
            )
            await _deliver(service, image, len(data), WatchedSource(data), actor)
            _complete(await _settled(service, image, actor), data)


async def a_source_that_is_too_short_never_completes(
    service: ImageService, actor: Actor, request: ImageRequest
) -> None:
    data = _content()
    async with _image(service, actor, request, len(data) + 1) as image:
        with raises(DeliveryFailed, "A source that ends before its size is a failed delivery."):
            await _deliver(service, image, len(data) + 1, WatchedSource(data), actor)
        receipt = await _settled(service, image, actor)
        promised(receipt.presence is not Presence.ACTIVE, "An image that lacks bytes is never complete.")


async def _a_discarded_image_is_gone(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    data = _content(1000)
    async with _image(service, actor, request, len(data)) as image:
        await _deliver(service, image, len(data), WatchedSource(data), actor)
        _complete(await _settled(service, image, actor), data)
        await service.delete(image, actor)
        promised((await service.status(image, actor)).presence is Presence.DELETED, "A discarded image is gone.")
        await service.delete(image, actor)  # no error if it is gone
    async with _image(service, actor, request, len(data)) as image:
        await service.delete(image, actor)
        with raises(DeliveryFailed, "Nothing can be delivered into an image that was discarded."):
            await _deliver(service, image, len(data), WatchedSource(data), actor)
        promised((await service.status(image, actor)).presence is Presence.DELETED, "A delivery brings no image back.")


async def _another_image_can_be_made_like_it(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    async with _image(service, actor, request, 100) as image:
        properties = await service.properties(image, actor)
        promised(
            properties is not None and properties.items() >= request.properties.items(),
            f"properties() has what was asked for; it is {properties}.",
        )
        again = dataclasses.replace(request, properties={**(properties or {}), "id": str(uuid.uuid4())})
        async with _image(service, actor, again, 100) as other:
            promised(other.id == again.properties["id"], "A new image has the id that it shall have.")
            promised(await service.properties(other, actor) == properties, "An image made like another one is like it.")
    promised(await service.properties(image, actor) is None, "properties() of an image that is gone is None.")


async def _a_waiting_image_can_be_adopted(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    data = _content(1000)
    async with _image(service, actor, request, len(data)) as image:
        theirs = dataclasses.replace(request, properties={}, image_id=image.id)
        adopted = await service.prepare(theirs, len(data), actor)
        promised(adopted.id == image.id, "An adopted image is the one that was asked for.")
        promised(adopted.adopted, "An adopted image is known as one: it is not ours to delete.")
        await _deliver(service, adopted, len(data), WatchedSource(data), actor)
        _complete(await _settled(service, adopted, actor), data)


async def _an_image_can_be_described_before_its_bytes(
    service: ImageService, actor: Actor, request: ImageRequest
) -> None:
    properties = {name: value for name, value in request.properties.items() if name not in {"disk_format", "min_disk"}}
    disk_format = str(request.properties["disk_format"])
    for said, wished, expected in ((None, 3, 3), (2, 3, 2), (None, None, 0)):
        asked = properties if said is None else {**properties, "min_disk": said}
        async with _image(service, actor, dataclasses.replace(request, properties=asked), 1) as image:
            for _ in range(2):  # its answer may have been lost
                await service.set_format(image, disk_format, wished, actor)
            found = await service.properties(image, actor) or {}
            promised(found.get("disk_format") == disk_format, "describe() sets the disk format.")
            promised(found.get("min_disk", 0) == expected, "describe() sets a smallest disk where there is none.")
            await _deliver(service, image, 1, WatchedSource(b"x"), actor)
            receipt = await _settled(service, image, actor)
            promised(receipt.presence is Presence.ACTIVE, "An image that was described can be delivered.")


async def _other_images_cannot_be_adopted(service: ImageService, actor: Actor, request: ImageRequest) -> None:
    unknown = ImageRequest(image_id=str(uuid.uuid4()))
    sentence = "An image that does not exist can't be adopted: IMAGE_UNKNOWN."
    await refused(service.prepare(unknown, 1, actor), [Reason.IMAGE_UNKNOWN], sentence)
    data = _content(1000)
    async with _image(service, actor, request, len(data)) as image:
        await _deliver(service, image, len(data), WatchedSource(data), actor)
        _complete(await _settled(service, image, actor), data)
        sentence = "An image that has its bytes can't be adopted: IMAGE_NOT_QUEUED."
        again = ImageRequest(image_id=image.id)
        await refused(service.prepare(again, len(data), actor), [Reason.IMAGE_NOT_QUEUED], sentence)
        _complete(await service.status(image, actor), data)
