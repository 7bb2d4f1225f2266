"""What a handoff does next, from whatever place it was killed at."""

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.handoff.plan import (
    LONGEST_DELAY,
    Step,
    can_be_retried,
    choose_next,
    delay,
    differences,
    exhausted,
    needs_another_image,
    next_step,
    stuck,
    suits_early_delivery,
    time_until_due,
)
from resumable_glance.images.base import UNUSABLE, ImageStatus, Presence
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import State
from resumable_glance.model.upload import (
    FORMAT_FAILURES,
    Delivery,
    FailureReason,
    Format,
    Image,
    InspectionState,
    LastError,
    Owner,
    Proof,
    Upload,
)

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
COMPLETE = ImageStatus(Presence.ACTIVE, 100, PROOF.md5, PROOF.sha512)


NOW = 5000.0
WAITED_FOR = {"new": 0.0, "patient": NOW + 1, "stuck": NOW}  # Upload.stuck_at


def expected(upload: Upload, presence: Presence) -> Step:
    """The same decision, said as a person would say it."""
    assert upload.image is not None
    another = Step.GIVE_UP if upload.image.adopted else Step.REPLACE
    match presence:
        case _ if upload.delivery.successor is not None:  # what was begun goes on, whatever is said of the old image
            return Step.REPLACE
        case Presence.DELETED:
            return Step.GIVE_UP
        case Presence.SAVING:
            return another if upload.delivery.stuck_at == NOW else Step.WAIT
        case Presence.STAGED | Presence.IMPORT_FAILED:
            return expected_of_an_import(upload, presence, another)
        case Presence.QUEUED if upload.image.imports and upload.state is State.VERIFYING:
            return expected_of_an_import(upload, Presence.IMPORT_FAILED, another)
        case _ if upload.state is State.VERIFYING:
            return Step.VERIFY
        case Presence.ACTIVE:  # our own proof first: the image service's word is compared with it, not taken for it
            return Step.PROVE if upload.delivery.proof is None else Step.RECORD
        case Presence.QUEUED:
            return another if upload.delivery.suspicion >= UNUSABLE else expected_of_one_that_waits(upload)


def expected_of_one_that_waits(upload: Upload) -> Step:
    """A promise about the whole image is checked before the image service sees a byte."""
    return Step.PROVE if upload.declared and upload.delivery.proof is None else Step.DELIVER


def expected_of_an_import(upload: Upload, presence: Presence, another: Step) -> Step:
    if presence is Presence.STAGED:
        return Step.PROVE if upload.delivery.proof is None else Step.IMPORT
    return another if upload.delivery.suspicion >= UNUSABLE else Step.BACK_OFF  # it is tried again, but not at once


@pytest.mark.parametrize("presence", Presence)
def test_every_combination_has_its_step(presence: Presence) -> None:
    assert UPLOAD.image is not None
    seen = set()
    for state, proof, declared, adopted, suspicion, stuck_at, successor, stores in itertools.product(
        [State.DELIVERING, State.VERIFYING],
        [None, PROOF],
        [(), (DIGEST,)],
        [False, True],
        range(UNUSABLE + 2),
        WAITED_FOR.values(),
        [None, "new"],
        [None, ("fast", "archive")],
    ):
        upload = dataclasses.replace(
            UPLOAD,
            state=state,
            image=dataclasses.replace(UPLOAD.image, adopted=adopted, stores=stores),
            declared=declared,
            delivery=Delivery(proof=proof, suspicion=suspicion, stuck_at=stuck_at, successor=successor),
        )
        step = next_step(upload, ImageStatus(presence, size=100), NOW)
        assert step is expected(upload, presence), upload
        seen.add(step)
    assert Step.REPLACE in seen


def test_a_staged_image_of_another_size_is_not_imported() -> None:
    upload = UPLOAD.with_delivery(proof=PROOF)
    assert next_step(upload, ImageStatus(Presence.STAGED, size=99), NOW) is Step.REPLACE


@dataclasses.dataclass
class World:
    """An upload as the catalog has it, an image service, and a power cut that may come before or after each effect.

    `cuts` says how often each place is survived: True means that power goes here.
    """

    upload: Upload
    presence: Presence
    cuts: Iterator[bool]
    notices: bool = True
    delivered: int = 0
    proofs: int = 0
    images: int = 1

    def survives(self) -> bool:
        return not next(self.cuts, False)

    def record(self, state: State | None = None, **delivery: object) -> None:
        if self.survives():
            self.upload = dataclasses.replace(self.upload, state=state or self.upload.state).with_delivery(**delivery)

    def step(self) -> Step:
        taken = next_step(self.upload, ImageStatus(self.presence), NOW)
        if not self.survives():
            return taken
        match taken:
            case Step.PROVE:
                self.proofs += 1
                self.record(proof=PROOF)
            case Step.DELIVER:
                self.deliver()
            case Step.RECORD:
                self.record(state=State.VERIFYING)
            case Step.WAIT:
                if self.notices:  # that nobody sends any more
                    self.presence = Presence.QUEUED
                self.record(stuck_at=NOW)
            case Step.REPLACE:
                self.replace()
            case _:
                pass
        return taken

    def deliver(self) -> None:
        if self.upload.delivery.stuck_at:  # an earlier attempt was stuck; this one may be busy for as long
            self.record(stuck_at=0.0)
        if not self.upload.delivery.stuck_at:
            self.presence = Presence.SAVING
            if self.survives():
                self.presence = Presence.ACTIVE
                self.delivered += 1
                self.record(state=State.VERIFYING, proof=PROOF)

    def replace(self) -> None:
        self.record(successor="new")
        if self.upload.delivery.successor is not None and self.survives():
            self.images += 1
            self.presence = Presence.QUEUED
            self.record(successor=None, state=State.DELIVERING, suspicion=0, stuck_at=0.0)


@many
@given(
    st.lists(st.booleans(), max_size=30),
    st.sampled_from([Presence.QUEUED, Presence.SAVING, Presence.ACTIVE]),
    st.booleans(),
    st.booleans(),
    st.integers(0, UNUSABLE),
)
def test_a_handoff_killed_anywhere_delivers_once_with_a_proof(
    cuts: list[bool], presence: Presence, promised: bool, notices: bool, suspicion: int
) -> None:
    upload = dataclasses.replace(UPLOAD, declared=(DIGEST,) if promised else ()).with_delivery(suspicion=suspicion)
    world = World(upload, presence, iter(cuts), notices)
    for _ in range(2 * len(cuts) + 10):
        step = world.step()
        assert step is not Step.GIVE_UP
        if step is Step.VERIFY:
            break
    assert world.upload.state is State.VERIFYING
    assert world.upload.delivery.proof == PROOF
    assert world.delivered == (0 if presence is Presence.ACTIVE else 1)
    if suspicion < UNUSABLE and notices:
        assert world.images == 1


def test_an_undisturbed_handoff_reads_storage_once() -> None:
    world = World(UPLOAD, Presence.QUEUED, iter([]))
    assert [world.step(), world.step()] == [Step.DELIVER, Step.VERIFY]
    assert world.proofs == 0


def test_a_declared_digest_is_proven_before_the_delivery() -> None:
    world = World(dataclasses.replace(UPLOAD, declared=(DIGEST,)), Presence.QUEUED, iter([]))
    assert [world.step(), world.step(), world.step()] == [Step.PROVE, Step.DELIVER, Step.VERIFY]


def test_an_image_status_that_equals_the_proof_differs_in_nothing() -> None:
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
def test_an_image_status_that_lacks_anything_is_no_proof(name: str, receipt: ImageStatus) -> None:
    assert [each.split()[0] for each in differences(100, PROOF, receipt)] == [name]


def test_all_differences_are_reported() -> None:
    assert len(differences(100, PROOF, ImageStatus(Presence.DELETED))) == 3


def test_delays_double_from_one_second() -> None:
    assert [delay(attempts, 0) for attempts in range(1, 8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


def test_chance_takes_up_to_half_of_a_delay() -> None:
    assert [delay(1, chance) for chance in (0.0, 0.5, 1.0)] == [1.0, 0.75, 0.5]


@many
@given(st.integers(1, 10**9), st.floats(0, 1))
def test_delays_are_at_most_a_minute_and_at_least_half_of_it(attempts: int, chance: float) -> None:
    assert 1.0 <= delay(attempts, 0) <= delay(attempts + 1, 0) <= LONGEST_DELAY
    assert delay(attempts, 0) / 2 <= delay(attempts, chance) <= delay(attempts, 0)


@many
@given(st.integers(1, 100), st.floats(0, 2e9), st.floats(0, LONGEST_DELAY))
def test_a_handoff_that_waits_is_due_when_its_time_has_come(attempts: int, now: float, later: float) -> None:
    upload = UPLOAD.with_delivery(next_attempt_at=now + delay(attempts, 0))
    left = time_until_due(upload, now + later)
    assert left == pytest.approx(max(0.0, delay(attempts, 0) - later), abs=1e-5)


def test_the_longest_delay_is_waited_for_when_rounded_up() -> None:
    assert time_until_due(UPLOAD.with_delivery(next_attempt_at=1000.0 + LONGEST_DELAY + 1e-7), 1000.0) > LONGEST_DELAY


def test_a_time_beyond_any_delay_is_of_another_clock() -> None:
    for further in (1.0, 1.5):
        assert time_until_due(UPLOAD.with_delivery(next_attempt_at=LONGEST_DELAY + further), 0.0) == 0.0


def test_a_handoff_without_a_time_is_due() -> None:
    assert time_until_due(UPLOAD, 1000.0) == 0.0


def test_a_clock_set_back_delays_no_handoff() -> None:
    assert time_until_due(UPLOAD.with_delivery(next_attempt_at=1e9), 1000.0) == 0.0


def test_attempts_are_limited_but_for_a_missing_token() -> None:
    assert not exhausted(2, 3, FailureReason.IMAGE_SERVICE_UNAVAILABLE)
    assert exhausted(3, 3, FailureReason.IMAGE_SERVICE_UNAVAILABLE)
    assert exhausted(1, 1, FailureReason.IMAGE_SERVICE_UNAVAILABLE)
    assert not exhausted(10**6, 3, FailureReason.TOKEN_EXPIRED)
    assert not exhausted(10**6, 0, FailureReason.IMAGE_SERVICE_UNAVAILABLE)


@pytest.mark.parametrize("hitch", FailureReason)
def test_wrong_bytes_can_not_be_retried(hitch: FailureReason) -> None:
    upload = dataclasses.replace(UPLOAD, state=State.FAILED).with_delivery(last_error=LastError(hitch, "A sentence."))
    assert can_be_retried(upload) is (
        hitch not in FORMAT_FAILURES | {FailureReason.DIGEST_MISMATCH, FailureReason.SCRATCH_LOST}
    )
    assert can_be_retried(upload.with_delivery(last_error=None))


@pytest.mark.parametrize("hitch", FailureReason)
@pytest.mark.parametrize("adopted", [False, True])
def test_a_retry_without_an_image_needs_a_new_one(hitch: FailureReason, adopted: bool) -> None:
    assert UPLOAD.image is not None
    image = dataclasses.replace(UPLOAD.image, adopted=adopted)
    upload = dataclasses.replace(UPLOAD, state=State.FAILED, image=image).with_delivery(
        last_error=LastError(hitch, "A sentence.")
    )
    gone = hitch in {FailureReason.IMAGE_GONE, FailureReason.IMAGE_DIFFERS}
    assert needs_another_image(upload) is (gone and not adopted)
    assert not needs_another_image(dataclasses.replace(upload, image=None))
    assert not needs_another_image(upload.with_delivery(last_error=None))


@pytest.mark.parametrize(
    ("verdict", "proof", "presence", "step"),
    [
        (InspectionState.PENDING, None, Presence.QUEUED, Step.INSPECT),
        (InspectionState.PENDING, None, Presence.ACTIVE, Step.PROVE),
        (InspectionState.PARTIAL, None, Presence.QUEUED, Step.PROVE),
        (InspectionState.PARTIAL, Proof("md5", "sha512"), Presence.QUEUED, Step.DELIVER),
        (InspectionState.FINAL, None, Presence.QUEUED, Step.DELIVER),
    ],
)
def test_no_byte_is_delivered_before_the_format_check(
    verdict: InspectionState, proof: Proof | None, presence: Presence, step: Step
) -> None:
    upload = dataclasses.replace(
        UPLOAD, state=State.DELIVERING, format=Format("vhdx", inspection=verdict)
    ).with_delivery(proof=proof)
    assert next_step(upload, ImageStatus(presence), 0.0) is step


@pytest.mark.parametrize(
    ("detected", "disk_format"), [("qcow2", "qcow2"), ("gpt", "raw"), ("luks", "raw"), ("raw", "raw"), (None, None)]
)
def test_a_found_format_has_a_name_in_glance(detected: str | None, disk_format: str | None) -> None:
    assert Format(None, detected).disk_format == disk_format


def test_only_large_and_fast_uploads_are_delivered_early() -> None:
    upload = Upload("a-0", Owner("p", "u"), 1000, State.RECEIVING, Image("i"), 0.0, 0.0, 0.0, offset=10)
    assert suits_early_delivery(upload, 10.0, 1000)
    assert not suits_early_delivery(upload, 10.0, 1001)
    assert suits_early_delivery(upload, 36.3, 0)
    assert not suits_early_delivery(upload, 36.5, 0), "at this pace it takes more than an hour"


def test_the_rate_counts_at_least_one_second() -> None:
    upload = Upload("a-0", Owner("p", "u"), 36_010, State.RECEIVING, Image("i"), 100.0, 0.0, 0.0, offset=10)
    assert suits_early_delivery(upload, 100.5, 0), "an hour is left, and no more"
    assert suits_early_delivery(upload, 101.0, 0)
    assert not suits_early_delivery(upload, 101.1, 0)


def test_an_image_is_stuck_from_its_moment_on_if_it_has_one() -> None:
    upload = UPLOAD.with_delivery(stuck_at=0.5)
    assert [stuck(upload, now) for now in (0.4, 0.5, 0.6)] == [False, True, True]
    assert not stuck(upload.with_delivery(stuck_at=0.0), 0.6)


def test_imports_are_not_delivered_early() -> None:
    upload = Upload("a-0", Owner("p", "u"), 1000, State.RECEIVING, Image("i", stores=()), 0.0, 0.0, 0.0, offset=10)
    assert not suits_early_delivery(upload, 10.0, 1000)


def test_early_delivery_waits_for_the_format_check() -> None:
    upload = Upload("a-0", Owner("p", "u"), 1000, State.RECEIVING, Image("i"), 0.0, 0.0, 0.0, offset=900)
    follow = {
        each: suits_early_delivery(dataclasses.replace(upload, format=Format("raw", inspection=each)), 10.0, 0)
        for each in InspectionState
    }
    assert follow == {each: each is InspectionState.FINAL for each in InspectionState}


@pytest.mark.parametrize("changes", [{"offset": 0}, {"image": None}, {"size": None}, {"state": State.SEALED}])
def test_early_delivery_needs_a_prefix_an_image_and_a_size(changes: dict[str, object]) -> None:
    upload = Upload("a-0", Owner("p", "u"), 1000, State.RECEIVING, Image("i"), 0.0, 0.0, 0.0, offset=900)
    assert not suits_early_delivery(dataclasses.replace(upload, **changes), 10.0, 0)  # type: ignore[arg-type]


def of(project: str, number: int) -> Upload:
    return dataclasses.replace(UPLOAD, id=f"{project}-{number}", owner=Owner(project, "user"))


def test_the_project_with_the_fewest_running_goes_first() -> None:
    waiting = [of("big", number) for number in range(5)] + [of("small", 0), of("tiny", 0)]
    assert ids(choose_next(waiting, [], 4, {})) == ["big-0", "small-0", "tiny-0", "big-1"]
    assert ids(choose_next(waiting, [of("big", 9)], 3, {})) == ["small-0", "tiny-0"]
    assert choose_next(waiting, [of("big", 8), of("big", 9)], 2, {}) == []
    assert ids(choose_next([*waiting[:2], of("small", 0)], [of("small", 9)], 3, {})) == ["big-0", "big-1"]
    assert choose_next([], [], 2, {}) == []


def test_among_equals_the_project_with_the_fewest_bytes_goes_first() -> None:
    waiting = [of("a", 0), of("b", 0), of("c", 0)]
    assert ids(choose_next(waiting, [], 3, {"a": 2.0, "b": 1.0})) == ["c-0", "b-0", "a-0"]
    assert ids(choose_next(waiting, [of("c", 9)], 3, {"a": 2.0, "b": 1.0})) == ["b-0", "a-0"]
    assert ids(choose_next(waiting, [], 1, {"c": 1.0})) == ["a-0"]


def test_a_project_never_has_all_workers() -> None:
    waiting = [of("a", number) for number in range(5)]
    assert [len(choose_next(waiting, [], workers, {})) for workers in (1, 2, 3, 4)] == [1, 1, 2, 3]
    assert choose_next(waiting, [of("a", 9)], 2, {}) == []
    assert ids(choose_next([*waiting, of("b", 0)], [of("a", 9)], 2, {})) == ["b-0"]


def ids(uploads: list[Upload]) -> list[str]:
    return [each.id for each in uploads]


projects = st.sampled_from("abc")


@many
@given(
    st.lists(projects, max_size=12),
    st.lists(projects, max_size=4),
    st.integers(1, 6),
    st.dictionaries(projects, st.floats(0, 9)),
)
def test_each_waiting_project_gets_a_turn_first(
    waiting: list[str], running: list[str], workers: int, lately: dict[str, float]
) -> None:
    due = [of(project, number) for number, project in enumerate(waiting)]
    chosen = choose_next(due, [of(project, 100 + number) for number, project in enumerate(running)], workers, lately)
    assert len(set(ids(chosen))) == len(chosen) <= max(0, workers - len(running))
    shares = Counter(running) + Counter(each.owner.project_id for each in chosen)
    left = {each.owner.project_id for each in due if each not in chosen}
    for other in {each.owner.project_id for each in chosen}:
        assert shares[other] <= max(1, workers - 1)
        for project in left:
            assert shares[other] <= shares[project] + 1
    if shares.total() < workers:  # a worker is free: what waits is of projects that have their share
        assert all(shares[project] >= max(1, workers - 1) for project in left)
    for project in "abc":
        mine = [each for each in chosen if each.owner.project_id == project]
        assert mine == [each for each in due if each.owner.project_id == project][: len(mine)]


@many
@given(
    st.lists(st.tuples(projects, st.integers(1, 100)), min_size=1, max_size=30),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_no_project_waits_for_more_than_an_image_of_each_other_one(
    images: list[tuple[str, int]], workers: int, chance: random.Random
) -> None:
    """While a project waits without a turn, another one gets at most the bytes that it was behind, and images."""
    waiting = [dataclasses.replace(of(project, number), size=size) for number, (project, size) in enumerate(images)]
    largest = max(size for _, size in images)
    running: list[Upload] = []
    lately: Counter[str] = Counter()
    behind: dict[tuple[str, str], int] = {}  # bytes, of another project and of one that waits without a turn
    begun: Counter[tuple[str, str]] = Counter()  # bytes of the other project since then
    while waiting or running:
        for upload in choose_next(waiting, running, workers, lately):
            waiting.remove(upload)
            running.append(upload)
            mine, size = upload.owner.project_id, upload.size or 0
            behind = {pair: lead for pair, lead in behind.items() if pair[1] != mine}
            for each in {each.owner.project_id for each in waiting} - {each.owner.project_id for each in running}:
                if (mine, each) not in behind:
                    behind[mine, each], begun[mine, each] = max(0, lately[each] - lately[mine]), 0
                begun[mine, each] += size
                assert begun[mine, each] <= behind[mine, each] + workers * largest
        done = chance.choice(running)
        running.remove(done)
        lately[done.owner.project_id] += done.size or 0
