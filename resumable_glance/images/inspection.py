"""Inspection of an image's format: what its bytes are, and whether Glance will take them.

Glance uses the same inspectors (oslo.utils) and rules, but only after the last byte, and then leaves the image unusable
(glance/location.py, set_data). Whatever the bytes are, the outcome is a Format or ImageRejected. It takes CPU time: run
it in a thread.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oslo_utils.imageutils import format_inspector

from resumable_glance.model.upload import FailureReason, Format, InspectionState
from resumable_glance.runtime.config import ImageFormatSettings

HEAD_LENGTH = 1024 * 1024  # bytes: enough to detect any format, and to inspect most of them completely
AUTO = "auto"  # as a disk_format: to be detected
_STEP = 64 * 1024  # bytes that an inspector is given at a time
_BOOT_CODE = {"aki", "ari"}  # kernels and ramdisks may begin with what looks like a partition table
_TAIL_CHECKS = {"footer"}  # safety checks that need more than the head
_EXPLANATIONS: Mapping[str, str] = {
    "backing_file": "it has a backing file, whose bytes are not in it",
    "data_file": "it keeps its data in another file",
    "unknown_features": "it needs unknown features of qcow2",
    "descriptor": "its descriptor is not that of a single file with all data",
    "footer": "its footer contradicts its header",
    "mbr": "its partition table is not valid",
    "banned": "its format is not supported",
    "version": "its version of LUKS is not supported",
}


class ImageRejected(Exception):
    """Glance will never take these bytes; `detail` is a sentence for people."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class FormatRules:
    """The rules of [image_format].

    `must_match`: bytes must have the declared format. `lenient`: checks of a GPT that may fail. `largest`: the maximum
    virtual size in bytes, 0 for any.
    """

    must_match: bool = True
    lenient: frozenset[str] = frozenset()
    largest: int = 0

    @classmethod
    def of(cls, settings: ImageFormatSettings) -> FormatRules:
        """Return the rules that the settings name."""
        lenient = frozenset(settings.gpt_safety_checks_nonfatal)
        return cls(settings.require_image_format_match, lenient, settings.max_virtual_size)


class Inspection:
    """The inspection of one image, whose bytes are given in order. `size` in bytes, None while it is unknown."""

    def __init__(self, format: Format, size: int | None, rules: FormatRules) -> None:
        self._format = format
        self._size = size
        self._rules = rules
        self._reader = _PieceReader()
        reader: Any = self._reader  # oslo.utils expects a real file
        self._wrapper = format_inspector.InspectWrapper(reader)
        self._length = 0  # bytes given so far

    def update(self, data: bytes) -> None:
        """Inspect the next bytes."""
        self._length += len(data)
        for start in range(0, len(data), _STEP):
            self._reader.piece = data[start : start + _STEP]
            self._wrapper.read(_STEP)

    def finish(self) -> Format:
        """Return the format of the bytes given so far. No more can be given.

        Raises:
            ImageRejected: the bytes break a rule.
        """
        whole = self._length == self._size
        state = InspectionState.FINAL if whole or self._is_settled() else InspectionState.PARTIAL
        self._wrapper.close()
        try:
            return self._conclude(whole, state)
        except ImageRejected:
            raise
        except AttributeError:  # text that begins like a VMDK descriptor: Glance takes it as raw
            return Format(self._format.declared, "raw", None, state)
        except Exception as problem:  # inspectors raise anything on bytes that they do not understand
            if not self._rules.must_match:
                return Format(self._format.declared, "raw", None, state)
            sentence = f"These bytes are not a valid image: {str(problem)[:200]}."
            raise ImageRejected(FailureReason.FORMAT_MISMATCH, sentence) from problem
        finally:
            del self._wrapper
            gc.collect(1)  # inspectors are cyclic garbage, and hold what they have seen until it is collected

    def _is_settled(self) -> bool:
        """Return whether further bytes change at most a raw image's size."""
        try:
            return self._wrapper.formats is not None
        except AttributeError:
            return True

    def _conclude(self, whole: bool, state: InspectionState) -> Format:
        matches = {str(each): each for each in self._wrapper.formats or ()}
        # A bootable ISO may have a partition table in front; any other image of two formats is an attack.
        both = matches.keys() == {"iso", "gpt"}
        inspector: Any = matches["iso"] if both else self._wrapper.format
        name = str(inspector)
        declared = self._format.declared
        if declared is None:
            declared = dataclasses.replace(self._format, detected=name).disk_format
        unknown = name == "raw" and declared not in format_inspector.ALL_FORMATS
        # An ISO with a partition table can't be declared as raw: Glance fails on that.
        fits = name == declared or (declared == "raw" and not both) or unknown
        if not fits and self._rules.must_match:
            called = "of no known format" if name == "raw" else name
            sentence = f"The image is declared as {declared}, and its bytes are {called}."
            raise ImageRejected(FailureReason.FORMAT_MISMATCH, sentence)
        size = inspector.virtual_size if name == declared != "raw" else self._size
        self._check_safety(inspector, name, declared, whole)
        if self._rules.largest and size is not None and size > self._rules.largest:
            sentence = f"The disk in the image has {size} bytes, and may have {self._rules.largest}. Ask the operator."
            raise ImageRejected(FailureReason.DISK_TOO_LARGE, sentence)
        return Format(self._format.declared, name, size or None, state)

    def _check_safety(self, inspector: Any, name: str, declared: str | None, whole: bool) -> None:
        try:
            inspector.safety_check()
        except format_inspector.ImageFormatError:  # bytes are missing
            if whole:
                raise
        except format_inspector.SafetyCheckFailed as failed:
            fatal = set(failed.failures) - (set() if whole else _TAIL_CHECKS)
            if name == "gpt":
                fatal -= self._rules.lenient | ({"mbr"} if declared in _BOOT_CODE else set())
            if fatal:
                why = ", and ".join(_EXPLANATIONS.get(each.removeprefix("inner_"), each) for each in sorted(fatal))
                raise ImageRejected(FailureReason.UNSAFE_IMAGE, f"The image is not safe to use: {why}.") from failed


class ImageHead:
    """The head of an image, to be inspected once `length` bytes are written.

    It holds no bytes: an inspector needs tens of kibibytes, and those of a slow client would stay in memory for hours.
    """

    def __init__(self, format: Format, size: int | None, rules: FormatRules) -> None:
        self.length = head_length(size)
        self.format: Format | None = None  # once it was inspected
        self._declared = format
        self._size = size
        self._rules = rules

    def inspect(self, head: bytes) -> None:
        """Set `format`. Raises ImageRejected."""
        self.format = inspect_head(head, self._declared, self._size, self._rules)


def head_length(size: int | None) -> int:
    """Return the length of the head of an image of `size` bytes."""
    return HEAD_LENGTH if size is None else min(HEAD_LENGTH, size)


def inspect_head(head: bytes, format: Format, size: int | None, rules: FormatRules) -> Format:
    """Return the format of an image with this head. Raises ImageRejected."""
    inspection = Inspection(format, size, rules)
    inspection.update(head)
    return inspection.finish()


class _PieceReader:
    """The file that InspectWrapper reads; `piece` is what the next read gives."""

    def __init__(self) -> None:
        self.piece = b""

    def read(self, _: int) -> bytes:
        return self.piece
