"""What is made from js_client/src: the files in js_client/dist, which are in the repository so that nobody needs npm.

python -m tests.javascript            make them again
python -m tests.javascript --check    fail where one is not what would be made, or a type is wrong
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests import node

PROJECT = Path(__file__).parent.parent / "js_client"


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
    commands = [["build.mjs", "--check"], ["node_modules/typescript/bin/tsc", "-p", "."]] if check else [["build.mjs"]]
    return max(subprocess.run([program, *command], cwd=PROJECT, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
