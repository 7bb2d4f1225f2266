"""The trial of the trials: each must fail when the line that keeps its promise is taken out of the service."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import ROOT
from tests.reliability.all import TRIALS
from tests.reliability.trial import FAILED, UNAVAILABLE, Result, Sabotage, Trial, run_as_program
from tests.support.cloud import cache

AT_ONCE = 2
PATIENCE = 300  # seconds; a sabotaged service may hang for ever
SABOTAGES = [(trial, each) for trial in TRIALS for each in trial.sabotages]


def run(count: int, seed: int) -> Result:
    chosen = random.Random(seed).sample(SABOTAGES, min(count, len(SABOTAGES)))
    found, missed = 0, list[str]()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        ends = threads.map(lambda each: tried(each[0], each[1], seed), chosen)
        for (trial, each), (status, said) in zip(chosen, ends, strict=True):
            if status == UNAVAILABLE:
                print(said, flush=True)
            elif status == FAILED:
                found += 1
                print(f"{trial.name} found that in {each.file} {each.what}", flush=True)
            else:
                missed.append(
                    f"{trial.name} ended with {status} and not {FAILED}, and in {each.file} {each.what}.\n{said}"
                )
                print(missed[-1], flush=True)
    assert not missed, "\n".join(missed)
    return Result(f"{found} of {len(SABOTAGES)} sabotages tried, each was found", {"found": found})


def tried(trial: Trial, sabotage: Sabotage, seed: int) -> tuple[int, str]:
    """Run a trial on a sabotaged copy of the service; return its exit status and the end of its output."""
    with tempfile.TemporaryDirectory(prefix="sabotage-") as name:
        copy = Path(name)
        for each in ("resumable_glance", "tests"):
            shutil.copytree(ROOT / each, copy / each, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        (copy / cache.CACHE.name).symlink_to(cache.CACHE)  # else each copy would install Keystone and Glance
        spoil(copy / "resumable_glance" / sabotage.file, sabotage)
        command = [sys.executable, "-m", f"tests.reliability.{trial.name}"]
        command += ["--count", str(sabotage.count), "--seed", str(seed)]
        try:
            ended = subprocess.run(
                command, cwd=copy, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment(copy)
            )
        except subprocess.TimeoutExpired:
            return -1, f"{trial.name} did not end within {PATIENCE} s: it must notice what hangs"
        return ended.returncode, (ended.stdout + ended.stderr)[-4000:]


def spoil(file: Path, sabotage: Sabotage) -> None:
    """Sabotage a file. AssertionError if the source has changed since the sabotage was written."""
    source = file.read_text()
    assert source.count(sabotage.old) == 1, f"{sabotage.file} has {sabotage.old!r} {source.count(sabotage.old)} times"
    file.write_text(source.replace(sabotage.old, sabotage.new))


def environment(copy: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}


TRIAL = Trial(
    name="sabotage",
    promise="Each trial fails when the code that keeps its promise is missing.",
    unit="sabotages",
    share=2,
    full=len(SABOTAGES),
    deep=len(SABOTAGES),
    run=run,
)
EVERY = (*TRIALS[:2], TRIAL, *TRIALS[2:])  # the longest first

if __name__ == "__main__":
    run_as_program(TRIAL)
