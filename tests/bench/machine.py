"""The machine on which the figures were made."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its kind and device."""

    kind: str
    device: str


def sentence(directory: Path) -> str:
    """Return this machine in a line, with the disk of `directory`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    there = mount(directory)
    return (
        f"{os.cpu_count()} cores ({processor()}), {memory:.0f} GiB of memory, {there.kind} on {disk(there.device)}, "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.machine()


def mount(directory: Path) -> Mount:
    """Return the mount with the longest path above a directory; the later one of two with the same path."""
    found, longest = Mount("unknown", "unknown"), -1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        kind, device = after.split()[:2]
        if directory.resolve().is_relative_to(point) and len(point) >= longest:
            found, longest = Mount(kind, device), len(point)
    return found


def disk(device: str) -> str:
    """Return the kind of a disk, as far as the kernel says."""
    name = Path(device).name
    block = Path("/sys/class/block") / name
    if not block.exists():
        return device
    whole = block.resolve().parent if (block / "partition").exists() else block.resolve()
    turns = whole / "queue" / "rotational"
    kind = (
        "virtual disk" if name.startswith("vd") else "disk" if turns.read_text().strip() == "1" else "solid-state disk"
    )
    return f"a {kind} ({name})"


def commit() -> str:
    """Return the commit of the source, and whether it has changes, apart from the pages."""
    pages = (":!docs/performance.md", ":!docs/performance.json", ":!docs/performance")
    changed = _git("status", "--porcelain", "--", ".", *pages)
    return _git("rev-parse", "--short=7", "HEAD") + (" and changes" if changed else "")


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
