"""Image services keep their contract, and the check notices those that do not. Glance: openstack/test_contracts.py."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import PIECE, Actor, DeliveryFailed, ImageStatus, Presence, Source
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, Owner
from tests.contracts import BrokenPromise, check_image_service
from tests.contracts.images import WatchedSource

ACTOR = Actor(Owner("project", "user"), token="secret", request_id="req-1")
REQUEST = ImageRequest({"name": "debian", "disk_format": "raw", "container_format": "bare"})


def test_the_directory_keeps_the_contract(tmp_path: Path) -> None:
    asyncio.run(check_image_service(DirectoryImageService(tmp_path), ACTOR, REQUEST))


def test_the_directory_keeps_the_contract_with_a_store_and_no_name(tmp_path: Path) -> None:
    asyncio.run(
        check_image_service(DirectoryImageService(tmp_path), ACTOR, ImageRequest({"disk_format": "raw"}, store="fast"))
    )


def test_the_check_leaves_no_file_in_the_directory(tmp_path: Path) -> None:
    asyncio.run(check_image_service(DirectoryImageService(tmp_path), ACTOR, REQUEST))
    assert list(tmp_path.iterdir()) == []


# What the check of the contract must notice


class CompleteFromTheStart(DirectoryImageService):
    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        found = await super().status(image, actor)
        return ImageStatus(Presence.ACTIVE, 0) if found.presence is Presence.QUEUED else found


class TakesHalfForTheWhole(DirectoryImageService):
    """What Glance does with a body that ends early, if nobody tells it the size."""

    def _write(self, image_id: str, size: int, source: Source) -> None:
        pieces: list[bytes] = []
        try:
            pieces += iter(lambda: source.read(PIECE), b"")
        finally:
            data = b"".join(pieces)
            super()._write(image_id, len(data), WatchedSource(data))


class TrustsTheSize(DirectoryImageService):
    def _write(self, image_id: str, size: int, source: Source) -> None:
        data = b"".join(iter(lambda: source.read(PIECE), b""))
        super()._write(image_id, len(data), WatchedSource(data))


class StaysBrokenAfterABreak(DirectoryImageService):
    broken = False

    def _write(self, image_id: str, size: int, source: Source) -> None:
        if self.broken:
            raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Once broken, for ever broken.")
        self.broken = True
        super()._write(image_id, size, source)
        self.broken = False


class SwallowsTheBreak(DirectoryImageService):
    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        try:
            await super().deliver(image, size, source, actor)
        except DeliveryFailed:
            raise
        except Exception:
            return


class DiesOfTheBreak(DirectoryImageService):
    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        try:
            await super().deliver(image, size, source, actor)
        except DeliveryFailed:
            raise
        except Exception:
            await self.delete(image, actor)
            raise


class TakesOnePieceForAll(DirectoryImageService):
    """A source gives no more than a piece at a time, however much it is asked for."""

    def _write(self, image_id: str, size: int, source: Source) -> None:
        super()._write(image_id, size, WatchedSource(source.read(PIECE + 1)))


class AsksForEverything(DirectoryImageService):
    def _write(self, image_id: str, size: int, source: Source) -> None:
        super()._write(image_id, size, WatchedSource(source.read(-1)))


class ReadsOnAfterABreak(DirectoryImageService):
    def _write(self, image_id: str, size: int, source: Source) -> None:
        try:
            super()._write(image_id, size, source)
        except DeliveryFailed:
            raise
        except Exception:
            super()._write(image_id, size, source)


class BlocksTheLoop(DirectoryImageService):
    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        self._write(image.id, size, source)


class HashesSomethingElse(DirectoryImageService):
    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        found = await super().status(image, actor)
        return ImageStatus(found.presence, found.size, found.md5, hashlib.sha512(b"else").hexdigest())


class ForgetsTheMd5(DirectoryImageService):
    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        found = await super().status(image, actor)
        return ImageStatus(found.presence, found.size, None, found.sha512)


class DescribesNothing(DirectoryImageService):
    async def set_format(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        pass


class DescribesMore(DirectoryImageService):
    async def set_format(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        described = self._described(image.id) or {}
        self._describe(image.id, {**described, "disk_format": disk_format, "min_disk": min_disk or 0})


class MiscountsTheSize(DirectoryImageService):
    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        found = await super().status(image, actor)
        return ImageStatus(found.presence, None if found.size is None else found.size + 1, found.md5, found.sha512)


class RefusesTheEmptyImage(DirectoryImageService):
    def _write(self, image_id: str, size: int, source: Source) -> None:
        if size:
            super()._write(image_id, size, source)


class GivesBackLess(DirectoryImageService):
    async def content(self, image: Image, actor: Actor) -> AsyncGenerator[bytes]:
        whole = await super().content(image, actor)

        async def less() -> AsyncGenerator[bytes]:
            async for piece in whole:
                yield piece[1:]

        return less()


class ForgetsWhatItIs(DirectoryImageService):
    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        found = await super().properties(image, actor)
        return None if found is None else {"name": found.get("name")}


class TellsOfItsState(DirectoryImageService):
    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        found = await super().properties(image, actor)
        return None if found is None else {**found, "id": image.id}


class RemembersWhatIsGone(DirectoryImageService):
    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        return await super().properties(image, actor) or {}


class DiscardsNothing(DirectoryImageService):
    async def delete(self, image: Image, actor: Actor) -> None:
        pass


class DiscardsOnlyOnce(DirectoryImageService):
    async def delete(self, image: Image, actor: Actor) -> None:
        if self._described(image.id) is None:
            raise DeliveryFailed(FailureReason.IMAGE_GONE, "It is gone.")
        await super().delete(image, actor)


class BringsImagesBack(DirectoryImageService):
    def _write(self, image_id: str, size: int, source: Source) -> None:
        if self._described(image_id) is None:
            self._describe(image_id, {"id": image_id, "status": "queued"})
        super()._write(image_id, size, source)


class AdoptsWhatIsNotThere(DirectoryImageService):
    def _adopted(self, image_id: str, store: str | None) -> Image:
        return Image(image_id, None, store, adopted=True)


class AdoptsWhatIsActive(DirectoryImageService):
    def _adopted(self, image_id: str, store: str | None) -> Image:
        if self._described(image_id) is None:
            raise Refused(Reason.IMAGE_UNKNOWN, "There is no such image.")
        return Image(image_id, None, store, adopted=True)


class AdoptsByCopying(DirectoryImageService):
    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        image = await super().prepare(request, size, actor)
        return image if not image.adopted else await super().prepare(REQUEST, size, actor)


class TakesTheAdoptedForItsOwn(DirectoryImageService):
    def _adopted(self, image_id: str, store: str | None) -> Image:
        found = super()._adopted(image_id, store)
        return Image(found.id, found.name, found.store)


class RefusesForTheWrongReason(DirectoryImageService):
    def _adopted(self, image_id: str, store: str | None) -> Image:
        try:
            return super()._adopted(image_id, store)
        except Refused:
            raise Refused(Reason.FORBIDDEN, "No.") from None


class MakesOneImageForAll(DirectoryImageService):
    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        image_id = str(uuid.UUID(int=7))
        self._describe(image_id, {"id": image_id, "status": "queued"})
        return Image(image_id, "debian")


class ForgetsTheName(DirectoryImageService):
    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        image = await super().prepare(request, size, actor)
        return Image(image.id, None, image.store, image.adopted)


class TakesImportsForUploads(DirectoryImageService):
    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        return await super().prepare(ImageRequest(request.properties, request.image_id, request.store), size, actor)


class SaysNothing(DirectoryImageService):
    async def check(self) -> str:
        return ""


BROKEN = [
    each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, DirectoryImageService) and each is not DirectoryImageService
]


@pytest.mark.parametrize("broken", BROKEN)
def test_the_check_notices_a_broken_image_service(broken: type[DirectoryImageService], tmp_path: Path) -> None:
    fails = broken in {DiscardsOnlyOnce, StaysBrokenAfterABreak, TakesOnePieceForAll}
    with pytest.raises((BrokenPromise, DeliveryFailed) if fails else BrokenPromise):
        asyncio.run(check_image_service(broken(tmp_path), ACTOR, REQUEST))


class SlowToNotice(DirectoryImageService):
    """Glance shows `saving` for a moment after its client went away: that is no broken promise."""

    busy = 0

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        found = await super().status(image, actor)
        self.busy += 1
        awaited = found.presence is Presence.QUEUED
        return ImageStatus(Presence.SAVING) if awaited and self.busy % 3 == 0 else found


def test_the_check_waits_for_an_image_that_is_saving(tmp_path: Path) -> None:
    asyncio.run(check_image_service(SlowToNotice(tmp_path), ACTOR, REQUEST))
