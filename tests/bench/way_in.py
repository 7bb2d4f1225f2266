"""The way in: the speed at which chunks become durable, and the memory that a server takes for it."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench.contest import Contest, Goal, LeftOut, Measure, in_turn
from tests.bench.others import OTHERS
from tests.bench.sender import sending
from tests.bench.servers import BARE, MIB, NATIVE, TUS, Contestant, Work, bare, content, native, other, our_tus
from tests.reliability.trial import Missing

ROUNDS = 5
CHUNKS = (8 * MIB, 64 * MIB)  # bytes
STREAMS = (1, 8)
TOTAL = {8 * MIB: 512 * MIB, 64 * MIB: 1024 * MIB}  # bytes of all streams together, by the size of the chunks
CHECKED = "bare loop that checks"  # the page calls both loops "bare loop": the setting tells them apart
PLAIN = "1 stream, 64 MiB chunks"  # the setting that the goals are about
Opened = Callable[[Path], AbstractContextManager[Contestant]]


def speed(quick: bool) -> Iterator[Measure | LeftOut]:
    with _everybody() as (contestants, left_out), sending() as sender:
        yield from left_out
        warm = Work(1, 1, MIB, md5=False)
        for each in contestants.values():
            sender.send(each.port, content(), each.begin(warm))
            each.clean()
        for work in works(quick):
            for name in in_turn(1 if quick else ROUNDS, takers(work, contestants)):
                contestant = contestants[name]
                streams = contestant.begin(work)
                try:
                    took = sender.send(contestant.port, content(), streams).seconds
                finally:
                    contestant.clean()
                os.sync()  # the next contestant must not wait for unflushed bytes of this one
                shown = BARE if name == CHECKED else name
                yield Measure(work.setting, shown, work.total / MIB / took, "MiB/s")


def memory(quick: bool) -> Iterator[Measure | LeftOut]:
    """Measure each server alone, for memory is seldom given back."""
    work = Work(8, 1 if quick else 4, 8 * MIB if quick else 64 * MIB, md5=False)
    for name, opened in openers().items():
        if name == CHECKED:
            continue
        try:
            with tempfile.TemporaryDirectory() as directory, opened(Path(directory) / "server") as contestant:
                before = resident(contestant.pid, "VmRSS")
                with sending() as sender:
                    sender.send(contestant.port, content(), contestant.begin(work))
                contestant.clean()
                yield Measure("before", name, before / MIB, "MiB")
                yield Measure(f"most, {work.setting}", name, resident(contestant.pid, "VmHWM") / MIB, "MiB")
        except Missing as lack:
            yield LeftOut(name, str(lack))


def works(quick: bool) -> list[Work]:
    if quick:
        return [Work(*each, md5) for each in ((8, 1, 8 * MIB), (1, 1, 64 * MIB)) for md5 in (False, True)]
    found = []
    for chunk in CHUNKS:
        for streams in STREAMS:
            found += [Work(streams, TOTAL[chunk] // chunk // streams, chunk, md5) for md5 in (False, True)]
    return found


def takers(work: Work, contestants: dict[str, Contestant]) -> list[str]:
    """Return the contestants for a work: with md5 only those that check it."""
    if work.md5:
        return [CHECKED, NATIVE, TUS]
    return [each for each in contestants if each != CHECKED]


def openers() -> dict[str, Opened]:
    return {
        BARE: bare,
        CHECKED: functools.partial(bare, md5=True),
        NATIVE: native,
        TUS: our_tus,
        **{name: functools.partial(other, name) for name in OTHERS},
    }


def resident(pid: int, what: str) -> int:
    """Return the bytes of memory that a process has (VmRSS), or had at most (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what + ":"))


@contextlib.contextmanager
def _everybody() -> Iterator[tuple[dict[str, Contestant], list[LeftOut]]]:
    """Start all servers that can run here."""
    contestants, left_out = dict[str, Contestant](), list[LeftOut]()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for number, (name, opened) in enumerate(openers().items()):
            try:
                contestants[name] = stack.enter_context(opened(directory / str(number)))
            except Missing as lack:
                left_out.append(LeftOut(name, str(lack)))
        yield contestants, left_out


SPEED = Contest(
    name="way-in",
    title="The way in",
    text="""\
Streams of chunks over loopback, each stream one upload over one connection. The sender lets the kernel copy bytes from
a file to the socket (`sendfile`), so that it is not the bottleneck; the digests that it declares were computed before.

The **bare loop** does nothing but what can't be left out: receive into a buffer, `pwrite`, `fdatasync` at each chunk's
end, and, where md5 is checked, hash in a second thread. Our service does the same, and records the durable ranges; but
it lets the disk begin to write while a chunk still comes, so that it may be faster than the bare loop. The others
neither check nor flush: acknowledged bytes may still be lost. No handoffs run meanwhile.""",
    run=speed,
    base=BARE,
    goals=(
        Goal("Without a checksum: ours to the bare loop", PLAIN, NATIVE, "ratio", "at least", 0.85, (BARE,)),
        Goal("With md5: ours to the bare loop with md5", f"{PLAIN}, md5", NATIVE, "ratio", "at least", 0.9, (BARE,)),
        Goal(
            "Without a checksum: ours to the best of the others", PLAIN, NATIVE, "ratio", "at least", 3.0, tuple(OTHERS)
        ),
    ),
)
MEMORY = Contest(
    name="memory",
    title="Memory",
    text="Resident memory of a server's process (a new one for each) before anything was sent, and the most that it "
    "ever had after 8 streams of 64 MiB chunks, 2 GiB in all.",
    run=memory,
)
