"""One instance is stopped and started again and again at the same address, while clients of all protocols send.

They obey Retry-After, and ask until there is an answer. In each stop a chunk stalls, which the stop has to end. That a
second process on the same scratch refuses to start is tested in tests/http/test_native.py.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from tests.reliability.background import BackgroundLoad
from tests.reliability.protocols import NATIVE, PROTOCOLS, RUFH, Chunk, WireProtocol
from tests.reliability.sender import Sender
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program
from tests.support import images
from tests.support.raw import Answer, Line
from tests.support.service import UNLIMITED, Service, development

KIB = 1024
CLIENTS = (*PROTOCOLS, *PROTOCOLS)
GRACE = 5  # seconds
BODY = 20 * KIB  # bytes of a chunk that stalls before its last one
QUESTIONS = 10  # answers after which a chunk that was sent before them is being read


def run(count: int, seed: int) -> Result:
    chance = random.Random(seed)
    longest = 0.0
    with (
        tempfile.TemporaryDirectory() as directory,
        development(Path(directory), UNLIMITED, graceful_timeout=GRACE) as service,
        BackgroundLoad(service, seed, CLIENTS, 1024 * KIB) as crowd,
    ):
        for _ in range(count):
            time.sleep(chance.random())
            longest = max(longest, restart(service, chance))
            crowd.check()
    return Result(
        f"{count} restarts of an instance that {len(CLIENTS)} clients send to: no acknowledged byte lost, "
        f"{crowd.finished:,} uploads became the right images; {crowd.refused.total():,} requests were refused or cut "
        f"and sent again; a stop took {longest:.1f} s at most",
        {"restarts": count, "uploads": crowd.finished, "refused": crowd.refused.total(), "longest_stop": longest},
    )


def restart(service: Service, chance: random.Random) -> float:
    """Stop and start while a chunk stalls, whose bytes are kept; return the seconds that the stop took."""
    sender = Sender(service.port, service.directory / "images", images.noise(chance, BODY))
    protocol = chance.choice(PROTOCOLS)
    sender.create(protocol)
    sent = chance.randrange(1, BODY)
    line = stalled(service, sender, protocol, sent)
    began = time.monotonic()
    status = service.stop()
    took = time.monotonic() - began
    assert status == 0, f"a stop that was asked for ended with status {status}"
    assert took < GRACE, f"a stop took {took:.1f} s: a request was not ended"
    answer = line.answer("PATCH")
    line.close()
    assert come_back(answer), f"a chunk that runs at a stop is answered with {answer} {answer.document}"
    service.start()
    sender.locate(protocol)
    assert sender.offset == sent, f"{sent} bytes had come when the service was stopped: {sender}"
    while sender.missing:
        sender.go_on(protocol, chance, BODY)
    sender.finish()
    return took


def stalled(service: Service, sender: Sender, protocol: WireProtocol, sent: int) -> Line:
    """Return a connection over which the first bytes of a chunk have come and been read."""
    whole = Chunk(
        0, BODY, sender.content, total=BODY, in_order=protocol.in_order, last=None if protocol is not RUFH else True
    )
    request = sender.request(protocol, whole)
    line = Line(service.port)
    line.send(request.wire()[: len(request.wire()) - BODY + sent])
    for _ in range(QUESTIONS):
        sender.ask(NATIVE.inspect(sender.id))
    return line


def come_back(answer: Answer) -> bool:
    """Return whether an answer asks the client to come back, and says when."""
    return answer.status == 503 and answer.reason == "shutting-down" and (answer.number("retry-after") or 0) > 0


TRIAL = Trial(
    name="restarts",
    promise="A restart under load loses nothing: senders are asked to come back, and the received bytes are kept.",
    unit="restarts",
    share=2,
    full=50,
    deep=1_000,
    run=run,
    sabotages=(
        Sabotage(
            "a stop ends no running chunk",
            "uploads/write_locks.py",
            "        await _evict([each for locks in self._locks.values() for each in locks], Reason.CLOSING)\n",
            "",
            count=1,
        ),
        Sabotage(
            "a stop drops the received bytes of a running chunk",
            "uploads/chunk_writer.py",
            "    Reason.CLOSING,\n    Reason.BODY_TOO_SHORT,",
            "    Reason.BODY_TOO_SHORT,",
            count=1,
        ),
        Sabotage(
            "a refusal at a stop has no Retry-After",
            "uploads/write_locks.py",
            'facts = {"retry_after": 1} if reason in {Reason.SUPERSEDED, Reason.CLOSING} else {}',
            "facts: dict[str, int] = {}",
            count=1,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
