"""docs/reliability.md, made from what the last full run has written down in docs/reliability.json."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.reliability.bugs import BUGS
from tests.reliability.sabotage import EVERY

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
HEAD = """\
<!-- Made by `python -m tests.reliability`, from docs/reliability.json. Change tests/reliability, not this file. -->
# Reliability

What is promised is tried until it breaks: on every change a share of it, and in full by one command, which makes
this page from what it has reached.

```sh
python3 noxfile.py -s reliability            # all of it
python3 noxfile.py -s reliability -- --deep  # the same for a day or two
```
"""
NOT_PROMISED = """\
## What is not promised

- **Disks that lie.** A disk that says "flushed" before it is true can lose acknowledged bytes in a power cut. Here
  power is cut by shutting a file system down, which drops all that was not flushed; a disk's own cache is not tried.
- **Network file systems as scratch.** They do not keep what is needed of fsync.
- **The loss of the scratch disk.** There is one copy. What is not in Glance yet must be sent again.
- **Bytes that were not acknowledged.** Of a chunk that was cut a part may be kept. Who asks is told which.
- **Glance's own disk.** Once an image is `active`, it is Glance's to keep.
- **Other file systems than ext4 and xfs** may keep less than they say. They were not tried.
"""
PROMISES: tuple[tuple[str, str], ...] = (
    (
        "A request that stalls or has died never holds an upload; its late bytes never land.",
        "`test_chunks.py`, `test_behaviours_rivals.py`",
    ),
    (
        "What is promised to uploads never exceeds the space that there is, nor a project's share of it.",
        "`test_limits.py`",
    ),
    (
        "Nothing expires that its owner has continued in time, and nothing is removed that is sealed or being handed "
        "over; a cancelled or expired upload leaves no image that was made for it.",
        "`test_janitor.py`",
    ),
    ("A second process on the same scratch directory refuses to start.", "`test_scratch.py`"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Reached:
    """What a trial has done without a failure: so many tries, in its own words, in so many seconds."""

    count: int
    sentence: str
    seconds: int


def record(reached: Mapping[str, Reached], seed: int, minutes: int, *, deep: bool) -> dict[str, Any]:
    """What is kept of a run."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short=12", "HEAD") + ("" if not _git("status", "--porcelain") else " (changed)"),
        "seed": seed,
        "minutes": minutes,
        "deep": deep,
        "machine": f"{os.cpu_count()} cores, Linux, Python {platform.python_version()}",
        "trials": {name: dataclasses.asdict(each) for name, each in reached.items()},
    }


def publish(run: Mapping[str, Any]) -> None:
    RECORD.write_text(json.dumps(run, indent=1) + "\n")
    PAGE.write_text(render())


def render() -> str:
    """The page of the run that is on record."""
    run = json.loads(RECORD.read_text())
    return "\n".join([HEAD, *_figures(run), *_promises(), *_sabotages(), *_bugs(), NOT_PROMISED])


def _figures(run: Mapping[str, Any]) -> Iterable[str]:
    kind = "deep" if run["deep"] else "full"
    yield "## What the last run has reached\n"
    yield f"The {kind} run of {run['date']}: commit {run['commit']}, seed {run['seed']}, {run['minutes']} minutes on"
    yield f"{run['machine']}. Each line can be had again by its own command, where it is\n"
    yield f"`python -m tests.reliability.TRIAL --count COUNT --seed {run['seed']}`.\n"
    yield "| trial | promise | reached | seconds |\n|---|---|---|---|"
    for trial in EVERY:
        count, sentence, seconds = run["trials"][trial.name].values()
        yield f"| `{trial.name}` {count:,} | {trial.promise} | {sentence} | {seconds} |"
    yield ""


def _promises() -> Iterable[str]:
    yield "## What other tests prove\n\n| promise | tests |\n|---|---|"
    yield from (f"| {promise} | {tests} |" for promise, tests in PROMISES)
    yield ""


def _sabotages() -> Iterable[str]:
    yield "## Could it fail at all?\n"
    yield "Each of these is taken out of a copy of the service; the trial must notice, or the run fails.\n"
    yield "| taken out | of | noticed by |\n|---|---|---|"
    for trial in EVERY:
        yield from (f"| {each.what} | `{each.file}` | `{trial.name}` {each.count:,} |" for each in trial.sabotages)
    yield ""


def _bugs() -> Iterable[str]:
    yield "## What it has found\n"
    yield "The command shows it at the commit before the one that mended it.\n"
    yield "| what was wrong | how to see it | mended by |\n|---|---|---|"
    yield from (f"| {each.what} | `{each.command}` | {each.mended} |" for each in BUGS)
    yield ""


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
