"""The documentation names tests as proof: each of them exists, and each row of a conformance table names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
_TEST = re.compile(r"`(test_\w+)`")
_CONFORMANCE = re.compile(r"^## Conformance$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all tests."""
    files = (ROOT / "tests").glob("test_*.py")
    return {name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.M)}


def rows(text: str) -> list[str]:
    """The rows of conformance tables, without head and rule."""
    lines = [line for part in _CONFORMANCE.findall(text) for line in part.splitlines() if line.startswith("|")]
    return [line for line in lines[2:] if not re.fullmatch(r"[|\s:-]+", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_the_documentation_names_exists(page: Path, tests: set[str]) -> None:
    assert set(_TEST.findall(page.read_text())) - tests == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_a_conformance_table_names_its_proof_last(page: Path) -> None:
    assert [row for row in rows(page.read_text()) if not _TEST.search(row.rstrip("| ").rpartition("|")[2])] == []


def test_there_are_conformance_tables() -> None:
    assert len(rows((ROOT / "docs" / "ietf.md").read_text())) > 30
