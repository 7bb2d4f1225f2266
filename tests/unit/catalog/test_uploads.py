"""Records of uploads: each method is one transaction, in any sequence."""

import asyncio
import contextlib
import dataclasses
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.catalog import Catalog
from resumable_glance.catalog.orphans import OrphanedImage
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.model.digests import LENGTHS, Digest
from resumable_glance.model.ranges import Range, merge
from resumable_glance.model.states import (
    ENDED,
    HOLDING_STORAGE,
    TRANSITIONS,
    WITH_HANDOFF,
    Event,
    IllegalTransition,
    State,
)
from resumable_glance.model.upload import (
    Delivery,
    Extent,
    FailureReason,
    Format,
    Image,
    InspectionState,
    LastError,
    Owner,
    Proof,
    Upload,
    Verified,
    require,
)
from tests.support.records import ALICE, BOB, credential, extent, upload, wait


def address(directory: Path) -> str:
    return f"sqlite:///{directory / 'catalog' / 'catalog.sqlite'}"


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    made = upload()
    with contextlib.closing(Catalog(Transactions(address(tmp_path)))) as catalog:
        wait(catalog.uploads.add(made, credential("closed")))
        grown = wait(catalog.uploads.commit(made.id, [extent(0, 10)], 1001.0, 2001.0))
    with contextlib.closing(Catalog(Transactions(address(tmp_path)))) as catalog:
        assert wait(catalog.uploads.get(made.id)) == grown
        assert wait(catalog.uploads.credential(made.id)) == credential("closed")
        assert wait(catalog.uploads.extents(made.id)) == [extent(0, 10)]


def test_an_upload_is_given_back_as_it_was_added(catalog: Catalog) -> None:
    made = upload(
        image=Image("11111111-2222-3333-4444-555555555555", "Débian ☃", "fast", adopted=True),
        size=2**53 - 1,
        declared=(Digest("md5", bytes(range(16))), Digest("sha512", bytes(64))),
        metadata="filename ZGViaWFuLnFjb3cy, property.x",
        delivery=Delivery(
            attempts=3,
            next_attempt_at=1_700_000_000.123456,
            last_error=LastError(FailureReason.IMAGE_SERVICE_UNAVAILABLE, "Later."),
            proof=Proof("5" * 32, "a" * 128),
            verified=Verified(1_700_000_001.5, 100, "5" * 32, "a" * 128, "req-1"),
            suspicion=2,
            stuck_at=7.5,
            successor="22222222-2222-3333-4444-555555555555",
        ),
        state=State.DELIVERING,
        offset=2**53 - 1,
        received=2**53 - 1,
    )
    wait(catalog.uploads.add(made, None))
    assert wait(catalog.uploads.get(made.id)) == made


@pytest.mark.parametrize("metadata", [None, "", "x" * 4096, " name  YQ==,caption\u00e9"])
def test_a_clients_metadata_is_kept_as_it_was_written(catalog: Catalog, metadata: str | None) -> None:
    made = upload(metadata=metadata)
    wait(catalog.uploads.add(made, None))
    grown = wait(catalog.uploads.commit(made.id, [extent(0, 10)], 1001.0, 2001.0))
    assert grown.metadata == metadata
    assert [each.metadata for each in wait(catalog.uploads.page(ALICE, 10, None))] == [metadata]


def test_a_digest_of_any_algorithm_can_be_that_of_an_extent(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None))
    extents = [
        Extent(Range(number, number + 1), Digest(name, bytes(length)))
        for number, (name, length) in enumerate(LENGTHS.items())
    ]
    wait(catalog.uploads.commit(made.id, extents, 1001.0, 2001.0))
    assert wait(catalog.uploads.extents(made.id)) == extents


def test_an_upload_that_is_not_there_is_none(catalog: Catalog) -> None:
    assert wait(catalog.uploads.get("a-" + "f" * 32)) is None
    assert wait(catalog.uploads.credential("a-" + "f" * 32)) is None
    assert wait(catalog.uploads.extents("a-" + "f" * 32)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda catalog: catalog.uploads.commit("a-0", [extent(0, 1)], 1.0, 2.0),
        lambda catalog: catalog.uploads.transition("a-0", Event.CANCELLED, 1.0),
        lambda catalog: catalog.uploads.update("a-0", proof=Proof("5" * 32, "a" * 128)),
    ],
)
def test_an_upload_that_is_not_there_cannot_be_changed(
    catalog: Catalog, change: Callable[[Catalog], Awaitable[object]]
) -> None:
    with pytest.raises(LookupError):
        wait(change(catalog))


def test_an_upload_is_added_once(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None))
    with pytest.raises(sa.exc.IntegrityError):
        wait(catalog.uploads.add(made, None))


# Extents


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, list[list[Range]]]:
    """A size, and its bytes cut into ranges that are committed in any order, some of them together."""
    size = draw(st.integers(1, 60))
    cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=10))) if size > 1 else []
    ranges = draw(st.permutations([Range(*each) for each in itertools.pairwise([0, *cuts, size])]))
    batches: list[list[Range]] = []
    for each in ranges:
        together: bool = draw(st.booleans())
        if batches and together:
            batches[-1].append(each)
        else:
            batches.append([each])
    return size, batches


@pytest.fixture(scope="module")
def shared_catalog() -> Iterator[Catalog]:
    """For Hypothesis, which runs one test many times."""
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.closing(Catalog(Transactions(address(Path(directory))))) as opened,
    ):
        yield opened


@settings(deadline=None, max_examples=60)
@given(plans())
def test_extents_in_any_order_make_the_offset_and_seal(
    shared_catalog: Catalog, plan: tuple[int, list[list[Range]]]
) -> None:
    size, batches = plan
    made = upload(size=size)

    async def scenario() -> None:
        await shared_catalog.uploads.add(made, None)
        seen: list[Range] = []
        before = 0
        for turn, batch in enumerate(batches):
            new = [extent(*each) for each in batch]
            grown = await shared_catalog.uploads.commit(made.id, new, 1001.0 + turn, 2001.0 + turn)
            seen += batch
            joined = list(merge(seen))
            assert grown.received == sum(each.length for each in seen)
            assert grown.offset == (joined[0].stop if joined[0].start == 0 else 0)
            assert grown.offset >= before
            assert grown.state is (State.SEALED if grown.received == size else State.RECEIVING)
            assert (grown.updated_at, grown.expires_at) == (1001.0 + turn, 2001.0 + turn)
            assert await shared_catalog.uploads.get(made.id) == grown
            assert [each.range for each in await shared_catalog.uploads.extents(made.id)] == sorted(seen)
            assert await shared_catalog.uploads.get_with_ranges(made.id, 99) == (grown, joined)
            assert await shared_catalog.uploads.get_with_ranges(made.id, 1) == (grown, joined[:1])
            before = grown.offset
        assert grown.state is State.SEALED
        assert grown.offset == grown.received == size

    asyncio.run(scenario())


def test_an_upload_comes_with_its_extents_in_a_range(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None))
    grown = wait(catalog.uploads.commit(made.id, [extent(0, 10), extent(20, 30)], 1001.0, 2001.0))
    assert wait(catalog.uploads.get_with_extents(made.id, Range(15, 25))) == (grown, [extent(20, 30)])
    assert wait(catalog.uploads.get_with_extents("a-" + "f" * 32, Range(15, 25))) == (None, [])


def test_a_found_format_is_recorded_with_the_bytes(catalog: Catalog) -> None:
    made, found = upload(format=Format("raw")), Format("raw", "raw", 100, InspectionState.FINAL)
    wait(catalog.uploads.add(made, None))
    assert wait(catalog.uploads.commit(made.id, [extent(0, 10)], 1001.0, 2001.0)).format == Format("raw")
    assert wait(catalog.uploads.commit(made.id, [extent(10, 20)], 1001.0, 2001.0, format=found)).format == found
    assert wait(catalog.uploads.commit(made.id, [extent(20, 30)], 1001.0, 2001.0)).format == found
    assert require(wait(catalog.uploads.get(made.id))).format == found


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 19), min_size=1), st.integers(0, 19), st.integers(1, 20))
def test_extents_within_a_range_share_a_byte_with_it(
    shared_catalog: Catalog, tens: set[int], start: int, length: int
) -> None:
    made, within = upload(size=1000), Range(start * 5, (start + length) * 5)
    all_of_them = [extent(each * 10, each * 10 + 10) for each in sorted(tens)]

    async def scenario() -> list[Extent]:
        await shared_catalog.uploads.add(made, None)
        await shared_catalog.uploads.commit(made.id, all_of_them, 1001.0, 2001.0)
        return await shared_catalog.uploads.extents(made.id, within)

    assert asyncio.run(scenario()) == [each for each in all_of_them if each.range.overlaps(within)]


@pytest.mark.parametrize(
    "ask",
    [lambda catalog: catalog.uploads.usage(ALICE.project_id), lambda catalog: catalog.uploads.promised()],
    ids=["usage", "promised"],
)
def test_the_queries_of_a_creation_use_indices(catalog: Catalog, ask: Callable[[Catalog], Awaitable[object]]) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    wait(ask(catalog))
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
    selects = [each for each in asked if each[0].startswith("SELECT")]

    def plans(connection: sa.Connection) -> list[str]:
        explained = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values) for text, values in selects]
        return [str(row[-1]) for each in explained for row in each]

    steps = wait(catalog.transactions.write(plans))
    assert steps
    assert [each for each in steps if "COVERING INDEX" not in each] == []


@pytest.mark.parametrize("state", sorted(set(State) - {State.RECEIVING}))
def test_an_upload_that_is_not_receiving_does_not_grow(catalog: Catalog, state: State) -> None:
    made = upload(state=state)
    wait(catalog.uploads.add(made, None))
    with pytest.raises(IllegalTransition):
        wait(catalog.uploads.commit(made.id, [extent(0, 10)], 1001.0, 2001.0))
    assert wait(catalog.uploads.get(made.id)) == made
    assert wait(catalog.uploads.extents(made.id)) == []


def test_an_extent_with_a_taken_start_is_refused(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None))
    grown = wait(catalog.uploads.commit(made.id, [extent(0, 10)], 1001.0, 2001.0))
    with pytest.raises(sa.exc.IntegrityError):
        wait(catalog.uploads.commit(made.id, [extent(20, 30), extent(0, 5)], 1002.0, 2002.0))
    assert wait(catalog.uploads.get(made.id)) == grown
    assert wait(catalog.uploads.extents(made.id)) == [extent(0, 10)]


def test_extents_belong_to_one_upload(catalog: Catalog) -> None:
    one, other = upload(), upload()
    wait(catalog.uploads.add(one, None))
    wait(catalog.uploads.add(other, None))
    wait(catalog.uploads.commit(one.id, [extent(10, 20)], 1001.0, 2001.0))
    assert wait(catalog.uploads.commit(other.id, [extent(0, 10)], 1001.0, 2001.0)).offset == 10
    assert wait(catalog.uploads.extents(other.id)) == [extent(0, 10)]
    assert wait(catalog.uploads.extents(other.id, Range(5, 15))) == [extent(0, 10)]
    wait(catalog.uploads.commit(other.id, [extent(10, 40)], 1001.0, 2001.0))
    wait(catalog.uploads.commit(one.id, [extent(20, 30)], 1001.0, 2001.0))
    assert wait(catalog.uploads.extents(other.id, Range(25, 26))) == [extent(10, 40)]


# Events


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_transitions_follow_the_table(catalog: Catalog, state: State, event: Event) -> None:
    made = upload(state=state)
    wait(catalog.uploads.add(made, credential("closed")))
    if (state, event) in TRANSITIONS:
        after = wait(
            catalog.uploads.transition(
                made.id, event, 1234.0, attempts=7, last_error=LastError(FailureReason.IMAGE_BUSY, "Detail.")
            )
        )
        assert after.state is TRANSITIONS[state, event]
        assert (after.updated_at, after.delivery.attempts, after.delivery.last_error) == (
            1234.0,
            7,
            LastError(FailureReason.IMAGE_BUSY, "Detail."),
        )
        assert wait(catalog.uploads.get(made.id)) == after
    else:
        with pytest.raises(IllegalTransition):
            wait(catalog.uploads.transition(made.id, event, 1234.0, attempts=7))
        after = made
        assert wait(catalog.uploads.get(made.id)) == made
    kept = after is made or after.state not in {
        *ENDED,
        State.JOINED,
    }  # once it has ended, nobody acts on the owner's behalf any more
    assert wait(catalog.uploads.credential(made.id)) == (credential("closed") if kept else None)


def test_an_upload_that_ends_tells_when_it_did(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None))
    assert wait(catalog.uploads.end(made.id, Event.CANCELLED, 1234.0))
    assert wait(catalog.uploads.get(made.id)) == dataclasses.replace(made, state=State.CANCELLED, updated_at=1234.0)


def test_a_joined_upload_keeps_its_own_credential(catalog: Catalog) -> None:
    part = upload(image=None, size=0)
    whole = upload(size=0, state=State.SEALED, parts=(part.id,))
    wait(catalog.uploads.add(part, credential("of the part")))
    wait(catalog.uploads.join(whole, credential("of the whole")))
    assert wait(catalog.uploads.credential(whole.id)) == credential("of the whole")


def left(catalog: Catalog) -> list[str]:
    """The images that are to be removed by 1500."""
    return sorted(each.image.id for each in wait(catalog.orphans.due(1500.0)))


@pytest.mark.parametrize("state", [each for each in State if each is not State.RECEIVING])
def test_a_sealed_upload_takes_no_new_declaration(catalog: Catalog, state: State) -> None:
    made = upload(state=state, size=10, declared=(Digest("md5", bytes(16)),))
    wait(catalog.uploads.add(made, None))
    with pytest.raises(IllegalTransition):
        wait(catalog.uploads.declare(made.id, 10, (Digest("sha512", bytes(64)),)))
    assert wait(catalog.uploads.declare(made.id, 10, made.declared)) == made
    assert wait(catalog.uploads.get(made.id)) == made


def test_a_successor_replaces_an_image_and_resets_the_delivery(catalog: Catalog) -> None:
    old, new = Image("old", replaced=("oldest",)), Image("new")
    made = upload(state=State.DELIVERING, image=old, delivery=Delivery(successor="new", suspicion=2, stuck_at=900.0))
    wait(catalog.uploads.add(made, None))
    with pytest.raises(LookupError):
        wait(catalog.uploads.replace_image(made.id, Image("another"), 1234.0))
    assert left(catalog) == []
    replaced = wait(catalog.uploads.replace_image(made.id, new, 1234.0))
    assert (
        replaced
        == wait(catalog.uploads.get(made.id))
        == dataclasses.replace(
            made, image=Image("new", replaced=("oldest", "old")), updated_at=1234.0, delivery=Delivery()
        )
    )
    assert left(catalog) == ["old"]


def test_a_resolved_error_is_cleared(catalog: Catalog) -> None:
    made = upload(state=State.SEALED, delivery=Delivery(last_error=LastError(FailureReason.IMAGE_BUSY, "Detail.")))
    wait(catalog.uploads.add(made, None))
    assert wait(catalog.uploads.transition(made.id, Event.STARTED, 1001.0, last_error=None)).delivery.last_error is None
    after = wait(catalog.uploads.get(made.id))
    assert after is not None
    assert after.delivery.last_error is None


def test_a_proof_is_kept_and_moves_nothing(catalog: Catalog) -> None:
    made = upload(state=State.DELIVERING)
    wait(catalog.uploads.add(made, None))
    proven = wait(catalog.uploads.update(made.id, proof=Proof("5" * 32, "a" * 128)))
    assert proven == wait(catalog.uploads.get(made.id)) == made.with_delivery(proof=Proof("5" * 32, "a" * 128))


def test_a_fresher_credential_replaces_the_old_one(catalog: Catalog) -> None:
    made, other = upload(), upload()
    wait(catalog.uploads.add(made, credential("old")))
    wait(catalog.uploads.add(other, credential("other")))
    wait(catalog.uploads.set_credential(made.id, credential("new"), due=1500.0, waits_until=5000.0))
    assert wait(catalog.uploads.credential(made.id)) == credential("new")
    assert wait(catalog.uploads.credential(other.id)) == credential("other")
    assert wait(catalog.uploads.get(made.id)) == made.with_delivery(next_attempt_at=1500.0)


def test_without_a_fresher_credential_the_old_one_stays(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, credential("old")))
    wait(catalog.uploads.set_credential(made.id, None, due=1500.0, waits_until=5000.0))
    assert wait(catalog.uploads.credential(made.id)) == credential("old")
    assert wait(catalog.uploads.get(made.id)) == made.with_delivery(next_attempt_at=1500.0)


def test_each_revocation_is_a_generation_of_that_upload(catalog: Catalog) -> None:
    made, other = upload(), upload()
    for each in (made, other):
        wait(catalog.uploads.add(each, None))
    wait(catalog.uploads.revoke_tickets(made.id))
    wait(catalog.uploads.revoke_tickets(made.id))
    assert wait(catalog.uploads.get(made.id)) == dataclasses.replace(made, generation=2)
    assert wait(catalog.uploads.get(other.id)) == other


@pytest.mark.parametrize("state", State)
def test_an_ended_upload_keeps_no_credential(catalog: Catalog, state: State) -> None:
    made = upload(state=state)
    wait(catalog.uploads.add(made, None))
    wait(catalog.uploads.set_credential(made.id, credential("new"), due=1500.0, waits_until=5000.0))
    assert wait(catalog.uploads.credential(made.id)) == (None if state in ENDED else credential("new"))


# Questions


def test_an_owners_uploads_are_listed_newest_first_in_pages(catalog: Catalog) -> None:
    # Some were made at the same moment; their ids do not tell which is newer.
    mine = [upload(created_at=float((6 - each) // 2)) for each in range(7)]
    theirs = [upload(owner=BOB), upload(owner=Owner("other", "alice"))]
    for each in [*theirs, *(mine[at] for at in (6, 5, 3, 4, 1, 2, 0))]:  # in whatever order the database has them
        wait(catalog.uploads.add(each, None))
    newest_first = sorted(mine, key=lambda each: (each.created_at, each.id), reverse=True)
    assert wait(catalog.uploads.page(ALICE, 100, None)) == newest_first
    for limit in (1, 2, 3, 7):
        pages: list[Upload] = []
        marker = None
        while page := wait(catalog.uploads.page(ALICE, limit, marker)):
            assert len(page) <= limit
            pages += page
            marker = page[-1].id
        assert pages == newest_first


def test_after_a_marker_that_does_not_exist_there_is_nothing(catalog: Catalog) -> None:
    wait(catalog.uploads.add(upload(), None))
    assert wait(catalog.uploads.page(ALICE, 10, "a-" + "f" * 32)) == []


def test_a_limit_of_none_lists_none(catalog: Catalog) -> None:
    wait(catalog.uploads.add(upload(), None))
    assert wait(catalog.uploads.page(ALICE, 0, None)) == []


def test_the_handoff_gets_sealed_uploads_in_turn(catalog: Catalog) -> None:
    for turn, state in enumerate(State):
        wait(catalog.uploads.add(upload(state=state, delivery=Delivery(next_attempt_at=100.0 - turn)), None))
    found = wait(catalog.uploads.with_handoff())
    assert {each.state for each in found} == WITH_HANDOFF
    assert [each.delivery.next_attempt_at for each in found] == sorted(each.delivery.next_attempt_at for each in found)


def test_reserved_space_is_that_of_receiving_uploads(catalog: Catalog) -> None:
    assert wait(catalog.uploads.promised()) == 0
    made = upload(size=100)
    wait(catalog.uploads.add(made, None))
    wait(catalog.uploads.add(upload(size=50), None))
    assert wait(catalog.uploads.promised()) == 150
    wait(catalog.uploads.commit(made.id, [extent(10, 40)], 1001.0, 2001.0))
    assert wait(catalog.uploads.promised()) == 120
    for state in set(State) - {State.RECEIVING}:
        wait(catalog.uploads.add(upload(size=1000, state=state), None))
    assert wait(catalog.uploads.promised()) == 120


def test_a_receiving_upload_expires_at_its_time(catalog: Catalog) -> None:
    made = upload(expires_at=2000.0)
    wait(catalog.uploads.add(made, None))
    for state in set(State) - {State.RECEIVING, State.FAILED}:
        wait(catalog.uploads.add(upload(state=state, expires_at=2000.0), None))
    assert wait(catalog.uploads.expired(1999.9)) == []
    assert wait(catalog.uploads.expired(2000.0)) == [made]


def test_what_waits_for_its_owner_expires_at_its_time(catalog: Catalog) -> None:
    waits = Delivery(last_error=LastError(FailureReason.TOKEN_EXPIRED, "A sentence."))
    made = {state: upload(state=state, expires_at=2000.0, delivery=waits) for state in State}
    for each in made.values():
        wait(catalog.uploads.add(each, None))
    late = wait(catalog.uploads.expired(2000.0))
    assert {each.state for each in late} == HOLDING_STORAGE
    assert wait(catalog.uploads.expired(1999.9)) == []
    wait(catalog.uploads.transition(made[State.SEALED].id, Event.STARTED, 1999.0, last_error=None))
    assert not wait(catalog.uploads.end(made[State.SEALED].id, Event.EXPIRED, 2000.0)), "it is being delivered"
    assert wait(catalog.uploads.end(made[State.FAILED].id, Event.EXPIRED, 2000.0))


def test_the_last_byte_begins_the_time_of_waiting(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None))
    grown = wait(catalog.uploads.commit(made.id, [extent(0, 10)], 1001.0, 2001.0, waits_until=3000.0))
    assert grown.expires_at == 2001.0
    grown = wait(catalog.uploads.commit(made.id, [extent(10, 100)], 1002.0, 2002.0, waits_until=3000.0))
    assert (grown.state, grown.expires_at) == (State.SEALED, 3000.0)


def test_credentials_are_erased_wherever_they_are(catalog: Catalog) -> None:
    made, fresh = upload(), upload()
    wait(catalog.uploads.add(made, credential("old", 1000.0)))
    wait(catalog.uploads.add(fresh, credential("new", 1001.0)))
    orphan = OrphanedImage(Image("image-1"), ALICE, credential("old", 1000.0))
    wait(catalog.orphans.expect(orphan, 1.0, 1.0))
    wait(catalog.credentials.erase_expired(1000.0))
    assert wait(catalog.uploads.credential(made.id)) == credential("old", 1000.0)
    wait(catalog.credentials.erase_expired(1000.5))
    assert wait(catalog.uploads.credential(made.id)) is None
    assert [each.credential for each in wait(catalog.orphans.due(2.0))] == [None]
    wait(catalog.credentials.erase(credential("another")))
    assert wait(catalog.uploads.credential(fresh.id)) == credential("new", 1001.0)
    wait(catalog.credentials.erase(credential("new")))
    assert wait(catalog.uploads.credential(fresh.id)) is None


def test_a_chunk_that_comes_in_time_puts_the_end_off(catalog: Catalog) -> None:
    made = upload(expires_at=2000.0)
    wait(catalog.uploads.add(made, None))
    wait(catalog.uploads.commit(made.id, [extent(0, 1)], 1999.0, 3000.0))
    assert wait(catalog.uploads.expired(2500.0)) == []


def test_only_ended_uploads_are_forgotten_and_in_time(catalog: Catalog) -> None:
    made = {state: upload(state=state, updated_at=1000.0) for state in State}
    for each in made.values():
        wait(catalog.uploads.add(each, credential("closed")))
    assert wait(catalog.uploads.purge(1000.0)) == 0
    assert wait(catalog.uploads.purge(1000.1)) == 3
    left = {state for state, each in made.items() if wait(catalog.uploads.get(each.id)) is not None}
    assert left == set(State) - {State.ACTIVE, State.CANCELLED, State.EXPIRED}


def test_a_reservation_without_a_size_never_shrinks(catalog: Catalog) -> None:
    made = upload(size=None)
    wait(catalog.uploads.add(made, None))
    wait(catalog.uploads.add(upload(size=None), None))
    for stop, promised in ((70, 70), (30, 70), (71, 71)):
        wait(catalog.uploads.reserve(made.id, stop))
        assert wait(catalog.uploads.promised()) == promised


def test_a_forgotten_uploads_extents_are_forgotten_too(catalog: Catalog) -> None:
    made = upload()
    wait(catalog.uploads.add(made, None))
    wait(catalog.uploads.commit(made.id, [extent(0, 10)], 1001.0, 2001.0))
    wait(catalog.uploads.transition(made.id, Event.CANCELLED, 1002.0))
    assert wait(catalog.uploads.purge(2000.0)) == 1
    assert wait(catalog.uploads.extents(made.id)) == []
