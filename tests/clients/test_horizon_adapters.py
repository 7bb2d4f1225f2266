"""The Horizon plugin's own tests (js_client/horizon/test): scripts in Node.js, Python in Horizon's environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.cloud import install
from tests.support.cloud.horizon import PLUGIN, SETTINGS_MODULE

TIMEOUT = 60  # seconds


def succeeds(command: list[Path | str], environment: dict[str, str] | None = None) -> None:
    """Fail with the command's output unless it exits with 0."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]


def test_scripts(node: Path) -> None:
    succeeds([node, "--test", *sorted((PLUGIN / "test").glob("*.test.js"))])


def test_python() -> None:
    python = install.environment(install.HORIZON) / "bin" / "python"
    environment = {"PATH": os.defpath, "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE, "PYTHONPATH": str(PLUGIN)}
    succeeds([python, "-m", "unittest", "discover", "-s", PLUGIN / "test"], environment)
