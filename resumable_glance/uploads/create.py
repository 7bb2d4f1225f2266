"""How uploads come to be, and how they grow: scratch is promised, the image is made, and then there is a record.

Its one rule: what is promised to all uploads together never exceeds the scratch that there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import uuid
from collections.abc import AsyncIterator, Callable

from resumable_glance.auth.base import Identity
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.catalog.backlog import Backlog
from resumable_glance.catalog.records import Claim, OrphanedImage, OrphanedMeanwhile
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import Actor, DeliveryFailed, ImageService
from resumable_glance.images.inspection import AUTO
from resumable_glance.model.commands import Append, Create, Join
from resumable_glance.model.preconditions import check_parts, declare, total_of
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import State
from resumable_glance.model.upload import Format, Image, ImageRequest, Owner, Upload, check_alive
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.base import UploadStorage

BARE = "bare"  # Glance's container_format of an image that is nothing but its bytes
LONGEST_CREATION = 3600.0  # seconds: what is not recorded by then never will be


class Creation:
    """`clock` gives seconds since the epoch."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        scratch: UploadStorage,
        sink: ImageService,
        vault: TokenCipher,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._backlog = Backlog(catalog)
        self._scratch = scratch
        self._sink = sink
        self._vault = vault
        self._clock = clock
        self._promising = asyncio.Lock()  # the same space must not be promised twice

    async def create(
        self, create: Create, identity: Identity, request_id: str | None, claim: Claim | None = None
    ) -> Upload:
        """A new upload. Refused: UPLOAD_TOO_LARGE, NO_SPACE, or as ImageService.prepare."""
        reserved = create.size or 0
        self._check_size(reserved)
        await self._check_limits(identity.owner)  # before an image is made in vain
        await self._check_share(identity.owner, reserved)
        await self.check_space(reserved)
        actor = Actor(identity.owner, identity.token, request_id)
        request = self._plain(create.image)
        async with self._image(request, create.size, actor) as image:
            empty = create.size == 0 and create.first is None and image is not None
            upload = dataclasses.replace(
                self._record(identity, create.size, image, create.metadata),
                state=State.SEALED if empty else State.RECEIVING,
                declared=create.declared,
                request=request,
                format=await self._format(create.image, image, actor),
                request_id=request_id,
            )
            async with self._promised(identity.owner, reserved):
                await self._check_limits(identity.owner)
                credential = None if image is None else self._vault.close(identity.token)
                return await self._admit(upload, credential, claim)

    async def join(self, join: Join, parts: list[Upload], identity: Identity, request_id: str | None) -> Upload:
        """A new upload, sealed, out of these parts; the same one again if it was made of them before.

        Refused: as check_parts and Sink.prepare, UPLOAD_TOO_LARGE.
        """
        if len({each.id for each in parts}) < len(parts):
            raise Refused(Reason.MALFORMED, "A part can be in an upload only once.")
        if earlier := await self._joined(parts):
            check_alive(earlier)
            return earlier
        try:
            size = check_parts(parts)
            self._check_size(size)
            actor, request = Actor(identity.owner, identity.token, request_id), self._plain(join.image)
            async with self._image(request, size, actor) as image:
                format = await self._format(join.image, image, actor)
                upload = dataclasses.replace(
                    self._record(identity, size, image, join.metadata),
                    state=State.SEALED,
                    offset=size,
                    received=size,
                    parts=join.parts,
                    request=request,
                    format=format,
                    request_id=request_id,
                )
                await self._catalog.join(upload, self._vault.close(identity.token))
        except Refused:
            now = [part for each in join.parts if (part := await self._catalog.get(each)) is not None]
            if earlier := await self._joined(now):  # the same join came twice at once, and this is the later one
                check_alive(earlier)
                return earlier
            raise
        return upload

    async def take(self, upload: Upload, append: Append, place: Range) -> Upload:
        """Before a chunk is taken: write down what it says of the whole, and promise the scratch that it needs.

        Refused: as welcome.declare, SEALED, UPLOAD_TOO_LARGE, NO_SPACE.
        """
        told = declare(upload, total_of(append), append.declared)
        if told == upload and upload.size is not None:
            return upload
        if upload.state is not State.RECEIVING:
            raise Refused(Reason.SEALED, f"This upload is {upload.state}. Nothing can be said of it any more.")
        needed = max(place.stop if told.size is None else told.size, upload.reserved)
        self._check_size(needed)
        async with self._promised(upload.owner, needed - upload.reserved):
            if told != upload:
                return await self._catalog.declare(upload.id, told.size, append.declared)
            await self._catalog.reserve(upload.id, needed)
        return upload

    def _record(self, identity: Identity, size: int | None, image: Image | None, metadata: str | None) -> Upload:
        now = self._clock()
        return Upload(
            id=f"{self._settings.service.instance}-{secrets.token_hex(16)}",
            owner=identity.owner,
            size=size,
            state=State.RECEIVING,
            image=image,
            metadata=metadata,
            reserved=size or 0,
            created_at=now,
            updated_at=now,
            expires_at=now + self._settings.service.upload_expiry,
        )

    def _plain(self, request: ImageRequest | None) -> ImageRequest | None:
        """The request as sinks know it: a disk format that is to be found out is none yet.

        Refused: IMAGE_REFUSED where nobody would find it out.
        """
        if request is None or request.properties.get("disk_format") != AUTO:
            return request
        if not self._settings.image_format.enabled or request.properties.get("container_format") != BARE:
            raise Refused(
                Reason.IMAGE_REFUSED, f"Say the disk_format: {AUTO} works here only in a container_format of {BARE}."
                if self._settings.image_format.enabled else "Say the disk_format: this service does not look into images.",
            )  # fmt: skip
        properties = {name: value for name, value in request.properties.items() if name != "disk_format"}
        return dataclasses.replace(request, properties=properties)

    async def _format(self, request: ImageRequest | None, image: Image | None, actor: Actor) -> Format | None:
        """What the image's bytes are declared to be; None where nobody is to look into them."""
        if request is None or image is None or not self._settings.image_format.enabled:
            return None
        described = request.properties
        if image.adopted:
            try:
                described = await self._sink.properties(image, actor) or {}
            except DeliveryFailed as failed:
                raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, f"{failed}", retry_after=5) from failed
        declared = described.get("disk_format")
        if described.get("container_format") != BARE or not isinstance(declared, str):
            return None
        return Format(None if declared == AUTO else declared)

    @contextlib.asynccontextmanager
    async def _image(self, request: ImageRequest | None, size: int | None, actor: Actor) -> AsyncIterator[Image | None]:
        """The image that is asked for; removed again if there will be no upload for it, even after a crash.

        Refused: as Sink.prepare, and IMAGE_SERVICE_UNAVAILABLE where it took so long that it may have been removed already.
        """
        if request is None:
            yield None
            return
        if request.image_id is not None:
            yield await self._sink.prepare(request, size, actor)
            return
        image_id, now = str(uuid.uuid4()), self._clock()
        expected = OrphanedImage(Image(image_id), actor.owner, self._vault.close(actor.token))
        await self._backlog.expect(expected, now, due_at=now + LONGEST_CREATION)
        try:
            properties = {**request.properties, "id": image_id}
            yield await self._sink.prepare(dataclasses.replace(request, properties=properties), size, actor)
        except BaseException as problem:
            with contextlib.suppress(DeliveryFailed, OSError):  # else the janitor does it
                await self._sink.discard(expected.image, actor)
                await self._backlog.cleared(image_id)
            if isinstance(problem, OrphanedMeanwhile):
                sentence = "Making the image took too long. Create the upload again."
                raise Refused(Reason.IMAGE_SERVICE_UNAVAILABLE, sentence, retry_after=5) from problem
            raise

    async def _admit(self, upload: Upload, credential: bytes | None, claim: Claim | None) -> Upload:
        try:
            await self._scratch.create(upload.id, upload.size or 0)
            now = self._clock()  # the clock may have been set since, and what is recorded moved along
            expires_at = now + self._settings.service.upload_expiry
            upload = dataclasses.replace(upload, created_at=now, updated_at=now, expires_at=expires_at)
            await self._catalog.add(upload, credential, claim)
        except (OSError, OrphanedMeanwhile):
            with contextlib.suppress(OSError):  # else the next start does it
                await self._scratch.remove(upload.id)
            raise
        return upload

    async def _joined(self, parts: list[Upload]) -> Upload | None:
        """What exactly these parts were joined into before: the answer to that may have been lost."""
        wholes = {each.joined_into for each in parts}
        whole = wholes.pop() if len(wholes) == 1 else None
        upload = None if whole is None else await self._catalog.get(whole)
        return upload if upload is not None and upload.parts == tuple(each.id for each in parts) else None

    @contextlib.asynccontextmanager
    async def _promised(self, owner: Owner, size: int) -> AsyncIterator[None]:
        """Inside, `size` more bytes are free to be promised to this owner, and nobody else promises any."""
        async with self._promising:
            await self._check_share(owner, size)
            await self.check_space(size)
            yield

    def _check_size(self, size: int) -> None:
        if size > self._settings.service.max_upload_size:
            raise Refused(
                Reason.UPLOAD_TOO_LARGE,
                f"An upload may have at most {self._settings.service.max_upload_size} bytes; this one has {size}.",
                limit=self._settings.service.max_upload_size,
            )

    async def check_space(self, size: int) -> None:
        """Refused: NO_SPACE if so many more bytes can't be promised."""
        free = await self._scratch.free() - self._settings.scratch.reserved_space - await self._catalog.promised()
        if size > max(0, free):
            raise Refused(
                Reason.NO_SPACE, f"There is no space for {size} more bytes right now. Try later.", retry_after=300
            )

    async def _check_share(self, owner: Owner, size: int) -> None:
        """Refused: UPLOAD_TOO_LARGE, or OVER_LIMIT where the project has promised itself too much."""
        share = self._settings.limits.bytes_per_project
        if not share or not size:
            return
        if size > share:
            raise Refused(Reason.UPLOAD_TOO_LARGE, f"A project may have {share} bytes on their way.", limit=share)
        usage = await self._catalog.usage(owner.project_id, self._clock())
        if usage.size + size > share:
            raise Refused(
                Reason.OVER_LIMIT,
                f"Your project has {usage.size} bytes on their way, and may have {share}. Wait until an image is "
                "active, or cancel an upload.",
                retry_after=60,
            )

    async def _check_limits(self, owner: Owner) -> None:
        """Refused: OVER_LIMIT where the project may not have another upload, or not now."""
        if not self._settings.limits.uploads_per_project and not self._settings.limits.creations_per_minute:
            return
        usage = await self._catalog.usage(owner.project_id, self._clock() - 60)
        if 0 < self._settings.limits.uploads_per_project <= usage.uploads:
            raise Refused(
                Reason.OVER_LIMIT,
                f"Your project has {usage.uploads} unfinished uploads, and may have no more. Finish or cancel one.",
                retry_after=60,
            )
        if 0 < self._settings.limits.creations_per_minute <= usage.recent:
            raise Refused(
                Reason.OVER_LIMIT,
                f"Your project has created {usage.recent} uploads within a minute, and may not create more now.",
                retry_after=10,
            )
