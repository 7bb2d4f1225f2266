"""The tests that js_client has of its own (js_client/test), in Node: the plan, what is on the wire, hashing, sizes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.javascript import PROJECT
from tests.support.node import linked

LONGEST = 300  # seconds


def test_the_javascript_tests_pass_in_node(node: Path) -> None:
    linked(PROJECT)
    files = sorted((PROJECT / "test").glob("*.test.js"))
    assert len(files) >= 5
    command = [str(node), "--test", "--test-reporter=spec", *map(str, files)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
