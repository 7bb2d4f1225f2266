"""Locks on ranges of uploads: who waits for whom, and who is interrupted."""

from __future__ import annotations

import asyncio

import pytest

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.ranges import Range
from resumable_glance.uploads.write_locks import WriteLocks
from tests.fakes.memory_body import body_of
from tests.unit.uploads.test_chunk_writer import ID, refused, run, soon


def reason_of(body: object) -> Reason | None:
    """Why a body was interrupted."""
    try:
        body.check()  # type: ignore[attr-defined]
    except Refused as refusal:
        return refusal.reason
    return None


def test_an_upload_is_held_while_a_range_of_it_is_locked() -> None:
    async def scenario() -> None:
        locks = WriteLocks()
        async with locks.hold(ID, Range(0, 10), body_of()):
            async with locks.hold(ID, Range(10, 20), body_of()):
                assert locks.held(ID)
                assert not locks.held("another")
            assert locks.held(ID)
        assert not locks.held(ID)

    run(scenario())


def test_a_takeover_waits_for_the_end_of_the_older_request() -> None:
    async def scenario() -> None:
        locks, steps, interrupted = WriteLocks(), list[str](), asyncio.Event()
        may_stop = asyncio.Event()

        async def older() -> None:
            body = body_of(silent=True)
            async with locks.hold(ID, Range(0, 10), body):
                with refused(Reason.SUPERSEDED):
                    await body.is_empty()
                interrupted.set()
                await may_stop.wait()  # it still commits what came
                steps.append("older has stopped")

        async def newer() -> None:
            async with locks.hold(ID, Range(9, 20), body_of()):
                steps.append("newer begins")

        tasks = [asyncio.create_task(older())]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(newer()))
        await soon(interrupted.wait())
        assert steps == []
        may_stop.set()
        await soon(asyncio.gather(*tasks))
        assert steps == ["older has stopped", "newer begins"]

    run(scenario())


def test_an_eviction_interrupts_the_writers_of_one_upload_only() -> None:
    async def scenario() -> None:
        locks, mine, other = WriteLocks(), body_of(), body_of()
        async with locks.hold("mine", Range(0, 10), mine), locks.hold("other", Range(0, 10), other):
            locks.evict_nowait(Reason.UNSAFE_IMAGE, "mine")
            await soon(locks.evict(Reason.CANCELLED, "nobody's"))
        assert (reason_of(mine), reason_of(other)) == (Reason.UNSAFE_IMAGE, None)

    run(scenario())


def test_a_stop_evicts_all_writers_and_grants_no_lock() -> None:
    async def scenario() -> None:
        locks, body = WriteLocks(), body_of(silent=True)
        locks.check_open()

        async def write() -> None:
            async with locks.hold(ID, Range(0, 10), body):
                await body.is_empty()

        writing = asyncio.create_task(write())
        await asyncio.sleep(0)
        await soon(locks.close())
        with refused(Reason.CLOSING):
            await writing
        with refused(Reason.CLOSING):
            locks.check_open()
        with refused(Reason.CLOSING):
            await locks.hold(ID, Range(0, 10), body_of()).__aenter__()
        assert not locks.held(ID)

    run(scenario())


def test_an_eviction_has_a_retry_after() -> None:
    async def scenario() -> None:
        facts = {}
        for reason in (Reason.SUPERSEDED, Reason.CLOSING, Reason.CANCELLED, Reason.EXPIRED):
            locks, body = WriteLocks(), body_of()
            async with locks.hold(ID, Range(0, 10), body):
                locks.evict_nowait(reason, ID)
            with pytest.raises(Refused) as refusal:
                body.check()
            facts[reason] = refusal.value.facts
        assert facts == {
            Reason.SUPERSEDED: {"retry_after": 1}, Reason.CLOSING: {"retry_after": 1},
            Reason.CANCELLED: {}, Reason.EXPIRED: {},
        }  # fmt: skip

    run(scenario())


def test_a_cancelled_wait_for_a_lock_blocks_nothing() -> None:
    async def scenario() -> None:
        locks = WriteLocks()

        async def take() -> None:
            async with locks.hold(ID, Range(0, 10), body_of()):
                pytest.fail("the older one has not stopped yet")

        async with locks.hold(ID, Range(0, 10), body_of()):
            waiting = asyncio.create_task(take())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with asyncio.timeout(0.1), locks.hold(ID, Range(0, 10), body_of()):
            pass
        assert not locks.held(ID)

    run(scenario())
