"""Contests made of trials of the reliability run: their figures, and their promises as goals."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.contest import Contest, Goal, LeftOut, Measure
from tests.memory import Watch, upload
from tests.reliability import cuts, slow, takeovers
from tests.support import images
from tests.support.service import development
from tests.support.wire import Client

KIB, MIB = 1024, 1024 * 1024
SEED = 9  # with 8, random bytes happen to look like a broken partition table, which is refused
TAKEOVERS = 300
CUTS = 1_000
SIZES = (256, 512, 1024, 2048)  # MiB


def resuming(quick: bool) -> Iterator[Measure | LeftOut]:
    taken = takeovers.run(takeovers.MEASURED if quick else TAKEOVERS, SEED).numbers
    yield Measure("stalled chunk taken over, median", "ours", taken["median_seconds"] * 1000, "ms")
    yield Measure("stalled chunk taken over, 99 of 100", "ours", taken["p99_seconds"] * 1000, "ms")
    cut = cuts.run(100 if quick else CUTS, SEED).numbers
    share = 100 * cut["bytes_sent_twice"] / cut["bytes_sent_before_cuts"]
    yield Measure("of the bytes in requests that were cut, sent twice", "ours", share, "%")
    yield Measure("most for one cut without a digest", "ours", cut.get("most_bytes_sent_twice_seen", 0.0) / KIB, "KiB")


def crowd(quick: bool) -> Iterator[Measure | LeftOut]:
    count = 100 if quick else slow.CROWD
    seen = slow.measured(count, SEED)
    setting = f"{count:,} slow clients"
    yield Measure(f"{setting}: a HEAD of another client, 99 of 100", "ours", seen.p99 * 1000, "ms")
    yield Measure(f"{setting}: more memory", "ours", seen.grown / MIB, "MiB")


def memory_by_size(quick: bool) -> Iterator[Measure | LeftOut]:
    """Measure the memory of whole uploads, as `nox -s memory` does."""
    for size in SIZES[: 1 if quick else None]:
        with tempfile.TemporaryDirectory() as directory, development(Path(directory)) as service:
            client = Client(service.url)
            client.wait(upload(client, images.raw_disk(64 * MIB)), "active")  # for late imports
            before, watch = service.memory(), Watch(service)
            try:
                client.wait(upload(client, images.raw_disk(size * MIB)), "active", seconds=600)
            finally:
                most = watch.end()
            yield Measure(str(size), "grown by at most", (most - before) / MIB, "MiB")


RESUMING = Contest(
    name="resuming",
    title="Stalls and cuts",
    text=f"""\
{TAKEOVERS} requests stall in the middle of a chunk, and the next one takes over: the time from its first byte to its
answer. {CUTS:,} connections are cut anywhere, in every protocol: the bytes that had to be sent again. A chunk with a
digest is lost as a whole, which accounts for most of them. More of both: [reliability](reliability.md).""",
    run=resuming,
    drawing="none",
    goals=(
        Goal("A stalled chunk is taken over, 99 of 100, in ms", ".*99 of 100", "ours", "value", "at most",
             takeovers.AT_ONCE * 1000),
    ),
)  # fmt: skip
CROWD = Contest(
    name="crowd",
    title="A thousand slow clients",
    text="Each sends a kibibyte a second, half of them with a digest, while another client sends HEADs all the time.",
    run=crowd,
    drawing="none",
    goals=(
        Goal(
            "A bystander's HEAD, 99 of 100, in ms", "1,000 .*99 of 100", "ours", "value", "at most", slow.LATENCY * 1000
        ),
        Goal("More memory, in MiB", "1,000 .*memory", "ours", "value", "at most", slow.MEMORY / MIB),
    ),
)  # fmt: skip
MEMORY_BY_SIZE = Contest(
    name="memory-by-size",
    title="Memory by the size of an upload",
    text="The growth of the service's resident memory during an upload, three chunks of 64 MiB at a time with md5, and "
    "its handoff.",
    run=memory_by_size,
    drawing="lines",
    axis="MiB",
)
