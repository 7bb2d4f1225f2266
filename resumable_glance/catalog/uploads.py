"""The transactional record of uploads, extents and handoffs.

Its one rule: each method is one transaction, and returns when it is durable.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from itertools import chain, islice, starmap
from typing import Any, TypeVar

import sqlalchemy as sa

from resumable_glance.catalog import records, schema
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.model.digests import Digest
from resumable_glance.model.preconditions import check_parts, check_writable, declare
from resumable_glance.model.ranges import Range, joined
from resumable_glance.model.states import ENDED, HOLDING_SCRATCH, WITH_HANDOFF, Event, State, follow
from resumable_glance.model.upload import Extent, Format, Image, Owner, Proof, Upload, known, lapsed

T = TypeVar("T")
uploads, extents = schema.uploads, schema.extents


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Unfinished uploads of a project, the bytes that are promised to them or came, and its newest creations."""

    uploads: int
    size: int
    recent: int


class Catalog:
    """The catalog at an SQLAlchemy `url`, migrated to this version's schema when it is opened.

    Every method may raise OSError: nothing of it was recorded then.
    """

    def __init__(self, url: str) -> None:
        self._transactions = Transactions(url)
        self.news = self._transactions.news

    def close(self) -> None:
        self._transactions.close()

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """One transaction, for what has a room of its own (backlog.py)."""
        return await self._transactions.run(work)

    async def add(self, upload: Upload, credential: bytes | None, claim: records.Claim | None = None) -> None:
        """Record a new upload. The image that was expected for it is no leftover any more. OrphanedMeanwhile if it may be one."""

        def work(db: sa.Connection) -> None:
            records.add(db, upload, credential)
            if claim is not None:
                records.claim(db, claim, upload.id)

        await self.run(work)

    async def get(self, upload_id: str) -> Upload | None:
        return await self.run(lambda db: records.get(db, upload_id))

    async def durable(self, upload_id: str, most: int) -> tuple[Upload, list[Range]]:
        """An upload and its first durable ranges, joined, as they are at one moment. LookupError if there is none."""

        def work(db: sa.Connection) -> tuple[Upload, list[Range]]:
            upload = records.existing(db, upload_id)
            # Before the offset there may be any number of extents, and no gap.
            prefix = [Range(0, upload.offset)] if upload.offset else []
            with contextlib.closing(db.execute(records.beyond(upload_id, upload.offset))) as rows:
                return upload, list(islice(joined(chain(prefix, starmap(Range, rows))), most))

        return await self.run(work)

    async def owned(self, owner: Owner | None, limit: int, marker: str | None) -> list[Upload]:
        """The owner's uploads (None: everybody's), newest first, those after `marker`."""
        query = uploads.select().order_by(uploads.c.created_at.desc(), uploads.c.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(uploads.c.project_id == owner.project_id, uploads.c.user_id == owner.user_id)
        if marker is not None:
            position = sa.select(uploads.c.created_at, uploads.c.id).where(uploads.c.id == marker).subquery()
            query = query.where(sa.tuple_(uploads.c.created_at, uploads.c.id) < sa.select(position).scalar_subquery())
        return await self.run(lambda db: [schema.upload_of(row) for row in db.execute(query)])

    async def extents(self, upload_id: str, within: Range | None = None) -> list[Extent]:
        """The extents of an upload in order; those that touch `within`, if given."""
        return await self.run(lambda db: records.touching(db, upload_id, within))

    async def placed(self, upload_id: str, within: Range) -> tuple[Upload | None, list[Extent]]:
        """An upload, if there is one, and its extents that touch `within`, as they are at one moment."""
        return await self.run(lambda db: (records.get(db, upload_id), records.touching(db, upload_id, within)))

    async def commit(
        self,
        upload_id: str,
        new: Sequence[Extent],
        now: float,
        expires_at: float,
        *,
        seals: bool = True,
        found: Format | None = None,
    ) -> Upload:
        """From now on these bytes count. When no gap is left that `seals` the upload. `found` is what they are."""

        def work(db: sa.Connection) -> Upload:
            upload = records.existing(db, upload_id)
            follow(upload.state, Event.FILLED)  # only what is still receiving may grow
            db.execute(extents.insert(), [schema.extent_row(upload_id, each) for each in new])
            received = upload.received + sum(each.range.length for each in new)
            grown = dataclasses.replace(
                upload,
                received=received,
                offset=records.advanced(db, upload_id, upload.offset),
                state=follow(upload.state, Event.FILLED) if seals and received == upload.size else upload.state,
                updated_at=now,
                expires_at=expires_at,
                format=found or upload.format,
            )
            return records.save(db, upload, grown)

        return await self.run(work)

    async def declare(self, upload_id: str, size: int | None, digests: Sequence[Digest]) -> Upload:
        """Write down what the client says of the whole. Refused as welcome.declare."""

        def work(db: sa.Connection) -> Upload:
            upload = records.existing(db, upload_id)
            return records.save(db, upload, declare(upload, size, digests))

        return await self.run(work)

    async def reserve(self, upload_id: str, stop: int) -> None:
        """Promise the bytes up to `stop` to an upload whose size is not known."""
        change = uploads.update().where(uploads.c.id == upload_id, uploads.c.reserved < stop).values(reserved=stop)
        await self.run(lambda db: db.execute(change))

    async def join(self, upload: Upload, credential: bytes | None) -> None:
        """As add(), an upload that is made of parts, whose bytes are its now. Refused as check_parts."""

        def work(db: sa.Connection) -> None:
            parts = [records.existing(db, each) for each in upload.parts]
            check_parts(parts)
            records.add(db, upload, credential)
            start = 0
            for part in parts:
                state = follow(part.state, Event.JOINED)
                records.save(db, part, dataclasses.replace(part, state=state, joined_into=upload.id))
                db.execute(records.moved(part.id, upload.id, start))
                start += part.received

        await self.run(work)

    async def happen(self, upload_id: str, event: Event, now: float, **changes: Any) -> Upload:
        """Follow the table of states; `changes` are fields of the upload set in the same transaction.

        IllegalTransition, and nothing is changed, where the table has no such event.
        """

        def work(db: sa.Connection) -> Upload:
            upload = records.existing(db, upload_id)
            state = follow(upload.state, event)
            return records.save(db, upload, dataclasses.replace(upload, state=state, updated_at=now, **changes))

        return await self.run(work)

    async def end(self, upload_id: str, event: Event, now: float, credential: bytes | None = None) -> bool:
        """An upload is DISCARDED, with its parts, or has LAPSED; the image that was made for it is a leftover now.

        Whether that happened: what somebody has continued even now does not lapse. IllegalTransition as happen();
        Refused: JOINED for a part that is to be discarded alone.
        """

        def work(db: sa.Connection) -> bool:
            upload = records.get(db, upload_id)
            if upload is None or (event is Event.EXPIRED and not lapsed(upload, now)):
                return False
            if upload.state is State.JOINED:
                check_writable(upload)  # its bytes are the whole's now, and end with it
            if upload.state not in ENDED:
                for image_id in upload.images:
                    records.leave_image(db, upload, image_id, now, credential)
            for each in (upload, *(records.existing(db, part) for part in upload.parts)):
                records.save(db, each, dataclasses.replace(each, state=follow(each.state, event), updated_at=now))
            return True

        return await self.run(work)

    async def refute(self, upload_id: str, now: float, *, image_too: bool, **changes: Any) -> Upload:
        """An upload has failed, as happen(); with `image_too` its image, if it was made for it, is a leftover now."""

        def work(db: sa.Connection) -> Upload:
            upload = records.existing(db, upload_id)
            state = follow(upload.state, Event.FAILED)
            if image_too and upload.image is not None:
                records.leave_image(db, upload, upload.image.id, now)
            return records.save(db, upload, dataclasses.replace(upload, state=state, updated_at=now, **changes))

        return await self.run(work)

    async def replace(self, upload_id: str, image: Image, now: float) -> Upload:
        """From now on this image, the successor, is the one to fill. The one before is a leftover."""

        def work(db: sa.Connection) -> Upload:
            upload = records.existing(db, upload_id)
            old = known(upload.image)
            if upload.successor != image.id:
                raise LookupError(f"image {image.id} is not to replace any of upload {upload_id}")
            records.leave_image(db, upload, old.id, now)
            new = dataclasses.replace(image, replaced=(*old.replaced, old.id))
            return records.save(
                db,
                upload,
                dataclasses.replace(
                    upload,
                    state=follow(upload.state, Event.REPLACED),
                    image=new,
                    successor=None,
                    suspicion=0,
                    stuck_at=0.0,
                    updated_at=now,
                ),
            )

        return await self.run(work)

    async def forgo(self, upload_id: str, now: float) -> None:
        """The successor of an upload's image will not be. If it was made all the same, it is a leftover."""

        def work(db: sa.Connection) -> None:
            upload = records.existing(db, upload_id)
            if upload.successor is not None:
                records.leave_image(db, upload, upload.successor, now)
                records.save(db, upload, dataclasses.replace(upload, successor=None))

        await self.run(work)

    async def note(self, upload_id: str, **changes: Any) -> Upload:
        """Record what was learned of an upload without a change of its state."""

        def work(db: sa.Connection) -> Upload:
            upload = records.existing(db, upload_id)
            return records.save(db, upload, dataclasses.replace(upload, **changes))

        return await self.run(work)

    async def prove(self, upload_id: str, proof: Proof) -> Upload:
        """Record what we computed over all bytes."""
        return await self.note(upload_id, proof=proof)

    async def bind(self, upload_id: str, credential: bytes | None, due: float) -> None:
        """Keep a fresher (encrypted) credential of the owner, or the one there is; a handoff may go on from `due`."""
        wanted = sa.and_(uploads.c.id == upload_id, uploads.c.state.not_in(ENDED))  # a small image may be active by now
        change = uploads.update().where(wanted).values(next_attempt_at=due)
        await self._change(upload_id, change if credential is None else change.values(credential=credential))

    async def revoke(self, upload_id: str) -> None:
        """No ticket of an upload is good any more."""
        change = uploads.update().where(uploads.c.id == upload_id).values(generation=uploads.c.generation + 1)
        await self._change(upload_id, change)

    async def credential(self, upload_id: str) -> bytes | None:
        query = sa.select(uploads.c.credential).where(uploads.c.id == upload_id)
        return await self.run(lambda db: db.execute(query).scalar_one_or_none())

    async def handoffs(self) -> list[Upload]:
        """Whatever is between sealed and active, the one whose turn is first first."""
        query = uploads.select().where(uploads.c.state.in_(WITH_HANDOFF)).order_by(uploads.c.next_attempt_at)
        return await self.run(lambda db: [schema.upload_of(row) for row in db.execute(query)])

    async def promised(self) -> int:
        """Bytes of scratch that unfinished uploads may still fill."""
        query = sa.select(sa.func.coalesce(sa.func.sum(uploads.c.reserved - uploads.c.received), 0)).where(
            uploads.c.state == State.RECEIVING
        )
        return await self.run(lambda db: int(db.execute(query).scalar_one()))

    async def usage(self, project_id: str, since: float) -> Usage:
        """What a project has on scratch, and how many uploads it has created since a time."""
        ours = uploads.c.project_id == project_id
        taken = sa.case((uploads.c.state == State.RECEIVING, uploads.c.reserved), else_=uploads.c.received)
        holding = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(taken), 0)).where(
            ours, uploads.c.state.in_(HOLDING_SCRATCH)
        )
        recent = sa.select(sa.func.count()).where(ours, uploads.c.created_at > since)  # apart: each has an index

        def work(db: sa.Connection) -> Usage:
            count, size = db.execute(holding).one()
            return Usage(count, size, db.execute(recent).scalar_one())

        return await self.run(work)

    async def check(self) -> None:
        """OSError if nothing can be recorded right now."""
        await self.run(lambda db: db.execute(uploads.delete().where(sa.false())))

    async def _change(self, upload_id: str, change: sa.Update) -> None:
        def work(db: sa.Connection) -> None:
            records.changed(db, upload_id)
            db.execute(change)

        await self.run(work)
