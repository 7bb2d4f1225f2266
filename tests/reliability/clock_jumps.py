"""The wall clock is set by hours and years, forward and back, and nothing expires early or late for it.

The service runs with a clock that the trial sets and advances (tests/support/launcher.py). Some clients send without a
break, so that they meet each jump in the middle of a request; others continue their uploads now and then, or never. The
expiry of an upload depends only on the time for which the service has run since the last byte.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.background import BackgroundLoad
from tests.reliability.protocols import NATIVE, PROTOCOLS, TUS
from tests.reliability.sender import Sender
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support import images
from tests.support.launcher import Panel, panel_of, token
from tests.support.service import UNLIMITED, Service, development

EXPIRY = 10_000  # seconds
MARGIN = 600  # seconds: more than passes here by itself
YEAR = 365 * 24 * 3600.0
FARTHEST = 10 * YEAR  # from the real time
STEPS = (0, 1_000, 4_000)  # seconds that pass at a time
WATCHED = 6  # uploads at a time
PATIENCE = 15  # seconds


@dataclass
class Watched:
    """An upload that is continued now and then. `since` is the steady time of its last new byte, in seconds."""

    sender: Sender
    since: float


class Clocks:
    """The service, its clocks, and the uploads that are watched."""

    def __init__(self, service: Service, chance: random.Random) -> None:
        self.expired = 0
        self.kept = 0
        self._service = service
        self._panel: Panel = panel_of(service.directory)
        self._chance = chance
        self._watched = [self._begun() for _ in range(WATCHED)]

    def jump(self) -> None:
        """Set the clock, while the service runs, or after a stop or a crash."""
        seconds = self._far()
        how = self._chance.choice(["running", "running", "stopped", "killed"])
        if how == "running":
            self._panel.set_clock(seconds)
        else:
            if how == "stopped":
                assert self._service.stop() == 0
            self._service.kill()
            self._panel.set_clock(seconds)
            down = self._chance.choice([0.0, 30 * 24 * 3600.0])
            self._panel.advance(down)
            for each in self._watched:
                each.since += down  # time without the service does not count
            self._service.start()
        self._await_heartbeat()

    def pass_time(self) -> None:
        self._panel.advance(self._chance.choice(STEPS))
        self._await_heartbeat()

    def look(self) -> None:
        """Check the expiry of each upload; continue some, and replace those that expired."""
        for number, each in enumerate(self._watched):
            age = self._now() - each.since
            answer = each.sender.ask(TUS.inspect(each.sender.id))
            reply = f"{answer.status}, to expire in {(answer.expires or 0) - self._panel.now():.0f} s"
            seen = (
                f"{age:.0f} s after its last byte {each.sender} is {reply}, with the clock {self._panel.set_by:+.0f} s"
            )
            if age > EXPIRY - MARGIN and answer.status == 410:
                self.expired += 1
                self._watched[number] = self._begun()
                continue
            assert age < EXPIRY + MARGIN, f"too late: {seen}"
            assert answer.status == 200, f"too early: {seen}"
            assert answer.expires is not None
            assert abs(answer.expires - self._panel.now() - (EXPIRY - age)) < MARGIN, seen
            self.kept += 1
            if self._chance.random() < 0.4:
                each.sender.send(NATIVE, each.sender.chunk(NATIVE, self._chance, 1))
                each.since = self._now()

    def finish(self) -> None:
        """Finish the uploads that have not expired."""
        for each in self._watched:
            while each.sender.missing:
                each.sender.go_on(NATIVE, self._chance, 100_000)
            each.sender.finish()

    def _begun(self) -> Watched:
        content = images.noise(self._chance, 1000)
        sender = Sender(self._service.port, self._service.directory / "images", content, token("owner"))
        sender.create(self._chance.choice(PROTOCOLS))
        return Watched(sender, self._now())

    def _now(self) -> float:
        return time.monotonic() + self._panel.ahead

    def _far(self) -> float:
        seconds = self._chance.choice([3600.0, 24 * 3600.0, YEAR, 3 * YEAR]) * self._chance.uniform(0.5, 1)
        seconds *= self._chance.choice([-1, 1])
        return seconds if abs(self._panel.set_by + seconds) < FARTHEST else -seconds

    def _await_heartbeat(self) -> None:
        """Return when the service has recorded that it runs, by the present wall clock."""
        with contextlib.closing(sqlite3.connect(self._service.directory / "catalog.sqlite", timeout=30)) as catalog:
            began = time.monotonic()
            while abs(catalog.execute("SELECT seen_at FROM instances").fetchone()[0] - self._panel.now()) > 60:
                assert time.monotonic() - began < PATIENCE, f"the service does not follow: {self._panel.set_by:+.0f} s"
                time.sleep(0.01)


def run(count: int, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as directory:
        # Records of uploads that have ended are purged by the wall clock if it is set while the service is down.
        service = development(
            Path(directory),
            UNLIMITED,
            upload_expiry=EXPIRY,
            first_byte_expiry=EXPIRY,
            record_retention=int(3 * FARTHEST),
        )
        service.module = "tests.support.launcher"
        with service:
            clocks = Clocks(service, random.Random(seed))
            with BackgroundLoad(service, seed, PROTOCOLS, 100_000, token("crowd")) as crowd:
                for _ in range(count):
                    clocks.jump()
                    crowd.await_progress()
                    clocks.pass_time()
                    crowd.await_progress()
                    clocks.look()
            clocks.finish()
    return Result(
        f"{count} times the clock was set, by an hour to three years, forward or back, running or not: nothing expired "
        f"early ({clocks.kept:,} looks; {crowd.finished:,} uploads that were sent meanwhile became the right images), "
        f"and {clocks.expired:,} uploads that were not continued expired in time",
        {"jumps": count, "looks": clocks.kept, "uploads": crowd.finished, "expired": clocks.expired},
    )


TRIAL = Trial(
    name="clock_jumps",
    promise="Whatever the clock is set to, no upload expires early or late.",
    unit="jumps of the clock",
    share=3,
    full=40,
    deep=2_000,
    run=run,
    sabotages=(
        Sabotage(
            "the service does not follow a clock that was set",
            "uploads/cleanup.py",
            "        await self._follow_clock()\n",
            "",
            count=4,
        ),
        Sabotage(
            "the time for which the service did not run counts",
            "uploads/cleanup.py",
            "        await self.catalog.instances.resume(self.settings.instance, self.clock())\n",
            "",
            count=8,
        ),
        Sabotage(
            "uploads expire by the wall clock",
            "runtime/clock.py",
            "        return self._begin + self._steady()",
            "        return self._wall()",
            count=8,
        ),
        Sabotage(
            "expiries do not move along with the clock",
            "catalog/instances.py",
            'schema.uploads: ("created_at", "updated_at", "expires_at"),',
            'schema.uploads: ("created_at", "updated_at"),',
            count=4,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
