"""The tests that Horizon's plugin has of its own (js_client/horizon/test), in Node: the adapters to both dialogs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.cloud.horizon import PLUGIN

LONGEST = 60  # seconds


def test_the_adapters_keep_horizons_interfaces(node: Path) -> None:
    command = [str(node), "--test", str(PLUGIN / "test" / "adapters.test.js")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
