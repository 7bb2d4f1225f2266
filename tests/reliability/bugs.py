"""What the trials, and the tests that they grew out of, have found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """`mended` is the commit that did it; `command` shows it at the one before."""

    what: str
    command: str
    mended: str


BUGS: tuple[Bug, ...] = ()
