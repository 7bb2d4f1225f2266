"""What a developer runs. Needs nothing but Python: `python3 noxfile.py -s demo`, or `-s tests`, or `-l` for all.

Where nox is not installed, this file makes an environment of its own for it in .nox/bootstrap.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent
if sys.version_info < (3, 11):
    sys.exit(f"resumable-glance needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")

try:
    import nox
except ImportError:
    bootstrap = ROOT / ".nox" / "bootstrap"
    python = bootstrap / "bin" / "python"
    if not (bootstrap / "ready").exists():
        print("Making an environment for nox in .nox/bootstrap (once) ...", file=sys.stderr)
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", bootstrap], check=True)
        except subprocess.CalledProcessError:
            sys.exit("Python's venv module does not work here. On Debian or Ubuntu: apt install python3-venv")
        requirements = ["-c", ROOT / "tests" / "constraints.txt", "nox", "uv"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (bootstrap / "ready").touch()
    os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])

CONSTRAINTS = "tests/constraints.txt"
# The tests of what is pure: they alone have to reach every branch of model/, api/protocols/ and handoff/plan.py.
PURE = ["tests/unit/model", "tests/unit/api/protocols", "tests/unit/handoff/test_plan.py"]
COVERED = "resumable_glance/model/*,resumable_glance/api/protocols/*,resumable_glance/handoff/plan.py"
nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "tests"]


def install(session: nox.Session, *extras: str) -> None:
    """Install the project, editable, with its service and further extras of pyproject.toml."""
    session.install("--quiet", "-c", CONSTRAINTS, "-e", f".[{','.join(('server', *extras))}]")


@nox.session
def demo(session: nox.Session) -> None:
    """The main job, seen: an image through broken connections and a crash into a real Glance (-- --help)."""
    install(session, "test")
    session.run("python", "-m", "tests.demo", *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """The tests of modules, in a minute; the others need more than Python (-- goes to pytest)."""
    install(session, "test")
    session.run("pytest", "--numprocesses=2", "tests/unit", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Every test; what follows -- goes to pytest."""
    install(session, "test")
    if session.posargs:
        session.run("pytest", *session.posargs, env={"PYTHONUNBUFFERED": "1"})
        return
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *PURE)
    session.run("coverage", "report", f"--include={COVERED}", "--fail-under=100", "--skip-covered")
    others = [f"--ignore={each}" for each in PURE]
    session.run("pytest", "--numprocesses=2", *others, env={"PYTHONUNBUFFERED": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, mypy --strict, the direction of imports, and that what is generated is up to date."""
    install(session, "test", "lint", "docs")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("python", "-m", "tests.generated", "--check")
    session.run("python", "-m", "tests.javascript", "--check")
    session.run("sphinx-build", "-q", "-W", "-b", "html", "docs", "docs/_build/html")


@nox.session
def generate(session: nox.Session) -> None:
    """Make again what is generated: sample configuration and policy, docs/reliability.md, js_client/dist."""
    install(session, "test")
    session.run("python", "-m", "tests.generated")
    session.run("python", "-m", "tests.javascript")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in docs/_build/html."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build/html")


@nox.session
def memory(session: nox.Session) -> None:
    """How much the service's memory grows while 2 GiB are uploaded."""
    install(session, "test")
    session.run("python", "-m", "tests.memory", *session.posargs)


@nox.session
def reliability(session: nox.Session) -> None:
    """Everything that can go wrong, until the promises hold for 45 minutes; makes docs/reliability.md (-- --help)."""
    install(session, "test")
    session.run("python", "-m", "tests.reliability", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """How fast it is, beside others, in 25 minutes on a quiet machine; makes docs/performance.md (-- --help)."""
    install(session, "test", "bench")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    """Take the newest versions of everything that we install into tests/constraints.txt."""
    session.install("uv")
    session.run("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--upgrade",
                "--no-header", "--no-annotate", "--all-extras", "--output-file", CONSTRAINTS,
                "pyproject.toml", "tests/tools.in")  # fmt: skip


if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, "-m", "nox", "-f", __file__, *sys.argv[1:]]))
