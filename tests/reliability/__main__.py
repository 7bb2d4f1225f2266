"""The full reliability run: every trial, two at a time, and the page with their figures.

python3 noxfile.py -s reliability                         # at most 45 minutes on two cores
python3 noxfile.py -s reliability -- --deep               # a day or two
python3 noxfile.py -s reliability -- --only kills power   # and no page
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.reliability import page
from tests.reliability.sabotage import EVERY
from tests.reliability.trial import Trial

AT_ONCE = 2


class Run:
    """Runs each trial as a process with a log in `logs`, and publishes its result at once."""

    def __init__(self, logs: Path, seed: int, deep: bool) -> None:
        self.failed = 0
        self._logs = logs
        self._seed = seed
        self._deep = deep
        self._commit = page.commit()
        self._publishing = threading.Lock()
        self._console = Console(highlight=False, soft_wrap=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self._console)

    def all(self, trials: Iterable[Trial]) -> None:
        """Run trials: first those that need the machine to themselves."""
        trials = list(trials)
        with self._progress:
            for each in trials:
                if each.alone:
                    self._one(each)
            with ThreadPoolExecutor(AT_ONCE) as threads:
                list(threads.map(self._one, (each for each in trials if not each.alone)))

    def _one(self, trial: Trial) -> None:
        count = trial.deep if self._deep else trial.full
        task = self._progress.add_task(f"{trial.name}: {count:,} {trial.unit}", total=None)
        log, result = self._logs / f"{trial.name}.log", self._logs / f"{trial.name}.json"
        command = [sys.executable, "-m", f"tests.reliability.{trial.name}"]
        command += ["--count", str(count), "--seed", str(self._seed), "--result", str(result)]
        began = time.monotonic()
        with log.open("w") as output:
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        seconds = round(time.monotonic() - began)
        self._progress.remove_task(task)
        if status:
            self._publish(trial, None)
            said = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
            self._console.print(f"FAILED {trial.name} with status {status} after {seconds} s", style="red")
            self._console.print(said, markup=False)
            return
        sentence = json.loads(result.read_text())["sentence"]
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        self._publish(trial, page.Reached(sentence, count, self._seed, seconds, today, self._commit))
        self._console.print(f"{trial.name} ({seconds} s): {sentence}", markup=False)

    def _publish(self, trial: Trial, reached: page.Reached | None) -> None:
        with self._publishing:
            self.failed += reached is None
            page.publish({trial.name: reached})


def main() -> int:
    parser = argparse.ArgumentParser(
        "python3 noxfile.py -s reliability --",
        description="Run every trial, two at a time, and make docs/reliability.md of the results.",
    )
    parser.add_argument("--deep", action="store_true", help="the counts of the deep run")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", nargs="+", choices=[each.name for each in EVERY], metavar="TRIAL", default=[])
    arguments = parser.parse_args()
    trials = [each for each in EVERY if each.name in arguments.only or not arguments.only]
    logs = Path(tempfile.mkdtemp(prefix="reliability-"))
    print(f"{len(trials)} trials with seed {arguments.seed}; their logs are in {logs}", flush=True)
    began = time.monotonic()
    run = Run(logs, arguments.seed, arguments.deep)
    run.all(trials)
    if not arguments.only:
        page.publish({}, round((time.monotonic() - began) / 60))
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
