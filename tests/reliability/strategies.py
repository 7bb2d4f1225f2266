"""The strategies of the state machine. A chunk is drawn as an Aim, before the state of its upload is known."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.reliability.model import Modelled
from tests.reliability.protocols import CREATORS, NATIVE, PROTOCOLS, RUFH, Chunk, Tus, WireProtocol, digest

permille = st.integers(0, 1000)
sizes = st.one_of(st.integers(0, 20), st.integers(0, 5_000), st.integers(0, 50_000), st.integers(0, 300_000))
some = st.integers(1, 50_000)  # bytes
protocols = st.sampled_from(PROTOCOLS)
creators = st.sampled_from(CREATORS)
in_order = st.sampled_from([each for each in CREATORS if each.in_order])
sides = st.integers(0, 1)  # which of the two projects
picks = st.lists(st.integers(0, 50), min_size=1, max_size=4)  # indices into the parts that exist then
ways = st.sampled_from(["close", "reset"])
_NONE = random.Random(1)  # where the bytes do not matter


@dataclass(frozen=True)
class Aim:
    """A chunk relative to its upload: positions in per mille of the upload."""

    where: str
    at: int
    much: int
    wrong: str
    digests: int
    chunked: bool


def aims_at(*where: str, wrong: int) -> st.SearchStrategy[Aim]:
    """Return a strategy of aims; in `wrong` of twelve something is wrong."""
    wrongs = ("bytes", "digest", "short", "long", "total", "bytes")
    return st.builds(
        Aim,
        where=st.sampled_from(where),
        at=permille,
        much=permille,
        wrong=st.sampled_from([""] * (12 - wrong) + [wrongs[each % 6] for each in range(wrong)]),
        digests=st.sampled_from([0, 0, 1, 1, 2]),
        chunked=st.sampled_from([False, False, True]),
    )


def aimed(aim: Aim, upload: Modelled, protocol: WireProtocol, chance: random.Random) -> Chunk:
    """Return the chunk that an aim means in the upload's present state; missing bytes come from `chance`."""
    goal, start = upload.goal, _start(aim, upload)
    room = max(0, goal - start)
    length = max(0, room - (aim.much < 900)) if aim.much > 800 else room * aim.much // 1000  # all, all but one, a part
    if not protocol.in_order:
        start, length = min(start, max(0, goal - 1)), max(1, length)
    body = bytearray(chance.randbytes(length))
    for first, last in upload.ranges:
        first, last = max(first, start), min(last, start + length)
        if first < last:
            body[first - start : last - start] = upload.content[first:last]
    if aim.wrong == "bytes" and length:
        body[length * aim.at // 1001] ^= 0x55
    elif aim.wrong == "short":
        body = body[: length * aim.at // 1001]
    elif aim.wrong == "long":
        body += b"!"
    algorithms = protocol.algorithms[aim.at % 2 :][: min(aim.digests, 1 if isinstance(protocol, Tus) else 2)]
    spoilt = b"spoilt" if aim.wrong == "digest" else b""
    declared = tuple((each, digest(each, bytes(body) + spoilt)) for each in algorithms)
    ends: bool | None = None
    if protocol is RUFH:
        ends = aim.at % 3 > 0 if start + len(body) == goal else aim.at % 9 == 0
    chunk = Chunk(start, start + length, bytes(body), declared, aim.chunked, _total(aim, goal, protocol))
    return dataclasses.replace(chunk, in_order=protocol.in_order, last=ends)


def zeros_at(aim: Aim, upload: Modelled) -> Chunk:
    """Return a run of zeros, mostly in a gap."""
    meant = aimed(dataclasses.replace(aim, wrong=aim.wrong if aim.wrong == "total" else ""), upload, NATIVE, _NONE)
    start, stop = meant.start, meant.stop
    gaps = [end for begin, end in upload.gaps if begin <= start < end]
    stop = min([stop, *gaps]) if aim.at % 4 else stop
    return Chunk(start, stop, bytes(stop - start), total=meant.total, zeros=True)


def _total(aim: Aim, goal: int, protocol: WireProtocol) -> int | None:
    """Return the announced size: always in the native protocol, sometimes in the others."""
    if not protocol.in_order:
        return goal + (aim.wrong == "total") if goal else 1
    return goal + 1 if aim.wrong == "total" else goal if aim.much % 4 == 0 else None


def _start(aim: Aim, upload: Modelled) -> int:
    match aim.where:
        case "gap" if upload.gaps:
            start, stop = upload.gaps[aim.at % len(upload.gaps)]
            return start + (stop - start) * (aim.at % 7) // 14
        case "again" if upload.ranges:
            start, stop = upload.ranges[aim.at % len(upload.ranges)]
            exact = [first for first, _ in upload.proven]
            return exact[0] if exact and aim.at % 2 else start + (stop - start) * aim.at // 1001
        case "anywhere":
            return upload.goal * aim.at // 1000
    return upload.offset
