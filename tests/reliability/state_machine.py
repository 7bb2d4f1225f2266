"""A Hypothesis state machine: everything that can happen to uploads, in any order, against the model.

Hypothesis chooses the steps; fixture.py and interruptions.py do them to the running service and to the model. No
choice depends on an answer of the service, so that a failure can be shrunk.

    python -m tests.reliability.state_machine --steps 100000          # with a random seed, which is printed
    python -m tests.reliability.state_machine --steps 20000 --seed 7  # to repeat a run
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.reliability import interruptions, joining
from tests.reliability.fixture import Fixture
from tests.reliability.harness import Harness
from tests.reliability.model import EXPIRY, FIRST_BYTE_EXPIRY, Modelled
from tests.reliability.nonsense import bad_numbers, nonsense
from tests.reliability.protocols import NATIVE, RUFH, TUS, Chunk, WireProtocol
from tests.reliability.strategies import (
    Aim,
    aimed,
    aims_at,
    creators,
    in_order,
    permille,
    picks,
    protocols,
    sides,
    sizes,
    some,
    ways,
    zeros_at,
)
from tests.support.service import development

STEPS_OF_AN_EXAMPLE = 100
EXAMPLES_AT_ONCE = 20
FOREVER = 10**9  # seconds
LONGEST = 1024 * 1024  # bytes: the limit of a chunk, far more than any has here
Step = TypeVar("Step", bound=Callable[..., Any])


aims = aims_at("next", "next", "next", "gap", "anywhere", "again", wrong=3)


def step(rule_of: Step) -> Step:
    """Count a rule as a step, and add the last requests and answers to its failure."""

    @functools.wraps(rule_of)
    def counted(self: Uploads, *given: Any, **named: Any) -> Any:
        Uploads.steps += 1
        try:
            return rule_of(self, *given, **named)
        except Exception as problem:
            problem.add_note("\n".join(["the last requests and answers:", *self.harness.log]))
            Uploads.failure = Uploads.failure or problem
            self.failed = True
            raise

    return counted  # type: ignore[return-value]


class Uploads(RuleBasedStateMachine):
    """Everything that can happen to uploads."""

    harness: ClassVar[Harness]
    steps: ClassVar[int] = 0
    failure: ClassVar[Exception | None] = None  # the first one, before it was shrunk

    uploads = Bundle("uploads")
    ended = Bundle("ended")
    any_upload = st.one_of(uploads, uploads, ended)
    failed = False

    @initialize()
    def begin(self) -> None:
        self.fixture = Fixture(self.harness)

    @rule(target=uploads, side=sides, protocol=creators, size=sizes, announced=st.booleans(), doomed=st.integers(0, 9))
    @step
    def create(self, side: int, protocol: WireProtocol, size: int, announced: bool, doomed: int) -> Modelled:
        project = self.fixture.projects[side]
        if doomed == 5:
            return self.fixture.create_in_vain(project, size)
        return self.fixture.create(project, protocol, size if announced or not protocol.in_order else None, size, None)

    @rule(
        target=uploads,
        side=sides,
        protocol=in_order,
        size=some,
        announced=st.booleans(),
        first=aims_at("next", wrong=3),
    )
    @step
    def create_with_bytes(self, side: int, protocol: WireProtocol, size: int, announced: bool, first: Aim) -> Modelled:
        project = self.fixture.projects[side]
        return self.fixture.create(
            project, protocol, size if announced else None, size, self.first(first, protocol, size)
        )

    @rule(
        side=sides,
        protocol=protocols,
        size=some,
        announced=st.booleans(),
        first=aims_at("next", wrong=3),
        at=permille,
        how=ways,
    )
    @step
    def create_and_leave(
        self, side: int, protocol: WireProtocol, size: int, announced: bool, first: Aim, at: int, how: str
    ) -> None:
        chunk = self.first(first, protocol, size) if protocol.in_order else None
        if chunk is not None and protocol is RUFH:
            chunk = dataclasses.replace(chunk, last=False)
        # Larger than its first chunk: it is not complete, so it can be cancelled.
        whole = size + 2 if announced or not protocol.in_order else None
        interruptions.cut_creation(self.fixture, self.fixture.projects[side], protocol, whole, chunk, at, how)

    @rule(target=uploads, side=sides, picks=picks, rival=st.sampled_from(["", "", "unfinished", "join", "cancel"]))
    @step
    def join(self, side: int, picks: list[int], rival: str) -> Modelled:
        project = self.fixture.projects[side]
        if rival in {"join", "cancel"}:
            return joining.race(self.fixture, project, picks, rival)
        return joining.join(self.fixture, project, picks, fill=not rival)

    @rule(
        side=sides,
        picks=picks,
        wrong=st.sampled_from(["any", "any", "any", "again", "again", "unknown", "foreign", "twice"]),
    )
    @step
    def join_wrongly(self, side: int, picks: list[int], wrong: str) -> None:
        joining.join_wrongly(self.fixture, self.fixture.projects[side], picks, wrong)

    @rule(upload=uploads, protocol=protocols, aim=aims_at("next", "next", "gap", wrong=1))
    @step
    def append(self, upload: Modelled, protocol: WireProtocol, aim: Aim) -> None:
        self.fixture.append(upload, protocol, self.aimed(aim, upload, protocol))

    @rule(upload=uploads, protocol=protocols, aim=aims_at("again", "anywhere", wrong=4))
    @step
    def append_where_something_is(self, upload: Modelled, protocol: WireProtocol, aim: Aim) -> None:
        self.fixture.append(upload, protocol, self.aimed(aim, upload, protocol))

    @rule(upload=uploads, protocol=protocols, aim=aims_at("next", "gap", "again", "anywhere", wrong=10))
    @step
    def append_wrongly(self, upload: Modelled, protocol: WireProtocol, aim: Aim) -> None:
        self.fixture.append(upload, protocol, self.aimed(aim, upload, protocol))

    @rule(upload=uploads, aim=aims_at("next", "gap", "again", "anywhere", wrong=1))
    @step
    def declare_zeros(self, upload: Modelled, aim: Aim) -> None:
        self.fixture.append(upload, NATIVE, zeros_at(aim, upload))

    @rule(
        upload=uploads,
        aim=aims_at("next", "gap", "again", wrong=0),
        at=permille,
        how=st.sampled_from(["race", "close"]),
    )
    @step
    def declare_zeros_at_risk(self, upload: Modelled, aim: Aim, at: int, how: str) -> None:
        chunk = zeros_at(aim, upload)
        if how == "race":
            interruptions.race(self.fixture, upload, NATIVE, chunk)
        else:
            interruptions.cut(self.fixture, upload, NATIVE, chunk, at, how)

    @rule(upload=uploads)
    @step
    def fill(self, upload: Modelled) -> None:
        self.fixture.fill(upload)

    @rule(upload=uploads, protocol=protocols, aim=aims)
    @step
    def append_twice_at_once(self, upload: Modelled, protocol: WireProtocol, aim: Aim) -> None:
        interruptions.race(self.fixture, upload, protocol, self.aimed(aim, upload, protocol))

    @rule(upload=uploads, protocol=protocols, aim=aims, at=permille, how=ways)
    @step
    def append_and_leave(self, upload: Modelled, protocol: WireProtocol, aim: Aim, at: int, how: str) -> None:
        interruptions.cut(self.fixture, upload, protocol, self.aimed(aim, upload, protocol), at, how)

    @rule(upload=uploads, protocol=protocols, aim=aims, at=permille, then=st.sampled_from(["go on", "asked", "again"]))
    @step
    def stall(self, upload: Modelled, protocol: WireProtocol, aim: Aim, at: int, then: str) -> None:
        interruptions.stall(self.fixture, upload, protocol, self.aimed(aim, upload, protocol), at, then)

    @rule(target=ended, upload=consumes(uploads), protocol=protocols, aim=aims, at=permille, how=st.integers(0, 5))
    @step
    def end(self, upload: Modelled, protocol: WireProtocol, aim: Aim, at: int, how: int) -> Modelled:
        """Finish an upload, or cancel it, perhaps while a request writes to it."""
        if how < 3:
            self.fixture.finish(upload)
        elif how < 5:
            interruptions.stall(self.fixture, upload, protocol, self.aimed(aim, upload, protocol), at, "cancelled")
        else:
            self.fixture.cancel(upload, protocol)
        return upload

    @rule(upload=ended, protocol=protocols, aim=aims, asked=st.sampled_from(["inspect", "append", "append", "cancel"]))
    @step
    def ask_for_what_has_ended(self, upload: Modelled, protocol: WireProtocol, aim: Aim, asked: str) -> None:
        if asked == "append":
            self.fixture.append(upload, protocol, self.aimed(aim, upload, protocol))
        else:
            (self.fixture.inspect if asked == "inspect" else self.fixture.cancel)(upload, protocol)

    @rule(upload=any_upload)
    @step
    def read(self, upload: Modelled) -> None:
        self.fixture.read(upload)

    @rule(upload=uploads, protocol=protocols)
    @step
    def inspect(self, upload: Modelled, protocol: WireProtocol) -> None:
        self.fixture.inspect(upload, protocol)

    @rule(
        upload=any_upload,
        protocol=protocols,
        aim=aims_at("next", wrong=0),
        asked=st.sampled_from(["inspect", "append", "cancel", "read"]),
    )
    @step
    def ask_as_a_stranger(self, upload: Modelled, protocol: WireProtocol, aim: Aim, asked: str) -> None:
        chunk = self.aimed(aim, upload, protocol)
        asking = TUS if asked == "read" else protocol
        request = protocol.append(upload.id, chunk) if asked == "append" else getattr(asking, asked)(upload.id)
        self.fixture.strangers(upload, request)

    @rule(upload=any_upload, protocol=protocols, place=st.integers(0, 3), number=bad_numbers, twice=st.booleans())
    @step
    def send_nonsense(self, upload: Modelled, protocol: WireProtocol, place: int, number: str, twice: bool) -> None:
        self.fixture.malformed(upload.project, nonsense(upload, protocol, place, number, twice))
        self.fixture.look(upload)

    @rule(side=sides)
    @step
    def list_uploads(self, side: int) -> None:
        self.fixture.list_uploads(self.fixture.projects[side])

    @rule(really=st.booleans())
    @step
    def pass_time(self, really: bool) -> None:
        if really:
            self.fixture.tick()

    @rule(upload=uploads, protocol=protocols, aim=aims, at=permille, how=st.integers(0, 299))
    @step
    def restart(self, upload: Modelled, protocol: WireProtocol, aim: Aim, at: int, how: int) -> None:
        """Restart the service in some cases only: it takes as long as hundreds of other steps."""
        chunk = self.aimed(aim, upload, protocol)
        match how:
            case 101 | 102:
                self.fixture.restart(gracefully=how == 101)
            case 103 | 104:
                interruptions.stall(self.fixture, upload, protocol, chunk, at, "stop" if how == 103 else "kill")
            case 105 | 106:
                interruptions.cut(self.fixture, upload, protocol, chunk, at if how == 105 else 1000, "kill")
            case _:
                self.fixture.look(upload)

    def teardown(self) -> None:
        if hasattr(self, "fixture") and not self.failed:
            self.finale()

    @step
    def finale(self) -> None:
        Uploads.steps -= 1  # this is no step
        self.fixture.finish_all()

    def first(self, aim: Aim, protocol: WireProtocol, size: int) -> Chunk:
        """Return a first chunk that comes with the creation, which announces the size."""
        chunk = self.aimed(aim, Modelled("", "", size, size, ""), protocol)
        return dataclasses.replace(chunk, total=None)

    def aimed(self, aim: Aim, upload: Modelled, protocol: WireProtocol) -> Chunk:
        return aimed(aim, upload, protocol, self.fixture.chance)


def run(steps: int, seed: int, *, smaller: bool = True) -> int:
    """Run at least so many steps against a new service; return their number.

    The AssertionError of a failure has the smallest failing program that Hypothesis found; the first without `smaller`.
    """
    print(f"state machine: {steps} steps, seed {seed}", flush=True)
    memory = Path("/dev/shm")  # in memory fsync is cheap, and a kill loses nothing that was written
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        options = {
            "upload_expiry": EXPIRY,
            "first_byte_expiry": FIRST_BYTE_EXPIRY,
            "waiting_retention": FOREVER,  # nothing waits for an owner here: what fails does so for good
            "record_retention": FOREVER,
            "max_chunk_size": LONGEST,
        }
        service = development(Path(directory) / "service", **options)
        service.module = "tests.support.launcher"
        with service:
            Uploads.harness, Uploads.steps, Uploads.failure = Harness(service), 0, None
            _run(steps, seed, [Phase.generate, Phase.shrink] if smaller else [Phase.generate])
            print("answers:", ", ".join(f"{count} x {name}" for name, count in Uploads.harness.answers.most_common()))
    return Uploads.steps


def _run(steps: int, seed: int, phases: list[Phase]) -> None:
    settings = hypothesis.settings(
        max_examples=EXAMPLES_AT_ONCE,
        stateful_step_count=STEPS_OF_AN_EXAMPLE,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    begun = time.monotonic()
    part = seed
    while Uploads.steps < steps:  # Hypothesis may end a run before its numbers are reached
        try:
            run_state_machine_as_test(hypothesis.seed(part)(Uploads), settings=settings)
        except Exception as problem:
            again = f"python -m tests.reliability.state_machine --steps {steps} --seed {seed}"
            problem.add_note(f"after {Uploads.steps} steps; to see it again: {again}")
            if isinstance(problem, hypothesis.errors.Flaky) and Uploads.failure is not None:
                raise Uploads.failure from problem  # it depends on timing, so it can't be shrunk
            raise
        part += 1
        speed = Uploads.steps / (time.monotonic() - begun)
        print(f"{Uploads.steps} steps, {speed:.0f} a second", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.reliability.state_machine", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    run(arguments.steps, arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
