"""The generated files: the samples of configuration and policy, and docs/reliability.md.

    python -m tests.generated            make the files again
    python -m tests.generated --check    fail if a file is out of date

Needs the project installed: oslo-config-generator finds options by their entry point.
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests import ROOT
from tests.reliability import page

DOCS = ROOT / "docs"
NAMESPACES = ("resumable_glance", "oslo.log", "oslo.policy")
WRAP_WIDTH = 100
# The sample is made on a machine with this name, number of processors and home: none of them may be in it.
MARKS = ("planted-host", "4711", "/planted/home")
GENERATOR = """
import multiprocessing, os, platform, socket, sys
name, processors, home = sys.argv[1:4]
socket.gethostname = socket.getfqdn = platform.node = lambda *_: name
os.cpu_count = os.process_cpu_count = multiprocessing.cpu_count = lambda: int(processors)
os.path.expanduser = lambda path: str(path).replace("~", home)
from oslo_config import generator
generator.main(sys.argv[4:])
"""


def sample() -> str:
    """Return the sample configuration, from oslo-config-generator."""
    command = [sys.executable, "-c", GENERATOR, *MARKS, "--wrap-width", str(WRAP_WIDTH)]
    for each in NAMESPACES:
        command += ["--namespace", each]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode or made.stderr:
        sys.exit(f"oslo-config-generator failed; is the project installed (nox -s generate does that)?\n{made.stderr}")
    found = [each for each in (*MARKS, str(ROOT), sys.prefix) if each in made.stdout]
    if found:
        sys.exit(f"The sample has values of the machine that it is made on: {', '.join(found)}. Set sample_default.")
    return made.stdout


def policy() -> str:
    """Return the sample policy file, from oslopolicy-sample-generator."""
    generator = str(Path(sys.executable).with_name("oslopolicy-sample-generator"))
    command = [generator, "--namespace", "resumable_glance"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode or made.stderr:
        sys.exit(f"oslopolicy-sample-generator failed; is the project installed?\n{made.stderr}")
    return made.stdout


FILES: Mapping[Path, Callable[[], str]] = {
    DOCS / "resumable-glance.conf.sample": sample,
    DOCS / "policy.yaml.sample": policy,
    page.PAGE: page.render,
}


def drift(path: Path, text: str) -> str:
    """Return how a file differs from `text`, as a diff; empty if it does not."""
    present = path.read_text() if path.exists() else ""
    name = str(path.relative_to(ROOT))
    lines = difflib.unified_diff(present.splitlines(), text.splitlines(), name, f"{name}, made again", lineterm="", n=1)
    return "\n".join(lines)


def main() -> int:
    """Make or check the files; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.generated", description="Make the generated files.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file is out of date")
    checking = parser.parse_args().check
    different = {path: (text, drift(path, text)) for path, text in ((path, make()) for path, make in FILES.items())}
    status = 0
    for path, (text, difference) in different.items():
        if not difference:
            continue
        print(difference if checking else f"made {path.relative_to(ROOT)}")
        if checking:
            status = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if status:
        print("Out of date. Make it again: python3 noxfile.py -s generate", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
