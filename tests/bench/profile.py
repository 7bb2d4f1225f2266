"""Where the processor's time goes in one upload: see sampled.py."""

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

TIMES = 4  # uploads of 1 GiB each, of which the shares are told together
LEAST = 0.5  # per cent; what has less is told together


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
    """What the service has used so far, in nanoseconds."""
    time.sleep(2 * sampled.WRITTEN)
    return Counter(json.loads((service.directory / "samples").read_text()))


def hand_over(service: Service) -> None:
    """A whole upload of 64 MiB, until it is active."""
    client = Client(service.url)
    body = content().read_bytes()
    url = client.created(len(body))
    client.send(url, body, 0, len(body)).raise_for_status()
    client.wait(url, "active")


def shares(setting: str, way: str, sums: Counter[str]) -> Iterator[Measure]:
    """Per cent of what was used for a way, by component; the largest first."""
    found = Counter({name.partition(" ")[2]: spent for name, spent in sums.items() if name.startswith(way + " ")})
    whole, rest = found.total() or 1, 100.0
    for name, spent in found.most_common():
        share = 100 * spent / whole
        if share >= LEAST:
            rest -= share
            yield Measure(setting, name, share, "%")
    if rest >= LEAST / 10:
        yield Measure(setting, "what is less", rest, "%")


PROFILE = Contest(
    name="profile",
    title="Where the time goes now",
    text=f"""\
The processor time of our service, the kernel's part with it: while {TIMES} uploads of 1 GiB come in, each in one stream
with 64 MiB chunks, and while uploads of 64 MiB are handed over to a directory (a *sink* that writes the bytes, and
hashes them for its receipt; with Glance, sending takes its place). Somebody inside the service books the time of each
thread when it begins or ends something, and every {1000 * sampled.INTERVAL:.0f} ms for what it is at. What waits counts
nothing. *Event loop* has the kernel's copy out of the socket, *writing to scratch* the one into the page cache.""",
    run=profile,
    drawing="shares",
)
