"""docs/reliability.md, made from what the last full run has written down in docs/reliability.json."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from tests import ROOT
from tests.reliability.bugs import BUGS
from tests.reliability.sabotage import EVERY

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
PROMISES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "A request that stalls or has died never holds an upload: whoever asks next has the true offset, and what the "
        "old one still sends never lands.",
        (
            "tests/http/test_native.py::test_a_newer_chunk_takes_over_from_a_stalled_one",
            "tests/http/test_rivals.py::test_a_superseded_request_writes_nothing_more",
        ),
    ),
    (
        "A chunk of another range neither waits for a stalled one nor ends it; nor does a question.",
        ("tests/http/test_native.py::test_a_stalled_chunk_delays_no_other_request",),
    ),
    (
        "A chunk with a declared digest is kept as a whole or not at all.",
        ("tests/unit/uploads/test_chunk_writer.py::test_a_superseded_request_with_a_digest_keeps_nothing",),
    ),
    (
        "A project has no more uploads, bytes and creations than it may, nor more than fits into Glance's quota.",
        (
            "tests/unit/uploads/test_capacity.py::test_two_creations_at_once_are_not_both_the_last_one",
            "tests/openstack/test_quota.py::test_an_image_over_quota_is_refused_before_it_is_made",
        ),
    ),
    (
        "What is sealed, being handed over, or has failed never expires.",
        ("tests/unit/uploads/test_cleanup.py::test_sealed_and_failed_uploads_never_expire",),
    ),
    (
        "An image that was made for an upload goes with it, even after a crash or without Glance; an adopted one "
        "stays.",
        (
            "tests/unit/uploads/test_cleanup.py::test_an_image_that_was_made_right_before_a_crash_is_removed",
            "tests/unit/uploads/test_cleanup.py::test_an_image_that_the_client_made_is_never_removed",
        ),
    ),
    (
        "The janitor can be killed anywhere.",
        ("tests/unit/uploads/test_cleanup.py::test_a_cleaner_stopped_anywhere_continues",),
    ),
    (
        "A second process on the same scratch directory refuses to start.",
        ("tests/http/test_native.py::test_a_second_process_on_the_same_storage_does_not_start",),
    ),
    (
        "A Keystone or Glance that hangs holds up neither scratch nor a stop.",
        (
            "tests/unit/auth/test_keystone.py::test_a_hanging_keystone_holds_no_thread_of_storage",
            "tests/openstack/test_uploads.py::test_a_hanging_glance_delays_no_stop",
        ),
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Reached:
    """What a trial has done without a failure, in its own words, and what it takes to see that again."""

    sentence: str
    count: int
    seed: int
    seconds: int
    date: str
    commit: str


def publish(tried: Mapping[str, Reached | None], minutes: int | None = None) -> None:
    """Write down what these trials have reached, or that they have not, and make the page. All: in so many minutes."""
    run = json.loads(RECORD.read_text()) if RECORD.exists() else {"trials": {}, "minutes": None}
    run["machine"] = f"{os.cpu_count()} cores, Linux, Python {platform.python_version()}"
    run["minutes"] = minutes or run["minutes"]
    run["trials"] |= {name: each and dataclasses.asdict(each) for name, each in tried.items()}
    RECORD.write_text(json.dumps(run, indent=1) + "\n")
    PAGE.write_text(render())


def commit() -> str:
    """Which source this is."""
    changed = _git("status", "--porcelain", "--", ".", *(f":!docs/{each.name}" for each in (RECORD, PAGE)))
    return _git("rev-parse", "--short=7", "HEAD") + (" and changes" if changed else "")


def render() -> str:
    """The page of what is on record."""
    run = json.loads(RECORD.read_text())
    return "\n".join([HEAD, *_figures(run), *_promises(), *_sabotages(), *_bugs(), NOT_PROMISED])


def _figures(run: Mapping[str, Any]) -> Iterable[str]:
    yield "## What the last run has reached\n"
    minutes = f"; all of it took {run['minutes']} minutes there" if run["minutes"] else ""
    yield f"On {run['machine']}{minutes}. Each line can be had again by"
    yield "`python -m tests.reliability.TRIAL --count COUNT --seed SEED`.\n"
    yield "| trial | promise | reached | when |\n|---|---|---|---|"
    for trial in EVERY:
        last = run["trials"].get(trial.name)
        sentence = "**Not reached yet with this version.**" if last is None else last["sentence"]
        when = "" if last is None else "{date}, commit {commit}, count {count}, seed {seed}, {seconds} s".format(**last)
        yield f"| `{trial.name}` | {trial.promise} | {sentence} | {when} |"
    yield ""


def _promises() -> Iterable[str]:
    yield "## What other tests prove\n\n| promise | tests |\n|---|---|"
    yield from (f"| {promise} | {', '.join(f'`{each}`' for each in tests)} |" for promise, tests in PROMISES)
    yield ""


def _sabotages() -> Iterable[str]:
    yield "## Could it fail at all?\n"
    yield "Each of these is done to a copy of the service; the trial must notice, or the run fails.\n"
    yield "| what is wrong then | in | noticed by |\n|---|---|---|"
    for trial in EVERY:
        yield from (f"| {each.what} | `{each.file}` | `{trial.name}` {each.count:,} |" for each in trial.sabotages)
    yield ""


def _bugs() -> Iterable[str]:
    yield "## What it has found\n"
    yield "The test, or the command, fails when the commit is undone.\n"
    yield "| what was wrong | how to see it | mended by |\n|---|---|---|"
    yield from (f"| {each.what} | `{each.proof}` | {each.mended} |" for each in BUGS)
    yield ""


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
