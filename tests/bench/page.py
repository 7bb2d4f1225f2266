"""docs/performance.md, made from the record of full runs, docs/performance.json. Pure but for publish()."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.bench.contest import Contest, Figure, Goal, Outcome, figures_of, ratio, verdicts

DOCS = ROOT / "docs"
NAME = "performance"
HEAD = """\
<!-- Made by `python -m tests.bench`, from docs/performance.json. Change tests/bench, not this file. -->
# Performance

Our service and others, in turn, in one run on one machine: read the ratios, not the numbers. One command makes this
page for your machine:

```sh
python3 noxfile.py -s bench
```

Each number is the median of all rounds, with the least and the most in brackets. A ratio is the median of the ratios
within the rounds: whatever else the machine did in a round affected all contestants.
"""
NOTHING = "**Not measured yet: no full run is on record.**\n"
QUICK = "**Made by `--quick`, with tiny sizes, to try the benchmark: do not use these figures.**\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """The origin of figures; `quick` ones are only to try the benchmark."""

    date: str
    commit: str
    machine: str
    seconds: int
    quick: bool


def publish(contest: Contest, outcome: Outcome, made: Made, contests: Sequence[Contest], docs: Path = DOCS) -> None:
    """Record the figures of a contest, draw them, and make the page."""
    from tests.bench import plots

    record = docs / f"{NAME}.json"
    run = json.loads(record.read_text()) if record.exists() else {}
    run[contest.name] = {
        **dataclasses.asdict(made),
        "left_out": [dataclasses.asdict(each) for each in outcome.left_out],
        "figures": [written(each) for each in outcome.figures],
    }
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    (docs / NAME).mkdir(exist_ok=True)
    plots.draw(contest, outcome.figures, docs / NAME / f"{contest.name}.svg")
    write(contests, docs)


def write(contests: Sequence[Contest], docs: Path = DOCS) -> None:
    """Make the page of the record."""
    record = docs / f"{NAME}.json"
    run = json.loads(record.read_text()) if record.exists() else {}
    (docs / f"{NAME}.md").write_text(render(run, contests))


def written(figure: Figure) -> dict[str, Any]:
    return {**dataclasses.asdict(figure), "values": [float(f"{each:.5g}") for each in figure.values]}


def render(run: Mapping[str, Any], contests: Sequence[Contest]) -> str:
    """Return the page of a record."""
    machines = list(dict.fromkeys(each["machine"] for each in run.values()))
    parts = [HEAD, *(f"On {each}.\n" for each in machines), *_goals(run, contests)]
    for each in contests:
        parts += _contest(each, run.get(each.name))
    return "\n".join(parts)


def _goals(run: Mapping[str, Any], contests: Sequence[Contest]) -> Iterator[str]:
    yield "## Goals\n\n| contest | goal | measured | |\n|---|---|---|---|"
    for contest in contests:
        brought = run.get(contest.name)
        figures = figures_of(brought["figures"]) if brought else []
        for goal in contest.goals:
            yield from _goal(contest, goal, figures)
    yield ""


def _goal(contest: Contest, goal: Goal, figures: Iterable[Figure]) -> Iterator[str]:
    link = f"[{contest.title}](#{anchor(contest.title)})"
    wanted = f"{goal.sentence}: {goal.sense} {number(goal.limit)}"
    found = verdicts(goal, figures)
    if not found:
        yield f"| {link} | {wanted} | not measured | |"
    for each in found:
        word = "reached" if each.reached else "**not reached**"
        yield f"| {link} | {wanted} | {number(each.value)} ({each.setting}) | {word} |"


def _contest(contest: Contest, brought: Mapping[str, Any] | None) -> Iterator[str]:
    yield f"## {contest.title}\n\n{contest.text}\n"
    if brought is None:
        yield NOTHING
        return
    if brought["quick"]:
        yield QUICK
    yield "{date}, commit {commit}, in {seconds} s. Again: `python3 noxfile.py -s bench -- --only {name}`.\n".format(
        **brought, name=contest.name
    )
    yield from (f"Left out: {each['who']}, for {each['why']}.\n" for each in brought["left_out"])
    figures = figures_of(brought["figures"])
    if figures:
        if contest.drawing != "none":
            yield f"![{contest.title}]({NAME}/{contest.name}.svg)\n"
        yield table(contest, figures)


def table(contest: Contest, figures: Sequence[Figure]) -> str:
    """Return the medians, and the ratios to the base, if there is one."""
    cells = {(each.setting, each.who): cell(each) for each in figures}
    text = _grid(contest, figures, cells)
    bases = {each.setting: each for each in figures if each.who == contest.base}
    ratios = {
        (each.setting, each.who): f"{ratio(each, bases[each.setting]):.2f}"
        for each in figures
        if each.who != contest.base and each.setting in bases
    }
    return text + (f"\nCompared with: {contest.base}.\n\n" + _grid(contest, figures, ratios) if ratios else "")


def _grid(contest: Contest, figures: Sequence[Figure], cells: Mapping[tuple[str, str], str]) -> str:
    settings, whos = _unique(each.setting for each in figures), _unique(each.who for each in figures)
    settings = [each for each in settings if any((each, who) in cells for who in whos)]
    whos = [each for each in whos if any((setting, each) in cells for setting in settings)]
    named = [f"{int(each):,}" if each.isdigit() else each for each in settings]
    rows = [[cells.get((setting, who), "") for who in whos] for setting in settings]
    head, names = whos, named
    if contest.drawing == "shares":  # few settings, and many parts
        head, names, rows = named, whos, [list(each) for each in zip(*rows, strict=True)]
    lines = [[contest.axis, *head], ["---", *("---:" for _ in head)]]
    lines += [[name, *row] for name, row in zip(names, rows, strict=True)]
    return "".join(f"| {' | '.join(each)} |\n" for each in lines)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


def cell(figure: Figure) -> str:
    """Return the median, with its unit and the range."""
    least, most = min(figure.values), max(figure.values)
    around = "" if len(figure.values) == 1 else f" ({number(least)}–{number(most)})"
    return f"{number(figure.median)} {figure.unit}{around}"


def number(value: float) -> str:
    """Return a number with three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    kept = "".join(each for each in title.lower() if each.isalnum() or each in " -")
    return kept.replace(" ", "-")
