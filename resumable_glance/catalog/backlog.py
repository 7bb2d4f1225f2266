"""What the catalog has for the janitor: what may go, and when the service was last seen to run."""

from __future__ import annotations

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.records import OrphanedImage, leave
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.model.states import ENDED, HOLDING_SCRATCH, State
from resumable_glance.model.upload import Image, Owner, Upload

uploads = schema.uploads


class Backlog:
    """Each method is one transaction of `catalog`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def lapsed(self, now: float) -> list[Upload]:
        query = uploads.select().where(uploads.c.state == State.RECEIVING, uploads.c.expires_at <= now)
        return await self._catalog.run(lambda db: [schema.upload_of(row) for row in db.execute(query)])

    async def expect(self, leftover: OrphanedImage, now: float, due_at: float) -> None:
        """An image is about to be made. If nothing is recorded for it until `due_at`, it is a leftover."""
        await self._catalog.run(lambda db: leave(db, leftover, now, due_at))

    async def leftovers(self, now: float, image_id: str | None = None) -> list[OrphanedImage]:
        """The images that are to be removed by now; only that one, if given."""
        table = schema.leftovers
        query = table.select().where(table.c.due_at <= now).order_by(table.c.due_at)
        if image_id is not None:
            query = query.where(table.c.image_id == image_id)
        return await self._catalog.run(
            lambda db: [
                OrphanedImage(Image(row.image_id), Owner(row.project_id, row.user_id), row.credential)
                for row in db.execute(query)
            ]
        )

    async def cleared(self, image_id: str) -> None:
        """An image is gone."""
        await self._catalog.run(
            lambda db: db.execute(schema.leftovers.delete().where(schema.leftovers.c.image_id == image_id))
        )

    async def postpone(self, image_id: str, due_at: float, forget_before: float) -> None:
        """Remove an image later; never, if that was tried since before a time."""
        mine, table = schema.leftovers.c.image_id == image_id, schema.leftovers
        await self._catalog.run(
            lambda db: (
                db.execute(table.delete().where(mine, table.c.since < forget_before)),
                db.execute(table.update().where(mine).values(due_at=due_at)),
            )
        )

    async def resume(self, instance: str, now: float) -> None:
        """An instance runs again. What can expire has as much time left as when it was last seen to run."""

        def work(db: sa.Connection) -> None:
            last = _beaten(db, instance, now)
            if last is not None:
                db.execute(uploads.update().values(expires_at=uploads.c.expires_at + (now - last)))

        await self._catalog.run(work)

    async def beat(self, instance: str, now: float) -> None:
        """Write down that an instance runs."""
        await self._catalog.run(lambda db: _beaten(db, instance, now))

    async def shift(self, seconds: float) -> None:
        """The clock was set: every time that was written down is so many seconds later by the new one."""
        times = {
            uploads: ("created_at", "updated_at", "expires_at"),
            schema.leftovers: ("since", "due_at"),
            schema.heartbeats: ("at",),
            schema.trusts: ("since",),
        }

        def work(db: sa.Connection) -> None:
            for table, names in times.items():
                db.execute(table.update().values({name: table.c[name] + seconds for name in names}))
            change = uploads.update().where(uploads.c.stuck_at > 0).values(stuck_at=uploads.c.stuck_at + seconds)
            db.execute(change)

        await self._catalog.run(work)

    async def holding(self) -> set[str]:
        """The names that are needed on scratch."""
        whole = uploads.alias()
        query = (
            sa.select(uploads.c.id)
            .outerjoin(whole, whole.c.id == uploads.c.joined_into)
            .where(sa.func.coalesce(whole.c.state, uploads.c.state).in_(HOLDING_SCRATCH))
        )
        return await self._catalog.run(lambda db: set(db.execute(query).scalars()))

    async def forget(self, before: float) -> int:
        """Delete the records of uploads that ended before a time; the number of them."""
        removal = uploads.delete().where(uploads.c.state.in_(ENDED), uploads.c.updated_at < before)
        return await self._catalog.run(lambda db: db.execute(removal).rowcount)


def _beaten(db: sa.Connection, instance: str, now: float) -> float | None:
    """When an instance was last seen to run, if ever; from now on that is now."""
    table = schema.heartbeats
    mine = table.c.instance == instance
    last: float | None = db.execute(sa.select(table.c.at).where(mine)).scalar_one_or_none()
    change = table.insert() if last is None else table.update().where(mine)
    db.execute(change.values(instance=instance, at=now))
    return last
