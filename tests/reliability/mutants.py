"""Mutants: one small mistake in the code at a time, which a test must notice.

mutation.py makes mutants of the model, the protocols, the handoff's plan and the catalog, in a copy of the tree. Every
mutant that no test tells from the original is explained in survivors.toml, and every explanation there is of a mutant
that survives. mutmut leaves alone, and nothing here counts: tables and patterns of modules, decorated functions,
sentences for people.
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

SCORE = 95.0  # per cent of all mutants, including those that are explained
NOTICED = frozenset({"killed", "hung"})
ALL_AGAIN = 100_000  # mutants: from this count on, those that are explained are tried, too
FEW = 100  # mutants: fewer are taken from one pure module, whose tests take milliseconds
PURE = (
    *(f"model/{each}" for each in ("digests", "preconditions", "ranges", "states", "upload")),
    *(
        f"api/protocols/{each}"
        for each in ("image_metadata", "native", "native_json", "parsing", "problems", "rufh", "tus")
    ),
    "handoff/plan",
)
TESTS_OF_PURE = ("model", "api/protocols", "handoff/test_plan.py")
CATALOG = tuple(
    f"catalog/{each}" for each in ("idempotency_keys", "instances", "orphans", "transactions", "trusts", "uploads")
)
TESTS_OF_CATALOG = ("catalog", "uploads", "handoff", "auth")

Survivor = tuple[str, tuple[str, ...]]  # a function, and the lines that a mutant of it changes


def run(count: int, seed: int) -> Result:
    if importlib.util.find_spec("mutmut") is None:
        raise Missing("mutmut makes the mutants, and is not installed")
    known = explained() if count < ALL_AGAIN else {}  # a survivor costs every test that reaches it
    if count < FEW:
        module = random.Random(seed).choice(PURE)
        found = outcomes_of([module], TESTS_OF_PURE, count, seed, known)
        of = f"{len(found)} mutants of {module}.py"
    else:
        with ThreadPoolExecutor() as both:
            pure = both.submit(outcomes_of, PURE, TESTS_OF_PURE, count, seed, known)
            found = outcomes_of(CATALOG, TESTS_OF_CATALOG, count, seed, known) + pure.result()
        of = f"{len(found):,} mutants of model/, api/protocols/, handoff/plan.py and the catalog"
    problems = problems_of(found, explained(), whole=FEW <= count > len(found))
    assert not problems, "\n".join(problems)
    noticed, score = sum(each["outcome"] in NOTICED for each in found), score_of(found)
    sentence = f"{noticed:,} of {of} were found by the tests ({score:.1f} %), each of the others is explained"
    return Result(sentence, {"mutants": len(found), "found": noticed, "score": score})


def outcomes_of(
    modules: Sequence[str], tests: Sequence[str], count: int, seed: int, known: Iterable[Survivor]
) -> list[dict[str, Any]]:
    """Return at most `count` mutants of these modules, as mutation.Mutant each, with their outcomes.

    The `known` ones are not tried: their outcome is `known`.
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
    """Return the reason for each survivor in survivors.toml."""
    listed = tomllib.loads((Path(__file__).parent / "survivors.toml").read_text(encoding="utf-8"))["survivors"]
    return {(each["function"], tuple(change)): each["why"] for each in listed for change in each["changes"]}


def score_of(found: Sequence[Mapping[str, Any]]) -> float:
    """Return the per cent of mutants that a test noticed: it failed, or never ended."""
    return 100.0 * sum(each["outcome"] in NOTICED for each in found) / len(found)


def problems_of(found: Sequence[Mapping[str, Any]], reasons: Mapping[Survivor, str], whole: bool) -> list[str]:
    """Return what is wrong, in sentences. `whole`: these are all mutants that there are."""
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
    promise="The tests of the model, the protocols and the catalog notice a small mistake anywhere in them.",
    unit="mutants at most",
    share=15,
    full=ALL_AGAIN - 1,
    deep=ALL_AGAIN,
    run=run,
)

if __name__ == "__main__":
    run_as_program(TRIAL)
