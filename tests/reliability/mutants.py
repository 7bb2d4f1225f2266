"""Small mistakes in the code, one at a time: do the tests notice?

Mutants of protocol/, dialects/ and the catalog (tests/reliability/mutation.py makes them, in a copy of the tree). Whichever no
test tells from the original has to be explained in survivors.toml, and what is explained there has to survive.
What mutmut does not touch is not counted: tables and patterns of modules, decorated functions, words for people.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.reliability.trial import Missing, Result, Trial, run_as_program

SCORE = 95.0  # per cent of all mutants, those that are explained too
NOTICED = frozenset({"killed", "hung"})
ALL_AGAIN = 100_000  # mutants: with so many, those that are explained are tried, too
FEW = 100  # so many are taken from one module that is pure, where tests take milliseconds
PURE = (
    *(f"model/{each}" for each in ("digests", "ranges", "states", "upload", "preconditions")),
    *(
        f"api/protocols/{each}"
        for each in ("native_json", "parsing", "rufh", "image_metadata", "native", "problems", "tus")
    ),
    "handoff/plan",
)
TESTS_OF_PURE = ("model", "api/protocols", "handoff/test_plan.py")
CATALOG = ("catalog/uploads", "catalog/records", "catalog/transactions", "catalog/backlog")
TESTS_OF_CATALOG = (
    "catalog", *(f"uploads/test_{each}.py" for each in (
        "append", "authorization", "capacity", "cleanup", "completion", "create", "idempotency", "inspect", "join",
        "service",
    )), "handoff/test_delivering.py", "handoff/test_worker.py", "auth/test_tickets.py",
)  # fmt: skip

Survivor = tuple[str, tuple[str, ...]]  # a function, and the lines that a mutant of it changes


def run(count: int, seed: int) -> Result:
    if importlib.util.find_spec("mutmut") is None:
        raise Missing("mutmut makes the mutants, and is not installed")
    known = explained() if count < ALL_AGAIN else {}  # a survivor costs every test that reaches it
    if count < FEW:
        module = random.Random(seed).choice(PURE)
        found = hunted([module], TESTS_OF_PURE, count, seed, known)
        of = f"{len(found)} mutants of {module}.py"
    else:
        with ThreadPoolExecutor() as both:
            pure = both.submit(hunted, PURE, TESTS_OF_PURE, count, seed, known)
            found = hunted(CATALOG, TESTS_OF_CATALOG, count, seed, known) + pure.result()
        of = f"{len(found):,} mutants of model/, api/protocols/, handoff/plan.py and the catalog"
    problems = inspect_head(found, explained(), whole=FEW <= count > len(found))
    assert not problems, "\n".join(problems)
    noticed, score = sum(each["outcome"] in NOTICED for each in found), score_of(found)
    sentence = f"{noticed:,} of {of} were found by the tests ({score:.1f} %), each of the others is explained"
    return Result(sentence, {"mutants": len(found), "found": noticed, "score": score})


def hunted(
    modules: Sequence[str], tests: Sequence[str], count: int, seed: int, known: Iterable[Survivor]
) -> list[dict[str, Any]]:
    """What became of `count` mutants of these modules at most, each as tests.reliability.mutation.Mutant with its outcome.

    Those that are `known` are not tried: their outcome is `known`.
    """
    with tempfile.TemporaryDirectory() as directory:
        copy, result = Path(directory), Path(directory) / "result.json"
        for each in ("resumable_glance", "tests"):
            shutil.copytree(ROOT / each, copy / each, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        (copy / "setup.cfg").write_text("[mutmut]\nsource_paths=resumable_glance\n")
        (copy / "known.json").write_text(json.dumps(list(known)))
        command = [sys.executable, "-m", "tests.reliability.mutation", "--known", "known.json", "--count", str(count),
                   "--seed", str(seed), "--result", str(result),
                   "--modules", *(f"resumable_glance/{each}.py" for each in modules),
                   "--tests", *(f"tests/unit/{each}" for each in tests)]  # fmt: skip
        subprocess.run(command, cwd=copy, check=True)
        found: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))
    return found


def explained() -> dict[Survivor, str]:
    """Why it is no matter that no test finds them: survivors.toml."""
    listed = tomllib.loads((Path(__file__).parent / "survivors.toml").read_text(encoding="utf-8"))["survivors"]
    return {(each["function"], tuple(change)): each["why"] for each in listed for change in each["changes"]}


def score_of(found: Sequence[Mapping[str, Any]]) -> float:
    """Per cent of mutants that a test noticed: it failed, or never ended."""
    return 100.0 * sum(each["outcome"] in NOTICED for each in found) / len(found)


def inspect_head(found: Sequence[Mapping[str, Any]], reasons: Mapping[Survivor, str], whole: bool) -> list[str]:
    """What is wrong, in words. `whole`: these are all mutants that there are."""
    tried = {(each["function"], tuple(each["change"])): each["outcome"] in NOTICED for each in found}
    survived = {each for each, noticed in tried.items() if not noticed}
    wrong = dict.fromkeys(survived - set(reasons), "no test finds this, and nothing explains why")
    wrong |= dict.fromkeys(set(reasons) & set(tried) - survived, "explained, but a test finds it")
    if whole:
        wrong |= dict.fromkeys(set(reasons) - set(tried), "explained, but there is no such mutant")
    problems = ["\n    ".join([f"{what}: {function}", *change]) for (function, change), what in sorted(wrong.items())]
    if whole and (score := score_of(found)) < SCORE:
        problems.append(f"only {score:.1f} % of all mutants are found by a test, not {SCORE:.0f} %")
    return problems


TRIAL = Trial(
    name="mutants",
    promise="What the tests say of the protocol, the dialects and the catalog can be relied on: they notice mistakes.",
    unit="mutants at most",
    share=15,
    full=ALL_AGAIN - 1,
    deep=ALL_AGAIN,
    run=run,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
