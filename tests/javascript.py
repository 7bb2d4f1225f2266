"""What is made from js_client/src: the files in js_client/dist, which are in the repository so that nobody needs npm,
and the copies of them that Horizon's plugin has, for it is a distribution of its own.

python -m tests.javascript            make them again
python -m tests.javascript --check    fail where one is not what would be made, or a type or the form is wrong
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests import ROOT
from tests.support import node

PROJECT = ROOT / "js_client"
PLUGIN = PROJECT / "horizon" / "resumable_glance_dashboard" / "static" / "resumable_glance_dashboard" / "client"
FORMATTED = (
    "*.mjs",
    "src",
    "test",
    "../resumable_glance/api/page/files/*.js",
    "../resumable_glance/api/page/files/*.css",
    "../tests/browser/bundlers/*.*js",
    "horizon/test/*.js",
    "horizon/resumable_glance_dashboard/static/resumable_glance_dashboard/*.{js,scss}",
)
COPIED = ("resumable-glance.iife.js", "resumable-glance.worker.js")


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.javascript", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    try:
        program = node.program()
        node.linked(PROJECT)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    prettier = ["node_modules/prettier/bin/prettier.cjs", "--log-level=warn", "--config=package.json", *FORMATTED]
    commands = [[*prettier, "--write"], ["build.mjs"]]
    if check:
        typescript = ["node_modules/typescript/bin/tsc", "-p", "."]
        commands = [[*prettier, "--check"], ["rooms.mjs"], ["build.mjs", "--check"], typescript]
    status = max(subprocess.run([program, *command], cwd=PROJECT, check=False).returncode for command in commands)
    return max(status, copy(check))


def copy(check: bool) -> int:
    """Give the plugin its copies, or see whether they are right; the exit status."""
    status = 0
    for name in COPIED:
        made, copied = PROJECT / "dist" / name, PLUGIN / name
        if not check:
            copied.write_bytes(made.read_bytes())
        elif copied.read_bytes() != made.read_bytes():
            print(f"{copied} is not a copy of {made}: run python3 noxfile.py -s generate", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
