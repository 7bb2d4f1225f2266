"""What a handoff does next, from whatever place it was killed at."""

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.protocol.delivery import (
    LONGEST_DELAY,
    Presence,
    Receipt,
    Step,
    delay,
    differences,
    next_step,
    pause,
)
from resumable_glance.protocol.digests import Digest
from resumable_glance.protocol.upload import Image, Owner, Proof, State, Upload

many = settings(deadline=None, max_examples=300)
PROOF = Proof(md5="5" * 32, sha512="a" * 128)
DIGEST = Digest("sha256", bytes(32))
UPLOAD = Upload(
    id="a-" + "0" * 32,
    owner=Owner("project", "user"),
    size=100,
    state=State.DELIVERING,
    image=Image("11111111-2222-3333-4444-555555555555"),
    created_at=1000.0,
    updated_at=1000.0,
    expires_at=2000.0,
)
COMPLETE = Receipt(Presence.COMPLETE, 100, PROOF.md5, PROOF.sha512)


def expected(state: State, presence: Presence, proven: bool, promised: bool) -> Step:
    """The same decision, said as a person would say it."""
    match presence:
        case Presence.GONE:
            return Step.GIVE_UP
        case Presence.BUSY:
            return Step.WAIT
        case _ if state is State.VERIFYING:
            return Step.VERIFY
        case Presence.COMPLETE:  # our own proof first: the sink's word is compared with it, not taken for it
            return Step.RECORD if proven else Step.PROVE
        case Presence.AWAITED:  # a promise about the whole image is checked before the sink sees a byte
            return Step.PROVE if promised and not proven else Step.DELIVER


@pytest.mark.parametrize(
    ("state", "presence", "proven", "promised"),
    list(itertools.product([State.DELIVERING, State.VERIFYING], Presence, [False, True], [False, True])),
)
def test_every_combination_has_its_step(state: State, presence: Presence, proven: bool, promised: bool) -> None:
    upload = dataclasses.replace(
        UPLOAD, state=state, proof=PROOF if proven else None, declared=(DIGEST,) if promised else ()
    )
    assert next_step(upload, Receipt(presence)) is expected(state, presence, proven, promised)


@dataclasses.dataclass
class World:
    """An upload as the catalog has it, a sink, and a power cut that may come before or after each effect.

    `cuts` says how often each place is survived: True means that power goes here.
    """

    upload: Upload
    presence: Presence
    cuts: Iterator[bool]
    delivered: int = 0
    proofs: int = 0

    def survives(self) -> bool:
        return not next(self.cuts, False)

    def record(self, **changes: object) -> None:
        if self.survives():
            self.upload = dataclasses.replace(self.upload, **changes)  # type: ignore[arg-type]

    def step(self) -> Step:
        taken = next_step(self.upload, Receipt(self.presence))
        if not self.survives():
            return taken
        match taken:
            case Step.PROVE:
                self.proofs += 1
                self.record(proof=PROOF)
            case Step.DELIVER:
                self.presence = Presence.BUSY
                if self.survives():
                    self.presence = Presence.COMPLETE
                    self.delivered += 1
                    self.record(state=State.VERIFYING, proof=PROOF)
            case Step.RECORD:
                self.record(state=State.VERIFYING)
            case Step.WAIT:  # the sink notices that nobody sends any more
                self.presence = Presence.AWAITED
            case _:
                pass
        return taken


@many
@given(
    st.lists(st.booleans(), max_size=30),
    st.sampled_from([Presence.AWAITED, Presence.BUSY, Presence.COMPLETE]),
    st.booleans(),
)
def test_wherever_it_is_killed_a_handoff_comes_to_verifying_with_a_proof_and_delivers_once(
    cuts: list[bool], presence: Presence, promised: bool
) -> None:
    world = World(dataclasses.replace(UPLOAD, declared=(DIGEST,) if promised else ()), presence, iter(cuts))
    for _ in range(len(cuts) + 6):
        step = world.step()
        assert step is not Step.GIVE_UP
        if step is Step.VERIFY:
            break
    assert world.upload.state is State.VERIFYING
    assert world.upload.proof == PROOF
    assert world.delivered == (0 if presence is Presence.COMPLETE else 1)


def test_a_handoff_that_nobody_disturbs_reads_scratch_once() -> None:
    world = World(UPLOAD, Presence.AWAITED, iter([]))
    assert [world.step(), world.step()] == [Step.DELIVER, Step.VERIFY]
    assert world.proofs == 0


def test_a_declared_digest_is_proven_before_the_sink_gets_a_byte() -> None:
    world = World(dataclasses.replace(UPLOAD, declared=(DIGEST,)), Presence.AWAITED, iter([]))
    assert [world.step(), world.step(), world.step()] == [Step.PROVE, Step.DELIVER, Step.VERIFY]


def test_a_receipt_that_is_our_proof_differs_in_nothing() -> None:
    assert differences(100, PROOF, COMPLETE) == []


@pytest.mark.parametrize(
    ("name", "receipt"),
    [
        ("size", dataclasses.replace(COMPLETE, size=99)),
        ("size", dataclasses.replace(COMPLETE, size=None)),
        ("md5", dataclasses.replace(COMPLETE, md5="6" * 32)),
        ("md5", dataclasses.replace(COMPLETE, md5=None)),
        ("sha512", dataclasses.replace(COMPLETE, sha512="b" * 128)),
        ("sha512", dataclasses.replace(COMPLETE, sha512=None)),
    ],
)
def test_a_receipt_that_lacks_or_differs_in_anything_is_no_proof(name: str, receipt: Receipt) -> None:
    assert [each.split()[0] for each in differences(100, PROOF, receipt)] == [name]


def test_all_differences_are_told() -> None:
    assert len(differences(100, PROOF, Receipt(Presence.GONE))) == 3


def test_the_first_delay_is_a_second_and_each_next_one_twice_as_long() -> None:
    assert [delay(attempts) for attempts in range(1, 8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


@many
@given(st.integers(1, 10**9))
def test_no_delay_is_longer_than_a_minute_however_many_attempts_there_were(attempts: int) -> None:
    assert 1.0 <= delay(attempts) <= delay(attempts + 1) <= LONGEST_DELAY


@many
@given(st.integers(1, 100), st.floats(0, 2e9), st.floats(0, LONGEST_DELAY))
def test_a_handoff_that_waits_is_due_when_its_time_has_come(attempts: int, now: float, later: float) -> None:
    upload = dataclasses.replace(UPLOAD, next_attempt_at=now + delay(attempts))
    left = pause(upload, now + later)
    assert left == pytest.approx(max(0.0, delay(attempts) - later), abs=1e-5)


def test_a_handoff_without_a_time_is_due() -> None:
    assert pause(UPLOAD, 1000.0) == 0.0


def test_a_clock_that_was_set_back_does_not_make_a_handoff_wait_for_it() -> None:
    assert pause(dataclasses.replace(UPLOAD, next_attempt_at=1e9), 1000.0) == 0.0
