"""The slowest input of each parser: whatever a client sends, the event loop is not held up.

A hill climb: an input that took longer than all before is repeated in part, cut and changed until none takes longer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time

from tests.reliability.parsers import PARSERS, Parser
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program

LONGEST = 128 * 1024  # bytes of an input, as of a request's head
FIELDS = 100  # headers that a request may have
SLOWEST = 0.05  # seconds of processor time
CHARACTERS = b' \t,;:="\\[]{}()?&%/*-+0aA\xff'


def run(count: int, seed: int) -> Result:
    logging.getLogger("oslo_utils").setLevel(logging.CRITICAL)
    slowest = {name: climb(parser, count, random.Random(seed)) for name, parser in PARSERS.items()}
    late = {name: found for name, found in slowest.items() if found[0] > SLOWEST}
    assert not late, "\n".join(
        f"{name}: {seconds * 1000:.0f} ms for {len(data)} bytes: {data[:80]!r} ... {data[-80:]!r}"
        for name, (seconds, data) in late.items()
    )
    worst = max(slowest, key=lambda name: slowest[name][0])
    return Result(
        f"of {len(PARSERS) * count:,} inputs of up to {LONGEST // 1024} KiB, the slowest ({worst}) took "
        f"{slowest[worst][0] * 1000:.0f} ms",
        {"inputs": len(PARSERS) * count, "slowest_seconds": slowest[worst][0]},
    )


def climb(parser: Parser, count: int, chance: random.Random) -> tuple[float, bytes]:
    """Return the seconds and the bytes of the slowest of `count` inputs."""
    inputs = list(parser.seeds)
    best, seconds = inputs[0], 0.0
    for _ in range(count):
        data = changed(chance.choice(inputs[-10:] if chance.random() < 0.5 else inputs), chance)
        if data.count(b"\n") <= FIELDS and cost(parser, data) > seconds:
            again = min(cost(parser, data) for _ in range(3))  # what else the machine did does not count
            if again > seconds:
                best, seconds = data, again
                inputs.append(data)
    return seconds, best


def changed(data: bytes, chance: random.Random) -> bytes:
    """Return an input with a part of it repeated, or a character more."""
    start = chance.randrange(len(data) + 1)
    if chance.random() < 0.3:
        return (data[:start] + bytes([chance.choice(CHARACTERS)]) + data[start:])[:LONGEST]
    part = data[start : start + chance.choice((1, 2, 3, 8, 20, 60))] or b"a"
    times = chance.choice((2, 10, 100, LONGEST // len(part)))
    return (data[:start] + part * times + data[start:])[:LONGEST]


def cost(parser: Parser, data: bytes) -> float:
    """Return the seconds of processor time that a parser takes for an input."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        began = time.thread_time()
        parser.feed(data)
        return time.thread_time() - began


TRIAL = Trial(
    name="slow_inputs",
    promise="No request, however odd, holds up the others: its head and description take less than 50 ms.",
    unit="inputs for each parser",
    share=300,
    full=20_000,
    deep=500_000,
    run=run,
    sabotages=(
        Sabotage(
            "a header may be as long as the head",
            "api/protocols/parsing.py",
            "    if values and len(values[0]) > longest:",
            "    if False:",
            2000,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
