"""Things that are slow to make and kept between runs.

The rule: what exists under its final name is complete. It is made under another name and renamed, so that an
interrupted run leaves nothing that a later run could take for the finished thing.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import ROOT

CACHE = ROOT / ".nox"


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the lock that belongs to `place`; a second process (or thread) waits here."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(place.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(place: Path, maker: Callable[[Path], None]) -> None:
    """Let `maker` make a file or directory under a temporary name beside `place`, and rename it to `place`.

    The caller holds the lock of `place`.
    """
    unfinished = place.with_name(place.name + ".unfinished")
    remove(unfinished)
    maker(unfinished)
    unfinished.rename(place)


def make_once(place: Path, maker: Callable[[Path], None]) -> Path:
    """Return `place`, made by `maker(temporary path)` unless it is there already."""
    with locked(place):
        if not place.exists():
            make(place, maker)
    return place


def remove(path: Path) -> None:
    """Remove a file or a whole directory, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
