"""The table of what projects hold."""

from __future__ import annotations

from resumable_glance.cli.uploads import _by_project


def test_only_what_is_unfinished_counts_for_a_project() -> None:
    def listed(project: str, state: str, reserved: int, received: int) -> dict[str, object]:
        owner = {"project_id": project, "user_id": "anyone"}
        return {"state": state, "owner": owner, "reserved": reserved, "received": received}

    found = _by_project(
        [
            listed("a", "receiving", 100, 0),
            listed("b", "sealed", 70, 70),
            listed("a", "active", 0, 1000),
            listed("a", "joined", 0, 30),
            listed("b", "failed", 60, 60),
        ]
    )
    assert found == [
        {"project_id": "b", "uploads": 2, "reserved": 130, "received": 130},
        {"project_id": "a", "uploads": 1, "reserved": 100, "received": 0},
    ]
