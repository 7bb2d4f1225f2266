"""Instances of the service, and the recorded times that depend on their clock."""

from __future__ import annotations

import sqlalchemy as sa

from resumable_glance.catalog import schema
from resumable_glance.catalog.transactions import Records, writes

_TIMES = {
    schema.uploads: ("created_at", "updated_at", "expires_at"),
    schema.orphaned_images: ("since", "due_at"),
    schema.instances: ("seen_at",),
    schema.trusts: ("since",),
}


class Instances(Records):
    """The times when instances were last running, in seconds since the epoch."""

    @writes
    def resume(self, db: sa.Connection, instance: str, now: float) -> None:
        """Record that an instance starts, and extend expiries by its downtime."""
        last = _seen(db, instance, now)
        if last is not None:
            expires_at = schema.uploads.c.expires_at
            db.execute(schema.uploads.update().values(expires_at=expires_at + (now - last)))

    @writes
    def beat(self, db: sa.Connection, instance: str, now: float) -> None:
        """Record that an instance is running."""
        _seen(db, instance, now)

    @writes
    def shift(self, db: sa.Connection, seconds: float) -> None:
        """Move every recorded time by the seconds by which the clock was set."""
        for table, names in _TIMES.items():
            db.execute(table.update().values({name: table.c[name] + seconds for name in names}))
        stuck_at = schema.uploads.c.stuck_at
        db.execute(schema.uploads.update().where(stuck_at > 0).values(stuck_at=stuck_at + seconds))


def _seen(db: sa.Connection, instance: str, now: float) -> float | None:
    """Record that an instance is running now; return the time recorded before, if any."""
    table = schema.instances
    mine = table.c.instance == instance
    last: float | None = db.execute(sa.select(table.c.seen_at).where(mine)).scalar_one_or_none()
    change = table.insert() if last is None else table.update().where(mine)
    db.execute(change.values(instance=instance, seen_at=now))
    return last
