"""Failing system calls of the running service, by strace: the disk is full, broken or read-only, once or for good."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.load import Load
from tests.reliability.quick import QuickService, quick
from tests.reliability.trial import Missing, Result, Sabotage, Trial, run_as_program
from tests.support import process
from tests.support.images import apt_get
from tests.support.launcher import panel_of

LONGEST_LIFE = 0.4  # seconds
LONGEST_DELAY = 60  # seconds until a failed handoff is retried
CATALOG = [f"catalog.sqlite{suffix}" for suffix in ("", "-wal", "-shm", "-journal")]
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS")
CALLS = {
    "scratch": ("fdatasync", "pwrite64", "pread64"),
    "catalog": ("fdatasync", "fsync", "pwrite64", "pread64", "ftruncate", "openat"),
    "anything": ("fdatasync", "fsync", "pwrite64", "pread64", "ftruncate", "unlink", "rename"),
}


@dataclass(frozen=True)
class Fault:
    """The `first` such call of a thread fails; if `lasting`, every later one too."""

    target: str
    call: str
    error: str
    first: int
    lasting: bool

    def options(self, paths: Sequence[Path]) -> list[str]:
        when = f"{self.first}{'+' if self.lasting else ''}"
        of = [word for path in paths for word in ("-P", str(path))]
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:error={self.error}:when={when}", *of]


NO_FLUSH = Fault("scratch", "fdatasync", "EIO", first=1, lasting=True)
NO_WRITE = Fault("scratch", "pwrite64", "ENOSPC", first=1, lasting=True)


def run(count: int, seed: int) -> Result:
    _check_machine()
    chance = random.Random(seed)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        directory = Path(name) / "service"
        with contextlib.closing(quick(directory, directory / "state")) as service:
            load = Load(service, directory / "state", seed, defects=True)
            load.start()
            failed = 0
            for fault in _faults(count, chance):
                try:
                    failed += _live_with(fault, load, service, chance)
                    load.start()
                except AssertionError as problem:
                    problem.add_note(f"after {fault}")
                    raise
            load.finish()
    return Result(
        f"{count:,} faults of the disk ({failed:,} failing system calls) led to no false acknowledgement, no hang and "
        f"no crash loop ({load.acknowledgements:,} acknowledgements and {load.checked:,} images checked)",
        {"faults": count, "failed_calls": failed, "acknowledgements": load.acknowledgements, "images": load.checked},
    )


def _faults(count: int, chance: random.Random) -> Iterator[Fault]:
    """Yield faults: first of all flushes, then of all writes, then random ones with each call equally often."""
    others = [(target, call) for target, calls in CALLS.items() for call in calls]
    chance.shuffle(others)
    yield from (NO_FLUSH, NO_WRITE)[:count]
    for target, call in itertools.islice(itertools.cycle(others), max(0, count - 2)):
        yield Fault(target, call, chance.choice(ERRORS), chance.randint(1, 4), chance.random() < 0.5)


def _live_with(fault: Fault, load: Load, service: QuickService, chance: random.Random) -> int:
    """Run the service without the fault, then with it, check all uploads, and end it.

    Return how many calls have failed.
    """
    with load.running(failing=True) as life:
        time.sleep(chance.random() * LONGEST_LIFE / 4)
        life.over.set()
    load.check()
    known = [each.upload for each in load.clients if each.upload]
    before = {each.id: list(each.acknowledged) for each in known}
    paths = {
        "scratch": [load.scratch / f"{each.id}.upload" for each in known if each.missing],
        "catalog": [load.scratch.parent.parent / each for each in CATALOG],
        "anything": [],
    }
    with _traced(service, fault.options(paths[fault.target])), load.running(failing=True) as life:
        time.sleep(LONGEST_LIFE / 2 * (1 + chance.random()))
        life.over.set()
    if fault in {NO_FLUSH, NO_WRITE}:
        for each in known:
            assert each.acknowledged == before[each.id], f"{fault}, but {before[each.id]} became {each}"
    load.check()
    assert chance.random() < 0.5 or service.stop() == 0, f"it can't be stopped\n{process.tail(service.log)}"
    service.kill()
    panel_of(service.directory).advance(LONGEST_DELAY)
    return _calls(service).read_text().count("(INJECTED)")


@contextlib.contextmanager
def _traced(service: QuickService, options: Sequence[str]) -> Iterator[None]:
    """Attach strace with these options to the service."""
    strace = shutil.which("strace") or "strace"
    log = service.directory / "strace.log"
    command = [strace, "-f", "-qq", "-o", str(_calls(service)), *options, "-p", str(service.pid)]
    tracing = process.launch(command, log=log)
    try:
        deadline = time.monotonic() + process.STOP_SECONDS
        while not all(_is_traced(each) for each in Path(f"/proc/{service.pid}/task").iterdir()):
            if tracing.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"strace can't be attached to another process: {process.tail(log)}")
            time.sleep(0.002)
        yield
    finally:
        process.end(tracing, signal.SIGTERM)


def _calls(service: QuickService) -> Path:
    return service.directory / "calls"


def _is_traced(task: Path) -> bool:
    return "TracerPid:\t0\n" not in (task / "status").read_text()


def _check_machine() -> None:
    if not shutil.which("strace") and os.getuid() == 0 and shutil.which("apt-get"):
        with contextlib.suppress(subprocess.CalledProcessError):
            apt_get("install", "--yes", "--no-install-recommends", "strace")
    if not shutil.which("strace"):
        raise Missing("strace is missing (Debian: apt install strace)")


TRIAL = Trial(
    name="faults_by_strace",
    promise="A system call that fails leads to no false acknowledgement, and what was acknowledged can be completed.",
    unit="faults of the disk",
    share=4,
    full=60,
    deep=500,
    run=run,
    sabotages=(
        Sabotage(
            "a failed flush is taken for a success",
            "storage/local.py",
            "    os.fdatasync(descriptor)\n",
            "    with contextlib.suppress(OSError):\n        os.fdatasync(descriptor)\n",
            count=3,
        ),
        Sabotage(
            "a failed write is taken for a success",
            "storage/local.py",
            "        written = os.pwrite(descriptor, rest, position)\n",
            "        try:\n            written = os.pwrite(descriptor, rest, position)\n"
            "        except OSError:\n            return\n",
            count=4,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)
