"""Uploads and their extents."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from itertools import chain, islice, starmap
from typing import Any

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.credentials import Credential, columns, of_row
from resumable_glance.catalog.idempotency_keys import IdempotencyKey, bind_key
from resumable_glance.catalog.orphans import claim_image, orphan_image
from resumable_glance.catalog.transactions import Records, reads, writes
from resumable_glance.model.digests import Digest
from resumable_glance.model.preconditions import check_parts, check_writable, declare
from resumable_glance.model.ranges import Range, joined
from resumable_glance.model.states import ENDED, HOLDING_STORAGE, WITH_HANDOFF, Event, State, follow
from resumable_glance.model.upload import Extent, Format, Image, LastError, Owner, Upload, expired, require

uploads, extents = schema.uploads, schema.extents
_UPDATE = uploads.update().where(uploads.c.id == sa.bindparam("which"))  # sets the columns in its parameters


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """A project's uploads in storage, and their bytes."""

    uploads: int
    size: int


class UploadRecords(Records):
    """The records of all uploads. Methods that change an upload raise LookupError if there is none of its id."""

    # Reads

    @reads
    def get(self, db: sa.Connection, upload_id: str) -> Upload | None:
        """Return the upload with an id, if there is one."""
        return _get(db, upload_id)

    @reads
    def get_with_ranges(self, db: sa.Connection, upload_id: str, most: int) -> tuple[Upload, list[Range]]:
        """Return a snapshot of an upload and its first `most` durable ranges."""
        upload = _existing(db, upload_id)
        # The offset stands for the extents before it: there may be many, but no gap.
        prefix = [Range(0, upload.offset)] if upload.offset else []
        with contextlib.closing(db.execute(_beyond(upload_id, upload.offset))) as rows:
            return upload, list(islice(joined(chain(prefix, starmap(Range, rows))), most))

    @reads
    def get_with_extents(self, db: sa.Connection, upload_id: str, within: Range) -> tuple[Upload | None, list[Extent]]:
        """Return a snapshot of an upload and its extents that overlap `within`."""
        return (_get(db, upload_id), _overlapping(db, upload_id, within))

    @reads
    def extents(self, db: sa.Connection, upload_id: str, within: Range | None = None) -> list[Extent]:
        """Return the extents of an upload in order; those that overlap `within`, if given."""
        return _overlapping(db, upload_id, within)

    @reads
    def page(self, db: sa.Connection, owner: Owner | None, limit: int, marker: str | None) -> list[Upload]:
        """Return a page of uploads (of all owners: None), newest first, after `marker`."""
        query = uploads.select().order_by(uploads.c.created_at.desc(), uploads.c.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(uploads.c.project_id == owner.project_id, uploads.c.user_id == owner.user_id)
        if marker is not None:
            position = sa.select(uploads.c.created_at, uploads.c.id).where(uploads.c.id == marker).subquery()
            query = query.where(sa.tuple_(uploads.c.created_at, uploads.c.id) < sa.select(position).scalar_subquery())
        return _all(db, query)

    @reads
    def with_handoff(self, db: sa.Connection) -> list[Upload]:
        """Return the uploads between sealed and active, in the order of their next attempts."""
        return _all(db, uploads.select().where(uploads.c.state.in_(WITH_HANDOFF)).order_by(uploads.c.next_attempt_at))

    @reads
    def expired(self, db: sa.Connection, now: float) -> list[Upload]:
        """Return the uploads that are due to expire."""
        late = uploads.select().where(uploads.c.state.in_(HOLDING_STORAGE), uploads.c.expires_at <= now)
        return [each for each in _all(db, late) if expired(each, now)]

    @reads
    def in_storage(self, db: sa.Connection) -> set[str]:
        """Return the ids of the uploads whose bytes are still needed in storage."""
        whole = uploads.alias()
        query = (
            sa.select(uploads.c.id)
            .outerjoin(whole, whole.c.id == uploads.c.joined_into)
            .where(sa.func.coalesce(whole.c.state, uploads.c.state).in_(HOLDING_STORAGE))
        )
        return set(db.execute(query).scalars())

    @reads
    def credential(self, db: sa.Connection, upload_id: str) -> Credential | None:
        """Return the encrypted token of an upload's owner."""
        row = db.execute(uploads.select().where(uploads.c.id == upload_id)).one_or_none()
        return None if row is None else of_row(row)

    @reads
    def promised(self, db: sa.Connection) -> int:
        """Return the bytes of storage that are promised to uploads and not yet filled."""
        query = sa.select(sa.func.coalesce(sa.func.sum(uploads.c.reserved - uploads.c.received), 0)).where(
            uploads.c.state == State.RECEIVING
        )
        return int(db.execute(query).scalar_one())

    @reads
    def usage(self, db: sa.Connection, project_id: str | None) -> Usage:
        """Return what a project (None: all projects together) has in storage."""
        taken = sa.case((uploads.c.state == State.RECEIVING, uploads.c.reserved), else_=uploads.c.received)
        holding = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(taken), 0)).where(
            uploads.c.state.in_(HOLDING_STORAGE)
        )
        ours = holding if project_id is None else holding.where(uploads.c.project_id == project_id)
        return Usage(*db.execute(ours).one())

    # Changes

    @writes
    def add(
        self, db: sa.Connection, upload: Upload, credential: Credential | None, key: IdempotencyKey | None = None
    ) -> None:
        """Record a new upload, and give it the image that was expected for it.

        Raises:
            ImageOrphaned: the image may be deleted already.
        """
        _add(db, upload, credential)
        if key is not None:
            bind_key(db, key, upload.id)

    @writes
    def join(self, db: sa.Connection, upload: Upload, credential: Credential | None) -> None:
        """Record a new upload that takes over the bytes of its parts. Raises Refused as check_parts()."""
        parts = [_existing(db, each) for each in upload.parts]
        check_parts(parts)
        _add(db, upload, credential)
        start = 0
        for part in parts:
            state = follow(part.state, Event.JOINED)
            _save(db, part, dataclasses.replace(part, state=state, joined_into=upload.id))
            db.execute(_moved(part.id, upload.id, start))
            start += part.received

    @writes
    def commit(
        self,
        db: sa.Connection,
        upload_id: str,
        new: Sequence[Extent],
        now: float,
        expires_at: float,
        *,
        seals: bool = True,
        waits_until: float | None = None,
        format: Format | None = None,
    ) -> Upload:
        """Record new durable extents, and the format that was detected with them.

        With `seals`, an upload that has all of its bytes then is sealed, and expires at `waits_until`.
        """
        upload = _existing(db, upload_id)
        sealed = follow(upload.state, Event.FILLED)  # in any case: no other state may grow
        db.execute(extents.insert(), [schema.extent_row(upload_id, each) for each in new])
        received = upload.received + sum(each.range.length for each in new)
        full = seals and received == upload.size
        grown = dataclasses.replace(
            upload,
            received=received,
            offset=_advanced(db, upload_id, upload.offset),
            state=sealed if full else upload.state,
            updated_at=now,
            expires_at=expires_at if waits_until is None or not full else waits_until,
            format=format or upload.format,
        )
        return _save(db, upload, grown)

    @writes
    def declare(self, db: sa.Connection, upload_id: str, size: int | None, digests: Sequence[Digest]) -> Upload:
        """Record the declared size and digests of the whole.

        Raises:
            Refused: as preconditions.declare().
            IllegalTransition: they are new, and the upload was sealed meanwhile.
        """
        upload = _existing(db, upload_id)
        declared = declare(upload, size, digests)
        if declared != upload:
            follow(upload.state, Event.FILLED)  # its digests may have been compared already
        return _save(db, upload, declared)

    @writes
    def reserve(self, db: sa.Connection, upload_id: str, stop: int) -> None:
        """Promise the bytes up to `stop` to an upload of unknown size."""
        change = uploads.update().where(uploads.c.id == upload_id, uploads.c.reserved < stop).values(reserved=stop)
        db.execute(change)

    @writes
    def transition(
        self,
        db: sa.Connection,
        /,
        upload_id: str,
        event: Event,
        now: float,
        *,
        expires_at: float | None = None,
        **delivery: Any,
    ) -> Upload:
        """Record an event of an upload, a new time of expiry, if given, and new values for fields of its `delivery`.

        Raises:
            IllegalTransition: the event can't happen in the upload's state; nothing is changed.
        """
        upload = _existing(db, upload_id)
        return _save(db, upload, _followed(upload, event, now, expires_at).with_delivery(**delivery))

    @writes
    def update(self, db: sa.Connection, /, upload_id: str, *, format: Format | None = None, **delivery: Any) -> Upload:
        """Change fields of an upload's `delivery`, or its `format`, without a transition."""
        upload = _existing(db, upload_id)
        return _save(db, upload, dataclasses.replace(upload, format=format or upload.format).with_delivery(**delivery))

    @writes
    def reject(
        self, db: sa.Connection, upload_id: str, now: float, error: LastError, expires_at: float | None = None
    ) -> Upload:
        """Fail an upload as transition() does, and orphan its image."""
        upload = _existing(db, upload_id)
        failed = _followed(upload, Event.FAILED, now, expires_at).with_delivery(last_error=error)
        if upload.image is not None:
            orphan_image(db, upload, upload.image.id, now)
        return _save(db, upload, failed)

    @writes
    def end(
        self, db: sa.Connection, upload_id: str, event: Event, now: float, credential: Credential | None = None
    ) -> bool:
        """End an upload and its parts by CANCELLED or EXPIRED; orphan its images.

        Returns:
            Whether it ended: an upload that was continued meanwhile does not expire.

        Raises:
            IllegalTransition: as transition().
            Refused: JOINED, for a part: it ends with the upload that it was joined into.
        """
        upload = _get(db, upload_id)
        if upload is None or (event is Event.EXPIRED and not expired(upload, now)):
            return False
        if upload.state is State.JOINED:
            check_writable(upload)
        if upload.state not in ENDED:
            for image_id in upload.images:
                orphan_image(db, upload, image_id, now, credential)
        for each in (upload, *(_existing(db, part) for part in upload.parts)):
            _save(db, each, _followed(each, event, now))
        return True

    @writes
    def replace_image(self, db: sa.Connection, upload_id: str, image: Image, now: float) -> Upload:
        """Make the successor the image of an upload, and orphan its old one."""
        upload = _existing(db, upload_id)
        old = require(upload.image)
        if upload.delivery.successor != image.id:
            raise LookupError(f"image {image.id} is not the successor of the image of upload {upload_id}")
        orphan_image(db, upload, old.id, now)
        new = dataclasses.replace(image, replaced=(*old.replaced, old.id))
        replaced = dataclasses.replace(_followed(upload, Event.REPLACED, now), image=new)
        return _save(db, upload, replaced.with_delivery(successor=None, suspicion=0, stuck_at=0.0))

    @writes
    def abandon_successor(self, db: sa.Connection, upload_id: str, now: float) -> None:
        """Let an upload keep its image, and orphan the successor."""
        upload = _existing(db, upload_id)
        if upload.delivery.successor is not None:
            orphan_image(db, upload, upload.delivery.successor, now)
            _save(db, upload, upload.with_delivery(successor=None))

    @writes
    def set_credential(
        self, db: sa.Connection, upload_id: str, credential: Credential | None, due: float, waits_until: float
    ) -> None:
        """Replace the owner's encrypted token, if given, and set the next attempt.

        An upload that does not wait for bytes expires at `waits_until`.
        """
        open_ = sa.and_(uploads.c.id == upload_id, uploads.c.state.not_in(ENDED))  # a small image may be active by now
        expires_at = sa.case((uploads.c.state == State.RECEIVING, uploads.c.expires_at), else_=waits_until)
        change = uploads.update().where(open_).values(next_attempt_at=due, expires_at=expires_at)
        _notify(db, upload_id)
        db.execute(change if credential is None else change.values(columns(credential)))

    @writes
    def revoke_tickets(self, db: sa.Connection, upload_id: str) -> None:
        """Revoke all tickets of an upload that were issued until now."""
        _notify(db, upload_id)
        db.execute(uploads.update().where(uploads.c.id == upload_id).values(generation=uploads.c.generation + 1))

    @writes
    def purge(self, db: sa.Connection, before: float) -> int:
        """Delete the records of uploads that ended before a time; return their number."""
        removal = uploads.delete().where(uploads.c.state.in_(ENDED), uploads.c.updated_at < before)
        return db.execute(removal).rowcount

    @writes
    def check(self, db: sa.Connection) -> None:
        """Raise OSError if nothing can be recorded right now."""
        db.execute(uploads.delete().where(sa.false()))


# Parts of transactions


def _get(db: sa.Connection, upload_id: str) -> Upload | None:
    row = db.execute(uploads.select().where(uploads.c.id == upload_id)).one_or_none()
    return None if row is None else schema.upload_of(row)


def _all(db: sa.Connection, query: sa.Select[Any]) -> list[Upload]:
    return [schema.upload_of(row) for row in db.execute(query)]


def _existing(db: sa.Connection, upload_id: str) -> Upload:
    upload = _get(db, upload_id)
    if upload is None:
        raise LookupError(f"the catalog has no upload {upload_id}")
    return upload


def _followed(upload: Upload, event: Event, now: float, expires_at: float | None = None) -> Upload:
    expires_at = upload.expires_at if expires_at is None else expires_at
    return dataclasses.replace(upload, state=follow(upload.state, event), updated_at=now, expires_at=expires_at)


def _add(db: sa.Connection, upload: Upload, credential: Credential | None) -> None:
    db.execute(uploads.insert().values(schema.upload_row(upload) | columns(credential)))
    claim_image(db, upload)


def _save(db: sa.Connection, before: Upload, upload: Upload) -> Upload:
    """Write the changed columns only, to spare the indexes of others."""
    _notify(db, upload.id)
    old = schema.upload_row(before)
    values = {name: value for name, value in schema.upload_row(upload).items() if value != old[name]}
    if upload.state in {*ENDED, State.JOINED}:  # nothing more is done on the owner's behalf
        values |= columns(None)
    if values:
        db.execute(_UPDATE, values | {"which": upload.id})
    return upload


def _notify(db: sa.Connection, upload_id: str) -> None:
    db.info["changed"].add(upload_id)


def _overlapping(db: sa.Connection, upload_id: str, within: Range | None) -> list[Extent]:
    """Return the extents of an upload in order; those that overlap `within`, if given."""
    query = extents.select().where(extents.c.upload_id == upload_id).order_by(extents.c.start)
    if within is not None:
        # Extents don't overlap: of those that start before, only the last one can reach in, and the index finds it.
        before = sa.select(sa.func.max(extents.c.start)).where(
            extents.c.upload_id == upload_id, extents.c.start <= within.start
        )
        first = sa.func.coalesce(before.scalar_subquery(), 0)
        query = query.where(extents.c.start >= first, extents.c.start < within.stop, extents.c.stop > within.start)
    return [schema.extent_of(row) for row in db.execute(query)]


def _advanced(db: sa.Connection, upload_id: str, offset: int) -> int:
    """Return the end of the gap-free prefix, which reached to `offset` before."""
    with contextlib.closing(db.execute(_beyond(upload_id, offset))) as rows:
        for start, stop in rows:
            if start != offset:
                break
            offset = stop
    return offset


def _beyond(upload_id: str, offset: int) -> sa.Select[Any]:
    """Select start and stop of the extents from an offset on, in order."""
    query = sa.select(extents.c.start, extents.c.stop).order_by(extents.c.start)
    return query.where(extents.c.upload_id == upload_id, extents.c.start >= offset)


def _moved(part_id: str, upload_id: str, start: int) -> sa.Insert:
    """Copy the extents of a part to its whole, shifted by `start`."""
    shifted = sa.select(sa.literal(upload_id), extents.c.start + start, extents.c.stop + start, extents.c.digest).where(
        extents.c.upload_id == part_id
    )
    return extents.insert().from_select(["upload_id", "start", "stop", "digest"], shifted)
