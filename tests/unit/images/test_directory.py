"""The image service of development mode: files in a directory."""

import asyncio
import hashlib
import json
import os
import uuid
from pathlib import Path

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import PIECE, Actor, DeliveryFailed
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.model.upload import FailureReason, Image, ImageRequest, Owner
from tests.contracts.images import WatchedSource

ACTOR = Actor(Owner("project", "user"), token="secret", request_id="req-1")
REQUEST = ImageRequest({"name": "debian", "disk_format": "raw", "container_format": "bare"})


def test_an_image_is_a_file_with_a_description(tmp_path: Path) -> None:
    data = os.urandom(PIECE + 1)

    async def scenario() -> Image:
        service = DirectoryImageService(tmp_path)
        image = await service.prepare(REQUEST, len(data), ACTOR)
        await service.deliver(image, len(data), WatchedSource(data), ACTOR)
        return image

    image = asyncio.run(scenario())
    assert (tmp_path / image.id).read_bytes() == data
    assert json.loads((tmp_path / f"{image.id}.json").read_text()) == {
        "name": "debian",
        "disk_format": "raw",
        "container_format": "bare",
        "id": image.id,
        "status": "active",
        "size": len(data),
        "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "os_hash_value": hashlib.sha512(data).hexdigest(),
    }


def test_a_delivery_into_an_image_that_is_gone_is_final(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = DirectoryImageService(tmp_path)
        image = await service.prepare(REQUEST, 1, ACTOR)
        await service.delete(image, ACTOR)
        await service.deliver(image, 1, WatchedSource(b"x"), ACTOR)

    with pytest.raises(DeliveryFailed) as failed:
        asyncio.run(scenario())
    assert failed.value.final


SOME_ID = uuid.UUID("0b9f6a0c-6f6e-4b1e-9d6a-2f0a54c1f3de")


@pytest.mark.parametrize("image_id", ["../../etc/passwd", "", "x", str(SOME_ID).upper(), f"{SOME_ID}\n"])
def test_a_bad_image_id_never_becomes_a_path(tmp_path: Path, image_id: str) -> None:
    with pytest.raises(Refused) as refused:
        asyncio.run(DirectoryImageService(tmp_path).prepare(ImageRequest(image_id=image_id), 1, ACTOR))
    assert refused.value.reason is Reason.IMAGE_UNKNOWN


def test_a_directory_that_is_not_there_is_made(tmp_path: Path) -> None:
    DirectoryImageService(tmp_path / "one" / "two")
    assert (tmp_path / "one" / "two").is_dir()


def test_the_check_finds_a_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = DirectoryImageService(tmp_path)
    assert str(tmp_path) in asyncio.run(service.check())
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DeliveryFailed) as failed:
        asyncio.run(service.check())
    assert failed.value.error.reason is FailureReason.IMAGE_SERVICE_UNAVAILABLE


def test_an_image_has_a_durable_name_before_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch is freed then: without its name the image would be gone in a power cut."""
    named: list[set[str]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")) == tmp_path:
            named.append({each.name for each in tmp_path.iterdir()})
        fsync(descriptor)

    async def delivered() -> Image:
        service = DirectoryImageService(tmp_path)
        image = await service.prepare(REQUEST, 3, ACTOR)
        await service.deliver(image, 3, WatchedSource(b"abc"), ACTOR)
        return image

    monkeypatch.setattr(os, "fsync", watched)
    image = asyncio.run(delivered())
    assert {image.id, f"{image.id}.json"} <= named[-1]


def test_a_deleted_image_stays_deleted_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would remove it again: it is no orphan any more."""
    named: list[set[str]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")) == tmp_path:
            named.append({each.name for each in tmp_path.iterdir()})
        fsync(descriptor)

    async def discarded() -> None:
        service = DirectoryImageService(tmp_path)
        await service.delete(await service.prepare(REQUEST, 3, ACTOR), ACTOR)

    monkeypatch.setattr(os, "fsync", watched)
    asyncio.run(discarded())
    assert named[-1] == set()
