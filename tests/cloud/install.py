"""The virtual environment in which Keystone and Glance run.

They need an environment of their own: their requirements are many, and our service must not see them. It is
made once, from the pinned versions in constraints.txt, and shared by all runs. To move to newer versions,
empty constraints.txt, let it be made again, and write the result down with
`uv pip freeze --python ENVIRONMENT > tests/cloud/constraints.txt`.
"""

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from tests.cloud import cache

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
LOCATION_VARIABLE = "RESUMABLE_GLANCE_CLOUD_ENV"
PACKAGES = ("keystone", "glance", "pyuwsgi")  # pyuwsgi is uWSGI with wheels: nothing to compile
MARKER = "made-for-resumable-glance"


def environment() -> Path:
    """Return the environment's directory, after installing it (half a minute) if it is not there yet.

    Raises FileExistsError if RESUMABLE_GLANCE_CLOUD_ENV names a directory that we did not make, and
    subprocess.CalledProcessError if the installation fails.
    """
    key = _key()
    place = Path(os.environ.get(LOCATION_VARIABLE) or cache.CACHE / f"cloud-{key}").absolute()
    with cache.locked(place):
        found = _marker(place)
        if found == key:
            return place
        if found is None and place.exists():
            raise FileExistsError(f"{place} was not made by these tests; remove it or choose another")
        cache.remove(place)
        cache.make(place, _install)
    return place


def progress(message: str) -> None:
    """Tell the person who waits what takes so long."""
    print(f"tests.cloud: {message}", file=sys.stderr, flush=True)


def _key() -> str:
    made_from = CONSTRAINTS.read_text() + platform.python_version() + platform.machine()
    return hashlib.sha256(made_from.encode()).hexdigest()[:12]


def _marker(place: Path) -> str | None:
    try:
        return (place / MARKER).read_text()
    except FileNotFoundError:
        return None


def _install(place: Path) -> None:
    progress("installing Keystone and Glance (once)")
    # Relocatable, because the environment is renamed when it is complete.
    _uv("venv", "--relocatable", "--python", sys.executable, place)
    # Without compiled byte code each start of a server takes twice as long.
    _uv("pip", "install", "--compile-bytecode", "--python", place, "--constraints", CONSTRAINTS, *PACKAGES)
    (place / MARKER).write_text(_key())


def _uv(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "uv", "--quiet", *arguments], check=True)
