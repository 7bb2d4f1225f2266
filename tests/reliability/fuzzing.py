"""One of our parsers (parsers.py) with inputs from atheris, which is guided by the lines that they reach.

    python -m tests.reliability.fuzzing tus --seconds 60 --seed 1 --corpus DIRECTORY
    python -m tests.reliability.fuzzing tus --again BASE64

The second command gives it one input. A failure ends both with an exit status other than 0.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import re
import sys
from pathlib import Path

GUIDES = ["resumable_glance.api.protocols", "resumable_glance.model", "resumable_glance.client.api"]
LONGEST = 4096  # bytes of an input
SLOWEST = 10  # seconds that a parser may take for one


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.reliability.fuzzing")
    parser.add_argument("parser")
    parser.add_argument("--again", metavar="BASE64", type=base64.b64decode)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="an empty directory for the inputs")
    arguments = parser.parse_args()
    if arguments.again is None:
        _fuzz(arguments.parser, arguments.seconds, arguments.seed, arguments.corpus)
        return
    from tests.reliability.parsers import PARSERS

    PARSERS[arguments.parser].feed(arguments.again)


def _fuzz(name: str, seconds: int, seed: int, corpus: Path) -> None:
    import atheris  # there is no wheel for every machine

    with atheris.instrument_imports(include=GUIDES):
        from tests.reliability.parsers import PARSERS

    chosen = PARSERS[name]
    inputs = corpus / "inputs"
    inputs.mkdir()
    for each in chosen.seeds:
        (inputs / hashlib.sha256(each).hexdigest()).write_bytes(each)
    (corpus / "words").write_text("".join(f'"{_escaped(each)}"\n' for each in _words(chosen.seeds)))
    options = [f"-max_total_time={seconds}", f"-seed={seed or 1}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}",
               f"-dict={corpus / 'words'}", f"-artifact_prefix={corpus}/", "-print_final_stats=1"]  # fmt: skip

    def feed(data: bytes) -> None:
        with contextlib.redirect_stdout(None):
            chosen.feed(data)

    atheris.Setup([sys.argv[0], *options, str(inputs)], feed)
    atheris.Fuzz()


def _words(seeds: tuple[bytes, ...]) -> list[bytes]:
    """Return the words of the seeds as a dictionary for the fuzzer."""
    return sorted({word for each in seeds for word in re.findall(rb"[^\s:;,=\"{}\[\]?&/]{2,64}", each)})


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{each:02x}" for each in word)


if __name__ == "__main__":
    main()
