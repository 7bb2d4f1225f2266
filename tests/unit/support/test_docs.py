"""The documentation names tests as proof: each of them exists, and each row of a conformance table names one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
_TEST = re.compile(r"`(?:test_\w+\.py::)?(test_\w+)`")
_IN_A_FILE = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
_CONFORMANCE = re.compile(r"^## Conformance$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all tests."""
    files = (ROOT / "tests").glob("test_*.py")
    return {name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.M)}


@pytest.fixture(scope="module")
def tests_of_files() -> dict[str, set[str]]:
    """The names of the tests of each file."""
    return {
        file.name: {each.name for each in ast.parse(file.read_text()).body if isinstance(each, ast.FunctionDef)}
        for file in (ROOT / "tests").glob("test_*.py")
    }


def rows(text: str) -> list[str]:
    """The rows of conformance tables, without head and rule."""
    lines = [line for part in _CONFORMANCE.findall(text) for line in part.splitlines() if line.startswith("|")]
    return [line for line in lines[2:] if not re.fullmatch(r"[|\s:-]+", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_the_documentation_names_exists(page: Path, tests: set[str]) -> None:
    assert set(_TEST.findall(page.read_text())) - tests == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_with_its_file_is_there(page: Path, tests_of_files: dict[str, set[str]]) -> None:
    named = _IN_A_FILE.findall(page.read_text())
    assert [(file, name) for file, name in named if name not in tests_of_files.get(file, ())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_a_conformance_table_names_its_proof_last(page: Path) -> None:
    assert [row for row in rows(page.read_text()) if not _TEST.search(row.rstrip("| ").rpartition("|")[2])] == []


@pytest.mark.parametrize("page", ["rufh", "tus", "native-protocol"])
def test_there_are_conformance_tables(page: str) -> None:
    assert len(rows((ROOT / "docs" / f"{page}.md").read_text())) > 30
