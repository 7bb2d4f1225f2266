"""What the bytes of an image are, and whether Glance will take them, told as soon as it can be told.

Glance looks with the same inspectors (oslo.utils), but speaks only after the last byte, and spoils the image with that
(glance/location.py, set_data). The rules here are its own, and so are the names of their options.
Its one rule: whatever the bytes are, nothing but a Format or an Objection comes out. Blocking; for a thread.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oslo_utils.imageutils import format_inspector

from resumable_glance.model.upload import FailureReason, Format, InspectionState
from resumable_glance.runtime.config import Settings

HEAD = 1024 * 1024  # bytes: where every format shows itself, and most of them everything
AUTO = "auto"  # as a disk_format: find out
PIECE = 64 * 1024  # bytes that an inspector is given at once
_BOOT_CODE = {"aki", "ari"}  # kernels may begin with a partition table that is none, on purpose
_TAIL = {"footer"}  # what can't be known from the head alone
_WORDS: Mapping[str, str] = {
    "backing_file": "it has a backing file, whose bytes are not in it",
    "data_file": "it keeps its data in another file",
    "unknown_features": "it needs features of qcow2 that nobody knows",
    "descriptor": "its descriptor is not that of one file which holds everything",
    "footer": "its footer says something else than its header",
    "mbr": "its partition table is not valid",
    "banned": "its format is not supported",
    "version": "its version of LUKS is not supported",
}


class ImageRejected(Exception):
    """The image will never be taken, for what its bytes are; `detail` is a sentence for a person."""

    def __init__(self, hitch: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.hitch = hitch
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of an image: `largest` is a virtual size in bytes, 0 for any; `lenient` names checks of a partition
    table that may fail.
    """

    must_match: bool = True
    lenient: frozenset[str] = frozenset()
    largest: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        lenient = frozenset(settings.image_format.gpt_safety_checks_nonfatal)
        return cls(settings.image_format.require_image_format_match, lenient, settings.image_format.max_virtual_size)


class Inspection:
    """The bytes of one image, given in order. `size` is how many it has in the end, None if that is not known."""

    def __init__(self, format: Format, size: int | None, rules: Rules) -> None:
        self._format = format
        self._size = size
        self._rules = rules
        self._feed = _Feed()
        # Any: its own types know only real files.
        self._wrapper = format_inspector.InspectWrapper(_any(self._feed))
        self._came = 0

    def feed(self, data: bytes) -> None:
        self._came += len(data)
        for start in range(0, len(data), PIECE):
            self._feed.piece = data[start : start + PIECE]
            self._wrapper.read(PIECE)

    def found(self) -> Format:
        """What these bytes are. Objection. The end: nothing can be given any more."""
        whole = self._came == self._size
        settled = whole or self._settled()
        self._wrapper.close()
        try:
            return self._judged(whole, settled)
        except ImageRejected:
            raise
        except AttributeError:  # text that begins like a VMDK and goes on otherwise: Glance takes it as it is
            return self._said("raw", None, settled)
        except Exception as problem:  # what an inspector makes of bytes is their doing
            if not self._rules.must_match:
                return self._said("raw", None, settled)
            raise ImageRejected(
                FailureReason.FORMAT_MISMATCH, f"These bytes are no image that can be understood: {str(problem)[:200]}."
            ) from problem
        finally:
            del self._wrapper
            gc.collect(1)  # inspectors refer to themselves, and would keep what they have seen until Python finds that

    def _settled(self) -> bool:
        """Whether no byte that is still to come changes what is known, but for the size of what has no format."""
        try:
            return self._wrapper.formats is not None
        except AttributeError:
            return True

    def _judged(self, whole: bool, settled: bool) -> Format:
        matches = {str(each): each for each in self._wrapper.formats or ()}
        # A bootable ISO may have a partition table in front; anything else that is two things at once is a trick.
        both = matches.keys() == {"iso", "gpt"}
        inspector: Any = matches["iso"] if both else self._wrapper.format
        name = str(inspector)
        declared = self._format.declared
        if declared is None:
            declared = dataclasses.replace(self._format, detected=name).disk_format
        unknown = name == "raw" and declared not in format_inspector.ALL_FORMATS
        # An ISO that is a disk, too, is not taken as one: Glance stumbles over that.
        fits = name == declared or (declared == "raw" and not both) or unknown
        if not fits and self._rules.must_match:
            raise ImageRejected(
                FailureReason.FORMAT_MISMATCH,
                f"The image is declared as {declared}, and its bytes are {_called(name)}.",
            )
        size = inspector.virtual_size if name == declared != "raw" else self._size
        self._check_safety(inspector, name, declared, whole)
        if self._rules.largest and size is not None and size > self._rules.largest:
            raise ImageRejected(
                FailureReason.DISK_TOO_LARGE,
                f"The disk in the image has {size} bytes, and may have {self._rules.largest}. Ask the operator.",
            )
        return self._said(name, size or None, settled)

    def _check_safety(self, inspector: Any, name: str, declared: str | None, whole: bool) -> None:
        try:
            inspector.safety_check()
        except format_inspector.ImageFormatError:  # incomplete
            if whole:
                raise
        except format_inspector.SafetyCheckFailed as failed:
            fatal = set(failed.failures) - (set() if whole else _TAIL)
            if name == "gpt":
                fatal -= self._rules.lenient | ({"mbr"} if declared in _BOOT_CODE else set())
            if fatal:
                why = ", and ".join(_WORDS.get(each.removeprefix("inner_"), each) for each in sorted(fatal))
                raise ImageRejected(FailureReason.UNSAFE_IMAGE, f"The image is not safe to use: {why}.") from failed

    def _said(self, detected: str, virtual_size: int | None, settled: bool) -> Format:
        verdict = InspectionState.FINAL if settled else InspectionState.PARTIAL
        return Format(self._format.declared, detected, virtual_size, verdict)


class Head:
    """The head of an image that is coming. Once `length` bytes of it are there it can be judged; then it is `found`.

    Nothing of it is kept in memory before: inspectors hold tens of kibibytes, and a slow client's would for hours.
    """

    def __init__(self, format: Format, size: int | None, rules: Rules) -> None:
        self.length = enough(size)
        self.found: Format | None = None
        self._format = format
        self._size = size
        self._rules = rules

    def judge(self, head: bytes) -> None:
        """Objection."""
        self.found = judged(head, self._format, self._size, self._rules)


def enough(size: int | None) -> int:
    """How many bytes the head of an image of this size has."""
    return HEAD if size is None else min(HEAD, size)


def judged(head: bytes, format: Format, size: int | None, rules: Rules) -> Format:
    """What an image with this head is. Objection."""
    inspection = Inspection(format, size, rules)
    inspection.feed(head)
    return inspection.found()


class _Feed:
    """What InspectWrapper reads: the piece that is there."""

    def __init__(self) -> None:
        self.piece = b""

    def read(self, _: int) -> bytes:
        return self.piece


def _called(name: str) -> str:
    return "of no format that is known" if name == "raw" else name


def _any(thing: object) -> Any:
    return thing
