"""The documentation names tests as proof: each of them exists, and each row of a conformance table names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import ROOT

TESTS = ROOT / "tests"
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
_TEST = re.compile(r"`(?:([\w/]+\.py)::)?(test_\w+)`")
_FILE = re.compile(r"`(?:tests/)?((?:\w+/)+test_\w+\.py)`")
_CONFORMANCE = re.compile(r"^## Conformance$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture(scope="module")
def tests_of_files() -> dict[str, set[str]]:
    """The names of the tests of each file, by its path within tests/; of all files under an empty path."""
    found = {
        str(file.relative_to(TESTS)): set(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE))
        for file in TESTS.rglob("test_*.py")
    }
    return {**found, "": set().union(*found.values())}


def rows(text: str) -> list[str]:
    """The rows of conformance tables, without head and rule."""
    lines = [line for part in _CONFORMANCE.findall(text) for line in part.splitlines() if line.startswith("|")]
    return [line for line in lines[2:] if not re.fullmatch(r"[|\s:-]+", line)]


@each_page
def test_each_test_named_in_the_documentation_exists(page: Path, tests_of_files: dict[str, set[str]]) -> None:
    named = _TEST.findall(page.read_text())
    assert [(file, name) for file, name in named if name not in tests_of_files.get(file, ())] == []


@each_page
def test_each_test_file_named_in_the_documentation_exists(page: Path) -> None:
    assert [name for name in _FILE.findall(page.read_text()) if not (TESTS / name).exists()] == []


@each_page
def test_each_conformance_row_names_its_test_last(page: Path) -> None:
    assert [row for row in rows(page.read_text()) if not _TEST.search(row.rstrip("| ").rpartition("|")[2])] == []


@pytest.mark.parametrize("page", ["rufh", "tus", "native-protocol"])
def test_there_are_conformance_tables(page: str) -> None:
    assert len(rows((ROOT / "docs" / f"{page}.md").read_text())) > 30
