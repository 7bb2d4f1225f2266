"""The documentation names tests as proof: each of them exists, and each row of a conformance table names one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
_TEST = re.compile(r"`(?:([\w/]+\.py)::)?(test_\w+)`")  # with its file below tests/, or without
_CONFORMANCE = re.compile(r"^## Conformance$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tests() -> set[tuple[str, str]]:
    """All tests, each with its file and without."""
    found: set[tuple[str, str]] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        names = [each.name for each in ast.parse(file.read_text()).body if isinstance(each, ast.FunctionDef)]
        found |= {(path, name) for name in names for path in ("", str(file.relative_to(ROOT / "tests")))}
    return found


def rows(text: str) -> list[str]:
    """The rows of conformance tables, without head and rule."""
    lines = [line for part in _CONFORMANCE.findall(text) for line in part.splitlines() if line.startswith("|")]
    return [line for line in lines[2:] if not re.fullmatch(r"[|\s:-]+", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_named_test_exists(page: Path, tests: set[tuple[str, str]]) -> None:
    assert set(_TEST.findall(page.read_text())) - tests == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_conformance_row_names_its_proof_last(page: Path) -> None:
    assert [row for row in rows(page.read_text()) if not _TEST.search(row.rstrip("| ").rpartition("|")[2])] == []


@pytest.mark.parametrize("page", ["rufh", "tus", "native-protocol"])
def test_there_are_conformance_tables(page: str) -> None:
    assert len(rows((ROOT / "docs" / f"{page}.md").read_text())) > 30
