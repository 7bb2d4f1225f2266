"""Answers to load balancers."""

from __future__ import annotations

from pathlib import Path

import requests

from tests.support.service import development


def test_a_healthy_service_is_alive_and_ready(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        alive = requests.get(f"{service.url}/healthcheck", timeout=10)
        assert (alive.status_code, alive.text, alive.headers["Cache-Control"]) == (200, "OK", "no-store")
        assert requests.head(f"{service.url}/healthcheck", timeout=10).status_code == 200
        ready = requests.get(f"{service.url}/healthcheck/ready", timeout=10)
        assert ready.status_code == 200
        parts = dict.fromkeys(["scratch", "space", "catalog", "identity", "images"], "ok")
        assert ready.json() == {"ready": True, "parts": parts}


def test_a_wrong_method_of_health_lists_the_right_ones(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        for path in ("/healthcheck", "/healthcheck/ready"):
            refused = requests.options(service.url + path, timeout=10)
            assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_a_service_without_storage_is_alive_and_not_ready(tmp_path: Path) -> None:
    with development(tmp_path) as service:
        (tmp_path / "scratch").rename(tmp_path / "unmounted")
        assert requests.get(f"{service.url}/healthcheck", timeout=10).status_code == 200
        ready = requests.get(f"{service.url}/healthcheck/ready", timeout=10)
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        assert ready.json()["parts"]["scratch"] == "is not well"
        assert str(tmp_path) not in ready.text
        assert "Error" not in ready.text
