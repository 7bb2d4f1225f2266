"""Connections that are cut at any byte: the client asks for the offset and goes on, and the image is the file.

Four uploads run at once, each with three protocols mixed. The bytes that were sent and not kept are counted. The
service keeps every byte that it was given: a client that has seen the connection close loses only the bytes in
uvicorn's buffer, and that is asserted. A client that resets the connection, or asks at once, may overtake its own
bytes in the kernels' buffers; one that asks in the native protocol, where a question ends no request, may also overtake
their commit. Those losses are measured only.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.protocols import NATIVE, PROTOCOLS, TUS, Chunk, WireProtocol
from tests.reliability.sender import Sender
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support import images
from tests.support.raw import Line
from tests.support.service import UNLIMITED, Service, development

KIB, MIB = 1024, 1024 * 1024
COMMIT_SIZE = MIB  # the smallest one that can be configured
SERVER = 64 * KIB + 256 * KIB  # bytes: uvicorn's buffer when it stops reading, and one more read of uvloop
AT_ONCE = 4
CUTS_OF_AN_UPLOAD = 25
WAYS = ("close", "reset", "half-close", "half-close")


@dataclass
class Cuts:
    """The cuts of one client. `twice` is the most bytes that a cut cost, by the kind of the cut."""

    made: int = 0
    uploads: int = 0
    sent: int = 0  # bytes of bodies in requests that were cut
    repeated: int = 0  # of these, bytes that were not kept
    twice: Counter[str] = field(default_factory=Counter)

    def plus(self, other: Cuts) -> Cuts:
        made, uploads = self.made + other.made, self.uploads + other.uploads
        return Cuts(made, uploads, self.sent + other.sent, self.repeated + other.repeated, self.twice | other.twice)


def run(count: int, seed: int) -> Result:
    with tempfile.TemporaryDirectory() as directory:
        options = {**UNLIMITED, "scratch": {"commit_size": COMMIT_SIZE}}
        with development(Path(directory), options) as service, ThreadPoolExecutor(AT_ONCE) as threads:
            quotas = [count // AT_ONCE + (each < count % AT_ONCE) for each in range(AT_ONCE)]
            clients = [
                threads.submit(client, service, quota, random.Random(f"{seed} {number}"))
                for number, quota in enumerate(quotas)
            ]
            whole = sum_of([each.result() for each in clients])
    return result_of(whole)


def sum_of(all_cuts: list[Cuts]) -> Cuts:
    whole = Cuts()
    for each in all_cuts:
        whole = whole.plus(each)
    return whole


def result_of(whole: Cuts) -> Result:
    seen, unseen = (whole.twice[each] / KIB for each in ("seen", "unseen"))
    return Result(
        f"{whole.made:,} cut connections ({whole.uploads:,} uploads in three protocols, {AT_ONCE} at once) resumed to "
        f"the right bytes; of {whole.sent / MIB:,.0f} MiB in chunks that were cut {whole.repeated / MIB:,.0f} MiB were "
        f"sent twice. Without a digest a cut cost {seen:,.0f} KiB at most where the client saw the connection end, "
        f"and {unseen:,.0f} KiB where it was reset or the client asked before its last bytes were read",
        {
            "cuts": whole.made,
            "uploads": whole.uploads,
            "bytes_sent_before_cuts": whole.sent,
            "bytes_sent_twice": whole.repeated,
            **{f"most_bytes_sent_twice_{kind}": most for kind, most in whole.twice.items()},
        },
    )


def client(service: Service, quota: int, chance: random.Random) -> Cuts:
    """Send one upload after the other, until `quota` connections were cut."""
    cuts = Cuts()
    while cuts.made < quota:
        content = images.noise(chance, chance.randrange(1, 4 * MIB))
        sender = Sender(service.port, service.directory / "images", content)
        sender.create(chance.choice(PROTOCOLS))
        upload(service, sender, cuts, min(quota, cuts.made + CUTS_OF_AN_UPLOAD), chance)
        sender.finish()
        cuts.uploads += 1
    return cuts


def upload(service: Service, sender: Sender, cuts: Cuts, quota: int, chance: random.Random) -> None:
    """Send a file over connections that are cut, and the rest of it over one that stays."""
    protocol = chance.choice(PROTOCOLS)
    while sender.missing and cuts.made < quota:
        chunk = sender.chunk(protocol, chance, chance.choice([64 * KIB, 512 * KIB, 2 * MIB]))
        how = chance.choice(WAYS)
        carried = cut(service, sender, protocol, chunk, how, chance)
        protocol = chance.choice(PROTOCOLS)
        for asking in (protocol, NATIVE):  # the native protocol reports all durable ranges
            sender.locate(asking)
        count(cuts, sender, chunk, carried, how, protocol)
    while sender.missing:
        sender.go_on(TUS, chance, most=8 * MIB)  # tus evicts a cut request that still runs


def cut(service: Service, sender: Sender, protocol: WireProtocol, chunk: Chunk, how: str, chance: random.Random) -> int:
    """Send a part of a request and hang up; return how many bytes of its body were sent."""
    request = sender.request(protocol, chunk)
    wire, head = request.wire(), request.head_length()
    some = [head, head + 4 * KIB, head + 64 * KIB, head + 64 * KIB, len(wire), len(wire)]
    length = chance.randrange(min(len(wire), chance.choice(some)) + 1)
    line = Line(service.port)
    line.try_to_send(wire[:length])
    if how == "half-close":
        line.end_sending()
    line.close(reset=how == "reset")
    return request.carried(length)


def count(cuts: Cuts, sender: Sender, chunk: Chunk, carried: int, how: str, asking: WireProtocol) -> None:
    """Count what a cut has cost. AssertionError if that is too much."""
    lost = sender.lost(chunk, carried)
    cuts.made += 1
    cuts.sent += carried
    cuts.repeated += lost
    seen = how == "half-close" and asking is not NATIVE
    kind = "digest" if chunk.declared else "seen" if seen else "unseen"
    assert lost <= SERVER or kind != "seen", (
        f"{lost} of {carried} bytes were not kept, and {SERVER} is the most: {chunk}, asked for in {asking}; {sender}"
    )
    cuts.twice[kind] = max(cuts.twice[kind], lost)


TRIAL = Trial(
    name="cuts",
    promise="A connection may be cut at any byte: only the bytes under way are lost, and the upload goes on.",
    unit="cut connections",
    share=100,
    full=10_000,
    deep=200_000,
    run=run,
    sabotages=(
        Sabotage(
            "the bytes before an interruption are not kept",
            "uploads/chunk_writer.py",
            "if refusal.reason in _INTERRUPTIONS and not self._chunk.declared:",
            "if False:",
            count=100,
        ),
        Sabotage(
            "a cut chunk is recorded with a byte more than came",
            "uploads/chunk_writer.py",
            "Extent(Range(self._begun, self._position), *digests)",
            "Extent(Range(self._begun, min(self._position + 1, self._target.stop)), *digests)",
            count=100,
        ),
        Sabotage(
            "the offset does not stop at a gap",
            "catalog/uploads.py",
            "            if start != offset:",
            "            if start < offset:",
            count=100,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
