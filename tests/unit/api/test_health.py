"""What load balancers are told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import requests

from resumable_glance.api import health
from resumable_glance.api.health import Health
from tests.support.service import development


def test_a_service_that_is_well_is_alive_and_ready(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        alive = requests.get(f"{service.url}/healthcheck", timeout=10)
        assert (alive.status_code, alive.text, alive.headers["Cache-Control"]) == (200, "OK", "no-store")
        assert requests.head(f"{service.url}/healthcheck", timeout=10).status_code == 200
        ready = requests.get(f"{service.url}/healthcheck/ready", timeout=10)
        assert ready.status_code == 200
        parts = dict.fromkeys(["scratch", "space", "catalog", "identity", "images"], "ok")
        assert ready.json() == {"ready": True, "parts": parts}


def test_a_method_that_health_lacks_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        for path in ("/healthcheck", "/healthcheck/ready"):
            refused = requests.options(service.url + path, timeout=10)
            assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_a_service_without_scratch_is_alive_and_not_ready(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        (tmp_path / "scratch").rename(tmp_path / "unmounted")
        assert requests.get(f"{service.url}/healthcheck", timeout=10).status_code == 200
        ready = requests.get(f"{service.url}/healthcheck/ready", timeout=10)
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        assert ready.json()["parts"]["scratch"] == "is not well"
        assert str(tmp_path) not in ready.text
        assert "Error" not in ready.text


def test_parts_are_asked_seldom_and_a_hanging_one_is_not_waited_for() -> None:
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
        assert all(each.parts == {"well": "", "hanging": "does not answer"} for each in reports)
        assert not reports[0].ready
        assert sorted(asked) == ["hanging", "well"]
        now[0] += health.REPORT_TTL
        assert (await made.report()).parts == {"well": "", "hanging": "does not answer"}
        assert sorted(asked) == ["hanging", "well", "well"]  # who owes an answer is not asked again

    health.CHECK_TIMEOUT, patience = 0.05, health.CHECK_TIMEOUT
    try:
        asyncio.run(scenario())
    finally:
        health.CHECK_TIMEOUT = patience
