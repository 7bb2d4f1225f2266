"""The virtual environments in which Keystone and Glance run, and Horizon.

They need environments of their own: their requirements are many, and our service must not see them. Each is made
once, from the pinned versions in constraints.txt or horizon.txt, and shared by all runs. Horizon has one for itself,
so that who needs none does not wait for it. To move to newer versions, empty the file, let the environment be made
again, and write the result down with `uv pip freeze --python ENVIRONMENT > tests/support/cloud/constraints.txt`.
"""

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.cloud import cache

MARKER = "made-for-resumable-glance"


@dataclass(frozen=True)
class Recipe:
    """What an environment is made of; `variable` names another place for it."""

    name: str
    title: str
    packages: tuple[str, ...]
    constraints: Path
    variable: str

    @property
    def key(self) -> str:
        made_from = self.constraints.read_text() + platform.python_version() + platform.machine()
        return hashlib.sha256(made_from.encode()).hexdigest()[:12]


# pyuwsgi is uWSGI with wheels: nothing to compile.
CLOUD = Recipe(
    "cloud",
    "Keystone and Glance",
    ("keystone", "glance", "pyuwsgi"),
    Path(__file__).with_name("constraints.txt"),
    "RESUMABLE_GLANCE_CLOUD_ENV",
)
HORIZON = Recipe(
    "horizon",
    "Horizon",
    ("horizon", "pyuwsgi"),
    Path(__file__).with_name("horizon.txt"),
    "RESUMABLE_GLANCE_HORIZON_ENV",
)


def environment(recipe: Recipe = CLOUD) -> Path:
    """Return the environment's directory, after installing it (half a minute) if it is not there yet.

    Raises FileExistsError if the recipe's variable names a directory that we did not make, and
    subprocess.CalledProcessError if the installation fails.
    """
    place = Path(os.environ.get(recipe.variable) or cache.CACHE / f"{recipe.name}-{recipe.key}").absolute()
    with cache.locked(place):
        found = _marker(place)
        if found == recipe.key:
            return place
        if found is None and place.exists():
            raise FileExistsError(f"{place} was not made by these tests; remove it or choose another")
        cache.remove(place)
        cache.make(place, lambda unfinished: _install(unfinished, recipe))
    return place


def progress(message: str) -> None:
    """Tell the person who waits what takes so long."""
    print(f"tests.support.cloud: {message}", file=sys.stderr, flush=True)


def uv(*arguments: str | Path) -> None:
    """Run uv, which installs. Raises subprocess.CalledProcessError."""
    subprocess.run([sys.executable, "-m", "uv", "--quiet", *arguments], check=True)


def _marker(place: Path) -> str | None:
    try:
        return (place / MARKER).read_text()
    except FileNotFoundError:
        return None


def _install(place: Path, recipe: Recipe) -> None:
    progress(f"installing {recipe.title} (once)")
    # Relocatable, because the environment is renamed when it is complete.
    uv("venv", "--relocatable", "--python", sys.executable, place)
    # Without compiled byte code each start of a server takes twice as long.
    constrained = ("--constraints", recipe.constraints)
    uv("pip", "install", "--compile-bytecode", "--python", place, *constrained, *recipe.packages)
    (place / MARKER).write_text(recipe.key)
