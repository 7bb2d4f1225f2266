"""Request ids of log lines."""

from __future__ import annotations

import asyncio

import pytest

from resumable_glance.runtime import log


def test_each_task_has_its_own_request_id() -> None:
    async def handle(request_id: str) -> str:
        log.bind(request_id, "")
        await asyncio.sleep(0)
        return log.request_id()

    async def scenario() -> None:
        one, other = await asyncio.gather(handle("req-1"), handle("req-2"))
        assert (one, other) == ("req-1", "req-2")

    asyncio.run(scenario())
    assert log.request_id() == ""


@pytest.mark.parametrize("came", ["", "req-1", "req-" + "0" * 36 + "\n"])
def test_a_malformed_global_request_id_is_no_request_id(came: str) -> None:
    async def bound() -> str:
        log.bind("req-own", came)
        return log.request_id()

    assert asyncio.run(bound()) == "req-own"
