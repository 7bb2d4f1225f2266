"""docs/reliability.md, made from the record of the last full run, docs/reliability.json."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.reliability.bugs import BUGS
from tests.reliability.sabotage import EVERY

RECORD = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
HEAD = """\
<!-- Made by `python -m tests.reliability`, from docs/reliability.json. Change tests/reliability, not this file. -->
# Reliability

Each promise is tried until it breaks: a share of the tries with every run of the tests, and all of them by one command,
which makes this page of the results.

```sh
python3 noxfile.py -s reliability            # all of it
python3 noxfile.py -s reliability -- --deep  # the same for a day or two
```
"""
NOT_PROMISED = """\
## What is not promised

- **Disks that lie.** A disk that reports a flush before it is done can lose acknowledged bytes in a power cut. The
  trials cut power by shutting down a file system, which drops everything unflushed; a disk's own cache is not tried.
- **Network file systems as scratch.** They do not keep the promises of fsync.
- **The loss of the scratch disk.** There is one copy. Uploads that are not in Glance yet must be sent again.
- **Bytes that were not acknowledged.** A part of a chunk that was cut may be kept; the upload's description says which.
- **Glance's own disk.** Once an image is `active`, it is Glance's to keep.
- **Other file systems than ext4 and xfs.** They were not tried.
"""
PROMISES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "A request that stalls or has died never holds an upload: the next one gets the true offset, and late bytes of "
        "the old one never land.",
        (
            "test_a_newer_chunk_takes_over_from_a_stalled_one",
            "test_a_superseded_request_writes_nothing_more",
        ),
    ),
    (
        "A chunk of another range neither waits for a stalled one nor ends it; nor does a question.",
        ("test_a_stalled_chunk_delays_no_other_request",),
    ),
    (
        "A chunk with a declared digest is kept as a whole or not at all.",
        ("test_a_superseded_request_with_a_digest_keeps_nothing",),
    ),
    (
        "A project never exceeds its limits of uploads, bytes and creations, nor Glance's quota.",
        (
            "test_two_creations_at_once_are_not_both_the_last_one",
            "test_an_image_over_quota_is_refused_before_it_is_made",
        ),
    ),
    (
        "An upload that is being handed over never expires, nor one that waits for its first turn.",
        (
            "test_what_is_being_delivered_does_not_expire",
            "test_an_upload_that_waits_for_its_first_turn_never_expires",
        ),
    ),
    (
        "An image that was made for an upload goes with it, even after a crash or without Glance; an adopted one "
        "stays.",
        (
            "test_an_image_that_was_made_right_before_a_crash_is_removed",
            "test_an_image_that_the_client_made_is_never_removed",
        ),
    ),
    (
        "The cleaner can be killed anywhere.",
        ("test_a_cleaner_stopped_anywhere_continues",),
    ),
    (
        "A second process on the same scratch directory refuses to start.",
        ("test_a_second_process_on_the_same_storage_does_not_start",),
    ),
    (
        "A Keystone or Glance that hangs delays neither other uploads nor a stop.",
        (
            "test_a_hanging_keystone_holds_no_thread_of_storage",
            "test_a_hanging_glance_delays_no_stop",
        ),
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Reached:
    """The result of a trial that held, and what it takes to repeat it."""

    sentence: str
    count: int
    seed: int
    seconds: int
    date: str
    commit: str


def publish(tried: Mapping[str, Reached | None], minutes: int | None = None) -> None:
    """Record the results of trials (None: a failure), and make the page. `minutes` of a run of all."""
    run = json.loads(RECORD.read_text()) if RECORD.exists() else {"trials": {}, "minutes": None}
    run["machine"] = f"{os.cpu_count()} cores, Linux, Python {platform.python_version()}"
    run["minutes"] = minutes or run["minutes"]
    run["trials"] |= {name: each and dataclasses.asdict(each) for name, each in tried.items()}
    RECORD.write_text(json.dumps(run, indent=1) + "\n")
    PAGE.write_text(render())


def commit() -> str:
    """Return the commit of the source, and whether it has changes."""
    changed = _git("status", "--porcelain", "--", ".", *(f":!docs/{each.name}" for each in (RECORD, PAGE)))
    return _git("rev-parse", "--short=7", "HEAD") + (" and changes" if changed else "")


def render() -> str:
    """Return the page of the record."""
    run = json.loads(RECORD.read_text())
    return "\n".join([HEAD, *_figures(run), *_promises(), *_sabotages(), *_bugs(), NOT_PROMISED])


def located(proof: str) -> str:
    """Return the module and name of a test that is cited by its name. A command stays as it is."""
    if not proof.startswith("test_"):
        return proof
    found = [path for path, names in _tests().items() if proof in names]
    if len(found) != 1:
        raise LookupError(f"{proof} is cited, and {len(found)} test modules have it")
    return f"{found[0].relative_to(ROOT / 'tests')}::{proof}"


@functools.cache
def _tests() -> dict[Path, set[str]]:
    """The names of all tests, by module."""
    return {path: set(TEST.findall(path.read_text())) for path in sorted((ROOT / "tests").rglob("test_*.py"))}


def _figures(run: Mapping[str, Any]) -> Iterable[str]:
    yield "## Results of the last run\n"
    minutes = f"; all of it took {run['minutes']} minutes" if run["minutes"] else ""
    yield f"On {run['machine']}{minutes}. Each line can be repeated with"
    yield "`python -m tests.reliability.TRIAL --count COUNT --seed SEED`.\n"
    yield "| trial | promise | result | when |\n|---|---|---|---|"
    for trial in EVERY:
        last = run["trials"].get(trial.name)
        sentence = "**No result with this version.**" if last is None else last["sentence"]
        when = "" if last is None else "{date}, commit {commit}, count {count}, seed {seed}, {seconds} s".format(**last)
        yield f"| `{trial.name}` | {trial.promise} | {sentence} | {when} |"
    yield ""


def _promises() -> Iterable[str]:
    yield "## What other tests prove\n\n| promise | tests |\n|---|---|"
    yield from (f"| {promise} | {', '.join(f'`{located(each)}`' for each in tests)} |" for promise, tests in PROMISES)
    yield ""


def _sabotages() -> Iterable[str]:
    yield "## Could it fail at all?\n"
    yield "Each of these defects is put into a copy of the service; the trial must find it, or the run fails.\n"
    yield "| defect | in | found by |\n|---|---|---|"
    for trial in EVERY:
        yield from (f"| {each.what} | `{each.file}` | `{trial.name}` {each.count:,} |" for each in trial.sabotages)
    yield ""


def _bugs() -> Iterable[str]:
    yield "## What it has found\n"
    yield "The test, or the command, fails when the commit is reverted.\n"
    yield "| bug | test | fixed by |\n|---|---|---|"
    yield from (f"| {each.what} | `{located(each.proof)}` | {each.fixed} |" for each in BUGS)
    yield ""


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
