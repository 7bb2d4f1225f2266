"""Coverage-guided fuzzing of our parsers: any input is parsed or refused, and nothing else happens.

parsers.py has the parsers and what must hold: a parsed command keeps within limits and can be rendered, as can a
refusal. fuzzing.py runs one of them.
"""

from __future__ import annotations

import base64
import importlib.util
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import ROOT
from tests.reliability.parsers import PARSERS
from tests.reliability.trial import Missing, Result, Sabotage, Trial, run_as_program

AT_ONCE = 2  # the seven parsers take four times the seconds of one
INPUTS = re.compile(r"number_of_executed_units: *(\d+)")


def run(count: int, seed: int) -> Result:
    if importlib.util.find_spec("atheris") is None:
        raise Missing("atheris makes the inputs, and is not installed: it has no wheel for every machine")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda name: fuzzed(name, count, seed), PARSERS))
    problems = [each for each in found if isinstance(each, str)]
    assert not problems, "\n".join(problems)
    inputs = sum(each for each in found if isinstance(each, int))
    sentence = f"{len(PARSERS)} parsers were given {inputs:,} inputs, {count} s each: nothing but commands and refusals"
    return Result(sentence, {"parsers": len(PARSERS), "inputs": inputs, "seconds": count})


def fuzzed(name: str, seconds: int, seed: int) -> int | str:
    """Return the number of inputs that a parser was given, or a description of its failure."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tests.reliability.fuzzing", name, "--seconds", str(seconds),
                   "--seed", str(seed), "--corpus", directory]  # fmt: skip
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        said = ended.stdout.decode(errors="replace")
        culprits = [each for each in Path(directory).iterdir() if each.name.startswith(("crash-", "timeout-", "oom-"))]
        inputs = INPUTS.search(said)
        if culprits:
            culprit = culprits[0].read_bytes()
            again = f"python -m tests.reliability.fuzzing {name} --again {base64.b64encode(culprit).decode()}"
            return f"{said[-4000:]}\n{name} can't cope with {culprit[:1000]!r}\nwhich is: {again}"
    if ended.returncode or inputs is None:
        raise RuntimeError(said[-5000:])
    return int(inputs[1])


TRIAL = Trial(
    name="fuzz",
    promise="A parser makes a command of any bytes that a client sends, or refuses them with a reason.",
    unit="seconds for each parser",
    share=1,
    full=60,
    deep=3600,
    run=run,
    sabotages=(
        Sabotage(
            "numbers are parsed as Python parses them, and a malformed one is not refused",
            "api/protocols/parsing.py",
            "    if not _INTEGER.fullmatch(text) or int(text) > SAFE_INTEGER:",
            "    if int(text) > SAFE_INTEGER:",
            2,
        ),
        Sabotage(
            "sizes have no bound but that of their digits",
            "api/protocols/parsing.py",
            "    if not _INTEGER.fullmatch(text) or int(text) > SAFE_INTEGER:",
            "    if not _INTEGER.fullmatch(text):",
            2,
        ),
        Sabotage(
            "malformed base64 is refused only where it is ASCII",
            "api/protocols/parsing.py",
            "        value = base64.b64decode(text)\n    except ValueError:",
            "        value = base64.b64decode(text)\n    except __import__('binascii').Error:",
            3,
        ),
        Sabotage(
            "a digest in another spelling than the canonical base64 is accepted",
            "api/protocols/parsing.py",
            "    if base64.b64encode(value).decode() != text:",
            "    if False:",
            3,
        ),
        Sabotage(
            "metadata that is not UTF-8 is not refused",
            "api/protocols/tus.py",
            "    except UnicodeDecodeError:",
            "    except KeyError:",
            5,
        ),
        Sabotage(
            "a body that is no JSON is a defect of ours",
            "api/protocols/native_json.py",
            "    except msgspec.DecodeError as problem:",
            "    except msgspec.ValidationError as problem:",
            3,
        ),
        Sabotage(
            "a name goes into a header unquoted",
            "api/protocols/parsing.py",
            "{urllib.parse.quote(name, safe='')}",
            "{name}",
            3,
        ),
        Sabotage(
            "a reason has no status",
            "errors.py",
            'UNSUPPORTED_VERSION = "unsupported-version", 412',
            'UNSUPPORTED_VERSION = "unsupported-version"',
            2,
        ),
        Sabotage(
            "the client takes every Retry-After for a date",
            "client/api.py",
            "    except (ValueError, OverflowError):  # OverflowError: a year out of range",
            "    except OverflowError:",
            2,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
