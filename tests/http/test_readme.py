"""What the README shows works when it is pasted."""

from __future__ import annotations

import json
import os
import re
import subprocess

from tests import ROOT
from tests.support.service import Service

README = ROOT / "README.md"


def test_the_example_with_curl_works_when_pasted(service: Service) -> None:
    found = re.search(
        r"<!-- this block is run by tests/http/test_readme.py -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL
    )
    assert found is not None
    pasted = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", found[1]],
        env={**os.environ, "SERVICE": service.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert pasted.returncode == 0, pasted.stderr
    assert pasted.stdout.count("HTTP/1.1 204 No Content") == 2
    assert "upload-ranges: bytes=2000000-2999999" in pasted.stdout
    upload, sha512 = re.search(r"^({.*})([0-9a-f]{128})  disk.raw$", pasted.stdout, re.MULTILINE | re.DOTALL).groups()  # type: ignore[union-attr]
    shown = json.loads(upload)
    assert shown["state"] == "active"
    assert shown["hashes"]["sha512"] == sha512
