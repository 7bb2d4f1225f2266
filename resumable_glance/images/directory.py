"""An image service for development: images are files in a directory.

The file `<id>` has the bytes, `<id>.json` the document that Glance would show.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import PIECE, Actor, DeliveryFailed, ImageStatus, Presence, Source
from resumable_glance.model.stores import StoreList, choose
from resumable_glance.model.upload import FailureReason, Image, ImageRequest
from resumable_glance.runtime.durable import sync_directory

_IMAGE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_READ_ONLY = frozenset({"id", "status", "size", "checksum", "os_hash_value"})  # properties that no client sets


class DirectoryImageService:
    """The images in a directory, of all owners alike."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    async def prepare(self, request: ImageRequest, size: int | None, actor: Actor) -> Image:
        if request.imports:
            choose(request, await self.stores(actor))
        if request.image_id is not None:
            return await asyncio.to_thread(self._adopted, request.image_id, request.store)
        return await asyncio.to_thread(self._created, request)

    async def deliver(self, image: Image, size: int, source: Source, actor: Actor) -> None:
        await asyncio.to_thread(self._write, image.id, size, source)

    async def import_staged(self, image: Image, actor: Actor) -> None:
        """Do nothing: no image is ever staged here."""

    async def stores(self, actor: Actor) -> StoreList:
        return StoreList()

    async def status(self, image: Image, actor: Actor) -> ImageStatus:
        described = await asyncio.to_thread(self._described, image.id)
        if described is None:
            return ImageStatus(Presence.DELETED)
        if described["status"] != "active":
            return ImageStatus(Presence.QUEUED)
        return ImageStatus(Presence.ACTIVE, described["size"], described["checksum"], described["os_hash_value"])

    async def properties(self, image: Image, actor: Actor) -> Mapping[str, object] | None:
        described = await asyncio.to_thread(self._described, image.id)
        return described and {name: value for name, value in described.items() if name not in _READ_ONLY}

    async def set_format(self, image: Image, disk_format: str, min_disk: int | None, actor: Actor) -> None:
        def work() -> None:
            described = self._existing(image.id)
            smallest = described.get("min_disk") or min_disk or 0
            self._describe(image.id, {**described, "disk_format": disk_format, "min_disk": smallest})

        await asyncio.to_thread(work)

    async def content(self, image: Image, actor: Actor) -> AsyncGenerator[bytes]:
        try:
            file = await asyncio.to_thread(self._bytes(image.id).open, "rb")
        except FileNotFoundError:
            raise _deleted() from None

        async def pieces() -> AsyncGenerator[bytes]:
            with file:
                while piece := await asyncio.to_thread(file.read, PIECE):
                    yield piece

        return pieces()

    async def delete(self, image: Image, actor: Actor) -> None:
        await asyncio.to_thread(self._delete, image.id)

    async def check(self) -> str:
        if not os.access(self._directory, os.W_OK | os.X_OK):
            sentence = f"This user can't write to {self._directory}."
            raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, sentence)
        return f"images go into the directory {self._directory}"

    def _created(self, request: ImageRequest) -> Image:
        image_id = str(request.properties.get("id") or uuid.uuid4())
        self._describe(image_id, {**request.properties, "id": image_id, "status": "queued"})
        name = request.properties.get("name")
        return Image(image_id, None if name is None else str(name), request.store)

    def _adopted(self, image_id: str, store: str | None) -> Image:
        described = self._described(image_id)
        if described is None:
            raise Refused(Reason.IMAGE_UNKNOWN, "There is no such image.")
        if described["status"] != "queued":
            raise Refused(Reason.IMAGE_NOT_QUEUED, f"The image is {described['status']}; it must be queued.")
        return Image(image_id, described.get("name"), store, adopted=True)

    def _delete(self, image_id: str) -> None:
        for suffix in ("", ".partial", ".json"):
            self._bytes(image_id).with_suffix(suffix).unlink(missing_ok=True)
        sync_directory(self._directory)

    def _write(self, image_id: str, size: int, source: Source) -> None:
        described = self._existing(image_id)
        md5, sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
        with self._new(self._bytes(image_id)) as file:  # the bytes have their name before the image is active
            while piece := source.read(PIECE):
                md5.update(piece)
                sha512.update(piece)
                file.write(piece)
            if file.tell() != size:
                sentence = f"{size} bytes were announced, and {file.tell()} came."
                raise DeliveryFailed(FailureReason.IMAGE_SERVICE_UNAVAILABLE, sentence)
        result = {"size": size, "checksum": md5.hexdigest(), "os_hash_value": sha512.hexdigest()}
        self._describe(image_id, {**described, **result, "status": "active"})

    def _existing(self, image_id: str) -> dict[str, Any]:
        if (described := self._described(image_id)) is None:
            raise _deleted()
        return described

    def _describe(self, image_id: str, described: dict[str, Any]) -> None:
        with self._new(self._description(image_id)) as file:
            file.write(json.dumps(described, indent=1).encode())

    @contextlib.contextmanager
    def _new(self, path: Path) -> Iterator[BinaryIO]:
        """Yield a file that durably gets its name at the end, unless an exception is raised."""
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(self._directory)

    def _described(self, image_id: str) -> dict[str, Any] | None:
        try:
            described: dict[str, Any] = json.loads(self._description(image_id).read_text())
        except FileNotFoundError:
            return None
        return described

    def _bytes(self, image_id: str) -> Path:
        if not _IMAGE_ID.fullmatch(image_id):
            raise Refused(Reason.IMAGE_UNKNOWN, "There is no such image.")
        return self._directory / image_id

    def _description(self, image_id: str) -> Path:
        return self._bytes(image_id).with_suffix(".json")


def _deleted() -> DeliveryFailed:
    return DeliveryFailed(FailureReason.IMAGE_GONE, "The image was deleted.", final=True)
