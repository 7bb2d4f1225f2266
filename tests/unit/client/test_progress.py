"""What a person sees of an upload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resumable_glance.client.progress import Lines, Phase, format_size
from tests import ROOT


def test_a_log_gets_few_lines_and_the_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin(Phase.UPLOADING, 1000, 0)
    for done in (*range(1001), 500):
        lines.update(done)
    written = capsys.readouterr().err.splitlines()
    assert len(written) == 2
    assert "(100 %)" in written[-1]


@pytest.mark.parametrize("vector", json.loads((ROOT / "tests" / "vectors" / "sizes.json").read_text()), ids=str)
def test_sizes_are_shown_as_the_page_shows_them(vector: dict[str, Any]) -> None:
    assert format_size(vector["bytes"]) == vector["text"]
