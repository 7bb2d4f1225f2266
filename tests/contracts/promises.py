"""Promises of a contract, and the error for one that is broken."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Iterable, Iterator

from resumable_glance.errors import Reason, Refused


class BrokenPromise(AssertionError):
    """A member of a family does not keep the family's contract; the sentence says which promise it is."""


def promised(kept: bool, sentence: str) -> None:
    if not kept:
        raise BrokenPromise(sentence)


@contextlib.contextmanager
def raises(kind: type[Exception], sentence: str) -> Iterator[None]:
    """Inside, `kind` is raised; anything else, or nothing, breaks the promise."""
    try:
        yield
    except kind:
        return
    except Exception as other:
        raise BrokenPromise(f"{sentence} (it raised {other!r})") from other
    raise BrokenPromise(f"{sentence} (nothing was raised)")


async def refused(asked: Awaitable[object], reasons: Iterable[Reason], sentence: str) -> None:
    """`asked` is refused for one of the reasons; anything else breaks the promise."""
    try:
        await asked
    except Refused as refusal:
        promised(refusal.reason in set(reasons), f"{sentence} (the reason given was {refusal.reason})")
    except Exception as other:
        raise BrokenPromise(f"{sentence} (it raised {other!r})") from other
    else:
        raise BrokenPromise(f"{sentence} (it was not refused)")
