"""Handoffs into a real Glance that misbehaves: in the end there is one active image, and it is the file.

A schedule is a list of faults that the requests for one image meet, one after the other, in a proxy before Glance. An
upload that fails for good is retried. Many uploads run at once, so that all of them meet each kill. Some of them are
delivered early.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.bad_glance import BadGlance, Fault
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support import images
from tests.support.cloud import DEMO, Cloud, start
from tests.support.service import Service, beside
from tests.support.wire import RAW, Client

AT_ONCE = 8
PATIENCE = 150  # seconds for one batch, on a machine that has much else to do
LARGEST = 1_000_000  # bytes of an image
EARLY = 2_000_000  # bytes of an image that is delivered early
BEGINNING = 1_300_000  # bytes of its first chunk, enough for its format
# The failure reasons that the answers of Glance may lead to; there may be no others.
FINAL = {400: "image-refused", 403: "image-refused", 415: "image-refused", 404: "image-gone", 410: "image-gone",
         413: "over-quota"}  # fmt: skip
ANSWERS = (401, 403, 409, 410, 413, 415, 500, 502, 503)
# The first schedules have every fault, whatever the random ones have.
FIRST = (
    (Fault("data", "spoil"), Fault("remove", "refuse"), Fault("data", "reset", at=70_000)),
    (Fault("data", "kill-glance", at=100_000),),
    (Fault("data", "answer", 500), Fault("data", "answer", 500), Fault("make", "lose"), Fault("ask", "answer", 503)),
    (Fault("data", "flip", at=30_000), Fault("remove", "lose"), Fault("data", "lose"), Fault("ask", "kill-service")),
    (Fault("data", "stall", at=50_000), Fault("data", "answer", 401), Fault("data", "early", 413)),
    (Fault("data", "kill-service", at=90_000), Fault("data", "answer", 410), Fault("make", "refuse")),
    (Fault("ask", "refuse"), Fault("data", "answer", 409), Fault("data", "answer", 403), Fault("data", "early", 503)),
    (Fault("data", "answer", 413), Fault("data", "answer", 415), Fault("make", "answer", 503), Fault("remove", "lose")),
)


def run(count: int, seed: int) -> Result:
    chance = random.Random(seed)
    schedules = [*FIRST, *FIRST, *(drawn(chance) for _ in range(count - 2 * len(FIRST)))][:count]
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, start(directory=Path(name) / "cloud") as cloud:
        days = _BadDays(cloud, Path(name) / "service")
        with days.service, days.glance:
            for first in range(0, count, AT_ONCE):
                days.play(schedules[first : first + AT_ONCE], first, chance)
            assert len(list(cloud.glance(DEMO).images.list())) == count, "an image is left that no upload has"
            tally.update(fault.what for fault in days.glance.met)
        counts = ", ".join(f"{number} {what}" for what, number in sorted(tally.items()))
        return Result(
            f"{count} fault schedules, one active image each, which is the file; none left over, nothing on scratch "
            f"({sum(tally.values())} faults: {counts}; {days.replaced} images replaced, {days.retries} other tries)",
            {"schedules": count, "faults": sum(tally.values()), "replaced": days.replaced},
        )


def is_early(number: int) -> bool:
    """Return whether an upload is delivered early: FIRST in the second round, and every other random one."""
    return len(FIRST) <= number and (number < 2 * len(FIRST) or number % 2 == 1)


def drawn(chance: random.Random) -> tuple[Fault, ...]:
    return tuple(_fault(chance) for _ in range(chance.randint(1, 4)))


def _fault(chance: random.Random) -> Fault:
    at = chance.choice((0, chance.randrange(LARGEST), chance.randrange(100_000)))
    on = chance.choices(("data", "ask", "make", "remove"), weights=(14, 3, 1, 1))[0]
    whats = ("refuse", "answer", "early", "lose", "kill-service") if on != "data" else (
        "refuse", "answer", "early", "reset", "stall", "lose", "flip", "spoil", "kill-glance", "kill-service"
    )  # fmt: skip
    weights = (4, 4, 2, 4, 1) if on != "data" else (3, 12, 4, 6, 2, 6, 2, 3, 1, 1)
    what = chance.choices(whats, weights=weights)[0]
    # A Glance that answers a question wrongly is not tried.
    status = chance.choice(ANSWERS if on == "data" else (401, 500, 502, 503))
    return Fault(on, what, status, at)


class _BadDays:
    """A service before a Glance with faults."""

    def __init__(self, cloud: Cloud, directory: Path) -> None:
        self.replaced = 0
        self.retries = 0
        self._cloud = cloud
        self._images = cloud.glance(DEMO).images
        self._killing = threading.Lock()
        self.service = _hurried(cloud, directory)
        port = urlsplit(cloud.image_url).port
        assert port is not None
        self.glance = BadGlance(port, cloud.directory / "stores" / "fast", self._kill_glance, self._kill_service)
        with self.service.configuration.open("a") as file:
            file.write(f"[glance]\nendpoint_override = {self.glance.url}\ntimeout = 6\n")

    def play(self, schedules: list[tuple[Fault, ...]], first: int, chance: random.Random) -> None:
        client = Client(self.service.url, {"X-Auth-Token": self._cloud.token(DEMO)})
        uploads = {}
        for number, faults in enumerate(schedules, first):
            size = LARGEST if number < len(FIRST) else chance.choice((1, 100_000, LARGEST))
            size = EARLY if is_early(number) else size
            name, content = f"schedule {number}", images.noise(chance, size)
            url = client.created(len(content), image={**RAW, "name": name})
            self.glance.schedule(name, list(faults))
            uploads[name] = (url, content, faults)
        for url, content, _ in uploads.values():
            self._send(client, url, content, 0, min(len(content), BEGINNING))
        time.sleep(chance.random())
        for url, content, _ in uploads.values():
            if len(content) > BEGINNING:
                self._send(client, url, content, BEGINNING, len(content))
        deadline = time.monotonic() + PATIENCE
        for name, (url, content, faults) in uploads.items():
            try:
                self._ends_well(client, url, name, content, faults, deadline)
            except AssertionError as problem:
                problem.add_note(f"{name}: {faults}, of which {self.glance.left(name)} are left")
                raise

    def _send(self, client: Client, url: str, content: bytes, start: int, stop: int) -> None:
        with self._killing:
            answer = client.send(url, content, start, stop)
        assert answer.status_code == 204, answer.text

    def _ends_well(
        self, client: Client, url: str, name: str, content: bytes, faults: tuple[Fault, ...], deadline: float
    ) -> None:
        final = {FINAL.get(each.status) for each in faults if each.what in {"answer", "early"}}
        final |= {"image-refused" for each in faults if each.what == "spoil"}
        final |= {"image-differs" for each in faults if each.what == "flip"}
        while (upload := self._shown(client, url))["state"] != "active":
            assert time.monotonic() < deadline, f"it does not become active: {upload}"
            if upload["state"] == "failed":
                error = upload["handoff"]["last_error"]
                assert error["reason"] in final, f"it has failed without a reason: {error}"
                assert len(error["detail"]) > 20
                with self._killing:
                    client.request("POST", f"{url}/retry")
                self.retries += 1
            time.sleep(0.2)
        self.replaced += len(upload["image"]["replaced"])
        while found := self._left_over(upload, name):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        with self._killing:
            image = self._images.get(upload["image"]["id"])
        assert (image.status, image.size) == ("active", len(content))
        assert image.os_hash_value == hashlib.sha512(content).hexdigest(), "the active image is not the file"
        assert upload["hashes"]["sha512"] == image.os_hash_value

    def _shown(self, client: Client, url: str) -> dict[str, Any]:
        with self._killing:
            return client.show(url)

    def _left_over(self, upload: dict[str, Any], name: str) -> str:
        """Return what is left besides the image, as a clause."""
        with self._killing:
            images = {each.id for each in self._images.list(filters={"name": name})}
        scratch = [each.name for each in (self.service.directory / "scratch" / "uploads").glob(f"{upload['id']}*")]
        others = images - {upload["image"]["id"]}
        return " and ".join([f"image {each} is left over" for each in others] + [f"{each} is left" for each in scratch])

    def _kill_glance(self) -> None:
        with self._killing:
            self._cloud.kill_glance()
            self._cloud.start_glance()

    def _kill_service(self) -> None:
        with self._killing:
            self.service.kill()
            self.service.start()


def _hurried(cloud: Cloud, directory: Path) -> Service:
    handoff = {"workers": AT_ONCE + 1, "early_workers": AT_ONCE + 1, "early_minimum_size": EARLY}
    handoff |= {"attempts": 0, "glance_timeout": 4, "abort_grace": 1}
    service = beside(cloud, directory, {"handoff": handoff})
    service.module = "tests.reliability.short_intervals"
    return service


TRIAL = Trial(
    name="fault_schedules",
    promise="Whatever happens to a handoff, one image becomes active, it is the file, and nothing is left over.",
    unit="fault schedules",
    share=4,
    full=500,
    deep=5_000,
    run=run,
    sabotages=(
        Sabotage(
            "an image that a killed Glance left saving is waited for for ever",
            "handoff/plan.py",
            "return _instead(upload) if stuck(upload, now) else Step.WAIT",
            "return Step.WAIT",
            count=8,
        ),
        Sabotage(
            "an image whose place in the store is taken is never replaced",
            "handoff/plan.py",
            "    if not complete and upload.delivery.suspicion >= UNUSABLE:\n",
            "    if not complete and upload.delivery.suspicion < 0:\n",
            count=8,
        ),
        Sabotage(
            "a replaced image is not recorded as an orphan",
            "catalog/uploads.py",
            "        orphan_image(db, upload, old.id, now)\n",
            "",
            count=8,
        ),
        Sabotage(
            "a replacement that was made before is made again",
            "handoff/replacement.py",
            "if (await self.images.status(new, actor)).presence is not Presence.DELETED:",
            "if (await self.images.status(new, actor)).presence is None:",
            count=8,
        ),
        Sabotage(
            "the image in Glance is not compared with the upload",
            "handoff/delivering.py",
            "        wrong = differences(require(upload.size), proof, status)\n",
            "        wrong: list[str] = []\n",
            count=8,
        ),
        Sabotage(
            "a 503 of Glance is final",
            "images/glance/service.py",
            "413: FailureReason.OVER_QUOTA, 415: FailureReason.IMAGE_REFUSED}",
            "413: FailureReason.OVER_QUOTA, 415: FailureReason.IMAGE_REFUSED, 503: FailureReason.IMAGE_REFUSED}",
            count=8,
        ),
        Sabotage(
            "scratch is not freed",
            "handoff/worker.py",
            "            if ended.state is State.ACTIVE:\n",
            "            if ended.state is State.FAILED:\n",
            count=8,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
