"""Run all contests, one after the other, and make the page of their figures.

python3 noxfile.py -s bench
python3 noxfile.py -s bench -- --quick
python3 noxfile.py -s bench -- --only way-in link
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.bench import machine, page
from tests.bench.all import EVERY
from tests.bench.contest import Contest, LeftOut, Measure, Outcome, verdicts
from tests.bench.others import PLACE


def main() -> int:
    names = [each.name for each in EVERY]
    parser = argparse.ArgumentParser("python3 noxfile.py -s bench --", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"tiny sizes; the page goes to {PLACE / 'quick'}")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names, help=", ".join(names))
    parser.add_argument("--page", action="store_true", help="measure nothing, only make the page again")
    arguments = parser.parse_args()
    if arguments.page:
        page.write(EVERY)
        return 0
    work = PLACE / "work"  # on the disk of the sources: the system's temporary directory may be in memory
    work.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(work)
    docs = PLACE / "quick" if arguments.quick else page.DOCS
    failed, began = [], time.monotonic()
    for contest in EVERY:
        if contest.name in arguments.only and not held(contest, arguments.quick, docs, work):
            failed.append(contest.name)
    print(f"\n{round(time.monotonic() - began)} s in all; {docs / 'performance.md'}", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def held(contest: Contest, quick: bool, docs: Path, work: Path) -> bool:
    """Run a contest and publish its figures; return whether nothing failed."""
    print(f"\n{contest.title} ({contest.name})", flush=True)
    outcome, began = Outcome(), time.monotonic()
    source = machine.commit()
    try:
        for each in contest.run(quick):
            outcome.take(each)
            print(sentence(each), flush=True)
    except Exception:
        traceback.print_exc()
        return False
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    made = page.Made(today, source, machine.sentence(work), round(time.monotonic() - began), quick)
    page.publish(contest, outcome, made, EVERY, docs)
    print(page.table(contest, outcome.figures), flush=True)
    for goal in contest.goals:
        for verdict in verdicts(goal, outcome.figures):
            word = "reached" if verdict.reached else "NOT REACHED"
            wanted = f"{goal.sense} {page.number(goal.limit)}"
            print(f"  {word}: {goal.sentence}: {page.number(verdict.value)}, {wanted} ({verdict.setting})", flush=True)
    return True


def sentence(brought: Measure | LeftOut) -> str:
    if isinstance(brought, LeftOut):
        return f"  {brought.who} is left out, for {brought.why}"
    return f"  {brought.setting:<45} {brought.who:<25} {page.number(brought.value):>10} {brought.unit}"


if __name__ == "__main__":
    sys.exit(main())
