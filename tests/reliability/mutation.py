"""Mutants of our modules, each with a small mistake in a function, and whether the tests tell them from the original.

mutmut writes all mutants beside their originals, and an environment variable chooses one. So modules are imported and
tests collected once; a mutant costs a fork and the tests that reach its function, the quickest first, until one fails.
(`mutmut run` starts pytest for each mutant anew, which takes several times as long.)

    python -m tests.reliability.mutation --count 100 --seed 1 --known FILE --result FILE --modules FILE --tests FILE

It overwrites the modules that it is given: mutants.py runs it in a copy of the tree.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import random
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import libcst
import pytest
from _pytest.runner import runtestprotocol
from libcst import matchers
from mutmut.mutation.file_mutation import MutatedFile, Mutation, combine_mutations_to_source, create_mutations
from mutmut.state import state

Timed = tuple[float, pytest.Item]  # the seconds that a test takes, and the test
VARIABLE = "MUTANT_UNDER_TEST"  # read by mutmut's trampolines
SENTENCE = re.compile(r"[\w,:;.'(]+ [\w,:;.'(]+ [\w,:;.'(]+")
NAMING = frozenset({"integer", "structured_digests", "strict_base64"})  # take the name of a field, for a sentence
TRANSACTIONS = frozenset({"reads", "writes"})  # decorators of methods in the catalog
PATIENCE = 5.0  # seconds for a test, plus ten times its time with the original: a mutant may wait for ever


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """A mutant: mutmut's name for it, its function, and the lines that it changes, as in a diff."""

    name: str
    function: str
    change: tuple[str, ...]


def mutate(file: Path) -> list[Mutant]:
    """Put mutants into a module, except of its sentences for people, whose words no test may know."""
    source = libcst.parse_module(file.read_text(encoding="utf-8")).visit(_Undecorated()).code
    module, mutations, *ignored = create_mutations(str(file), source)
    said = _said(module)
    made = combine_mutations_to_source(module, [each for each in mutations if not _silences(each, said)], *ignored)
    file.write_text(made.code, encoding="utf-8")
    name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    return [_described(name, each, made) for each in made.mutant_names]


class _Undecorated(libcst.CSTTransformer):
    """Replaces the decorators of transactions by calls, for mutmut leaves decorated functions alone."""

    def leave_FunctionDef(
        self, original_node: libcst.FunctionDef, updated_node: libcst.FunctionDef
    ) -> libcst.FunctionDef | libcst.FlattenSentinel[libcst.BaseStatement]:
        names = [getattr(each.decorator, "value", None) for each in updated_node.decorators]
        if len(names) != 1 or names[0] not in TRANSACTIONS:
            return updated_node
        call = libcst.parse_statement(f"{updated_node.name.value} = {names[0]}({updated_node.name.value})\n")
        return libcst.FlattenSentinel([updated_node.with_changes(decorators=()), call])


def _said(module: libcst.Module) -> set[libcst.CSTNode]:
    """Return the sentences in a module, with their parts, and the names of fields that go into sentences."""
    strings = matchers.FormattedString() | matchers.ConcatenatedString() | matchers.SimpleString()
    sentences = [each for each in matchers.findall(module, strings) if SENTENCE.search(module.code_for_node(each))]
    calls = matchers.findall(module, matchers.Call(func=matchers.Name() | matchers.Attribute()))
    named = [each.value for call in calls if _called(call) in NAMING for each in cast(libcst.Call, call).args]
    names = [each for each in named if isinstance(each, libcst.SimpleString | libcst.FormattedString)]
    return {part for each in (*sentences, *names) for part in _parts(each)}


def _called(call: libcst.CSTNode) -> str:
    function = cast(libcst.Call, call).func
    return function.value if isinstance(function, libcst.Name) else cast(libcst.Attribute, function).attr.value


def _parts(node: libcst.CSTNode) -> Iterator[libcst.CSTNode]:
    yield node
    for each in node.children:
        yield from _parts(each)


def _silences(mutation: Mutation, said: set[libcst.CSTNode]) -> bool:
    """Return whether a mutation changes a sentence, or replaces it with None, which mypy finds."""
    old, new = mutation.original_node, mutation.mutated_node
    if isinstance(old, libcst.Call) and isinstance(new, libcst.Call) and len(old.args) == len(new.args):
        return any(was is not now and was.value in said for was, now in zip(old.args, new.args, strict=True))
    return old in said


def _described(module: str, name: str, made: MutatedFile) -> Mutant:
    function, _, number = name.partition("__mutmut_")
    lines = made.code.splitlines()

    def source(of: str) -> list[str]:
        span = made.line_span_by_function_name[f"{function}__mutmut_{of}"]
        return [re.sub(r"__mutmut_\w+", "", each).strip() for each in lines[span.start - 1 : span.end]]

    differences = difflib.unified_diff(source("orig"), source(number), n=0, lineterm="")
    change = tuple(each for each in list(differences)[2:] if not each.startswith("@@"))
    plain = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    return Mutant(f"{module}.{name}", f"{module}.{plain}", change)


class Hunt:
    """A plugin of pytest that runs the collected tests once, and then again for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], known: set[tuple[str, tuple[str, ...]]]) -> None:
        self._mutants = mutants
        self._known = known  # not tried
        self.outcomes: dict[Mutant, str] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Make Hypothesis quick and deterministic, whatever settings a test has."""
        import hypothesis  # after pytest has installed its import hook

        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        quick = hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=50, phases=phases)
        for each in items:
            test: Any = getattr(each, "obj", None)
            if hasattr(test, "_hypothesis_internal_use_settings"):
                test._hypothesis_internal_use_settings = quick

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        tests = _with_the_original(session.items)
        for done, mutant in enumerate(self._mutants):
            known = (mutant.function, mutant.change) in self._known
            of_it = tests.get(mutant.name.partition("__mutmut_")[0], [])
            self.outcomes[mutant] = "known" if known else _tried(mutant, of_it)
            print(
                f"{done + 1} of {len(self._mutants)}: {self.outcomes[mutant]} {mutant.function} {mutant.change}",
                flush=True,
            )
        return True


def _with_the_original(items: Sequence[pytest.Item]) -> dict[str, list[Timed]]:
    """Run all tests; return for each function the tests that reach it, the quickest first."""
    found: dict[str, list[Timed]] = {}
    os.environ[VARIABLE] = "stats"
    for item, following in zip(items, [*items[1:], None], strict=True):
        state()._stats.clear()
        reports = runtestprotocol(item, log=False, nextitem=following)
        for report in reports:
            if report.failed:
                raise RuntimeError(f"{item.nodeid} fails without any mutant: {report.longreprtext}")
        for function in state()._stats:
            found.setdefault(function, []).append((sum(each.duration for each in reports), item))
    os.environ[VARIABLE] = ""
    return {name: sorted(each, key=lambda timed: timed[0]) for name, each in found.items()}


def _tried(mutant: Mutant, tests: list[Timed]) -> str:
    """Return `killed`, `hung`, `unreached` (by any test) or `survived`.

    The test that killed it is tried first on the function's next mutant.
    """
    if not tests:
        return "unreached"
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ[VARIABLE] = mutant.name
        try:
            os._exit(_fails(tests, writing))
        finally:
            os._exit(1)  # for any other exception
    _, status = os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as begun:
        last = int(begun.read().split()[-1])
    if status == 0:
        return "survived"
    tests.insert(0, tests.pop(last))
    return "hung" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else "killed"


def _fails(tests: Sequence[Timed], writing: int) -> bool:
    """Return whether a test fails; write the number of each one as it begins."""
    for number, (seconds, item) in enumerate(tests):
        os.write(writing, b"%d " % number)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE + 10 * seconds)
        following = tests[number + 1][1] if number + 1 < len(tests) else None
        if any(each.failed for each in runtestprotocol(item, log=False, nextitem=following)):
            return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.reliability.mutation", description="Mutants, and the tests that kill them."
    )
    parser.add_argument("--count", type=int, required=True, help="most mutants to try")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--known", type=Path, required=True, help="mutants that are not tried, as JSON")
    parser.add_argument("--modules", nargs="+", type=Path, required=True)
    parser.add_argument("--tests", nargs="+", required=True)
    arguments = parser.parse_args()
    mutants = [mutant for each in arguments.modules for mutant in mutate(each)]
    random.Random(arguments.seed).shuffle(mutants)
    known = {(function, tuple(change)) for function, change in json.loads(arguments.known.read_text())}
    hunt = Hunt(mutants[: arguments.count], known)
    options = ["-q", "-s", "--tb=native", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--basetemp=tmp"]
    status = pytest.main([*options, *arguments.tests], plugins=[hunt])
    described = [dataclasses.asdict(each) | {"outcome": outcome} for each, outcome in hunt.outcomes.items()]
    arguments.result.write_text(json.dumps(described, indent=1), encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
