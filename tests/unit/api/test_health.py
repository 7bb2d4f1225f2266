"""Reports of health."""

from __future__ import annotations

import asyncio

from resumable_glance.api import health
from resumable_glance.api.health import Health


def test_parts_are_asked_seldom_and_a_hanging_one_is_skipped() -> None:
    asked: list[str] = []
    now = [0.0]

    async def well() -> None:
        asked.append("well")

    async def hanging() -> None:
        asked.append("hanging")
        await asyncio.Event().wait()

    async def scenario() -> None:
        parts = {"well": well, "hanging": hanging}
        made = Health(parts, lambda: now[0])
        reports = await asyncio.gather(*(made.report() for _ in range(5)))
        assert all(each == {"well": "", "hanging": "does not answer"} for each in reports)
        assert sorted(asked) == ["hanging", "well"]
        now[0] += health.REPORT_TTL
        assert await made.report() == {"well": "", "hanging": "does not answer"}
        assert sorted(asked) == ["hanging", "well", "well"]  # who owes an answer is not asked again

    health.CHECK_TIMEOUT, patience = 0.05, health.CHECK_TIMEOUT
    try:
        asyncio.run(scenario())
    finally:
        health.CHECK_TIMEOUT = patience
