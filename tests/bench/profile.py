"""The processor time of an upload, by component: see sampled.py."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.bench import sampled
from tests.bench.contest import Contest, LeftOut, Measure
from tests.bench.sender import sending
from tests.bench.servers import MIB, RECEIVING_ONLY, Native, Work, content
from tests.support.service import Service, development
from tests.support.wire import Client

TIMES = 4  # uploads of 1 GiB each
LEAST = 0.5  # per cent; smaller shares are added up


def profile(quick: bool) -> Iterator[Measure | LeftOut]:
    with contextlib.ExitStack() as stack:
        service = development(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "service", RECEIVING_ONLY)
        service.module = "tests.bench.sampled"
        stack.enter_context(service)
        sender, contestant = stack.enter_context(sending()), Native(service)
        for md5 in (False, True):
            work = Work(1, 2 if quick else 16, 64 * MIB, md5)
            sums = Counter[str]()
            for _ in range(1 if quick else TIMES):
                streams = contestant.begin(work)
                before = samples(service)
                sender.send(service.port, content(), streams)
                sums += samples(service) - before
                contestant.clean()
            yield from shares(f"way in, {'md5' if md5 else 'no checksum'}", "in", sums)
        before = samples(service)
        for _ in range(2 if quick else 16):
            hand_over(service)
        yield from shares("way out", "out", samples(service) - before)


def samples(service: Service) -> Counter[str]:
    """Return the time that the service has used so far, in nanoseconds."""
    time.sleep(2 * sampled.WRITTEN)
    return Counter(json.loads((service.directory / "samples").read_text()))


def hand_over(service: Service) -> None:
    """Upload 64 MiB, until the image is active."""
    client = Client(service.url)
    body = content().read_bytes()
    url = client.created(len(body))
    client.send(url, body, 0, len(body)).raise_for_status()
    client.wait(url, "active")


def shares(setting: str, way: str, sums: Counter[str]) -> Iterator[Measure]:
    """Yield the per cent of a way's time by component, the largest first."""
    found = Counter({name.partition(" ")[2]: spent for name, spent in sums.items() if name.startswith(way + " ")})
    whole, rest = found.total() or 1, 100.0
    for name, spent in found.most_common():
        share = 100 * spent / whole
        if share >= LEAST:
            rest -= share
            yield Measure(setting, name, share, "%")
    if rest >= LEAST / 10:
        yield Measure(setting, "all smaller shares", rest, "%")


PROFILE = Contest(
    name="profile",
    title="Where the time goes now",
    text=f"""\
The processor time of our service, including the kernel's part: while {TIMES} uploads of 1 GiB come in, each in one
stream with 64 MiB chunks, and while uploads of 64 MiB are handed over to a directory (an *image service* that writes
the bytes and hashes them; with Glance, sending takes its place). The service itself records the time of each thread
whenever it begins or ends a job, and every {1000 * sampled.INTERVAL:.0f} ms by its stack. Waiting counts nothing.
*Event loop* includes the kernel's copy out of the socket, *writing to scratch* the copy into the page cache.""",
    run=profile,
    drawing="shares",
)
