"""Images of all kinds, and what is to be said of them: a table for us and for the real Glance (test_inspection.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resumable_glance.model.upload import FailureReason
from tests.support import images
from tests.support.images import MIB


@dataclass(frozen=True)
class Case:
    """`refused` is why, None if it is taken. `open`: its head does not tell everything."""

    name: str
    make: Callable[[], Path]
    declared: str
    detected: str
    virtual_size: int | None = None  # None: that of the file
    refused: FailureReason | None = None
    open: bool = False


MISMATCH, UNSAFE = FailureReason.FORMAT_MISMATCH, FailureReason.UNSAFE_IMAGE


def _converted(name: str, *options: str) -> Callable[[], Path]:
    return lambda: images.converted(name, *options)


def _made(name: str, *options: str) -> Callable[[], Path]:
    return lambda: images.made_by_qemu(name, *options)


def _disk() -> Path:
    return images.raw_disk(4 * MIB)


def _qcow2() -> Path:
    return images.qcow2(8 * MIB)


_BACKED = _made("backed.qcow2", "-f", "qcow2", "-b", "BASE", "-F", "qcow2")
_DATA_FILE = _made("data-file.qcow2", "-f", "qcow2", "-o", "data_file=DATA")
_VMDK = _converted("disk.vmdk", "-O", "vmdk")
_STREAM = _converted("stream.vmdk", "-O", "vmdk", "-o", "subformat=streamOptimized")
_FLAT = _made("flat.vmdk", "-f", "vmdk", "-o", "subformat=monolithicFlat")
_VDI = _converted("disk.vdi", "-O", "vdi")
_VHD = _converted("dynamic.vhd", "-O", "vpc")
_FIXED_VHD = _converted("fixed.vhd", "-O", "vpc", "-o", "subformat=fixed")
_VHDX = _converted("disk.vhdx", "-O", "vhdx")
_SLOW_KEY = "key-secret=s,iter-time=10,hash-alg=ripemd160"
_LUKS = _made("disk.luks", "--object", "secret,id=s,data=x", "-f", "luks", "-o", _SLOW_KEY)
_QED = _made("disk.qed", "-f", "qed")

CASES = [
    Case("a disk", _disk, "raw", "gpt"),
    Case("a qcow2", _qcow2, "qcow2", "qcow2", 8 * MIB),
    Case("a qcow2 as raw", _qcow2, "raw", "qcow2"),
    Case("a qcow2 as vmdk", _qcow2, "vmdk", "qcow2", refused=MISMATCH),
    Case("a disk as qcow2", _disk, "qcow2", "gpt", refused=MISMATCH),
    Case("a qcow2 with a backing file", _BACKED, "qcow2", "qcow2", refused=UNSAFE),
    Case("a qcow2 with a backing file, as raw", _BACKED, "raw", "qcow2", refused=UNSAFE),
    Case("a qcow2 with a data file", _DATA_FILE, "qcow2", "qcow2", refused=UNSAFE),
    Case("a bootable ISO", images.bootable_iso, "iso", "iso", 1730560),
    Case("a bootable ISO as raw", images.bootable_iso, "raw", "iso", refused=MISMATCH),
    Case("a VMDK", _VMDK, "vmdk", "vmdk", 8 * MIB),
    Case("a VMDK as a stream", _STREAM, "vmdk", "vmdk", 8 * MIB),
    Case("a VMDK of two files", _FLAT, "vmdk", "vmdk", refused=UNSAFE),
    Case("a VMDK that points elsewhere", images.vmdk_that_points_elsewhere, "vmdk", "vmdk", refused=UNSAFE),
    Case("a VMDK with a footer", lambda: images.vmdk_with_footer(honest=True), "vmdk", "vmdk", 8 * MIB, open=True),
    Case("a VMDK with a false footer", lambda: images.vmdk_with_footer(honest=False), "vmdk", "vmdk", 8 * MIB, UNSAFE,
         open=True),
    Case("a VDI", _VDI, "vdi", "vdi", 8 * MIB),
    Case("a dynamic VHD", _VHD, "vhd", "vhd", 8390656),
    Case("a fixed VHD, which only its end tells", _FIXED_VHD, "vhd", "gpt", refused=MISMATCH),
    Case("a VHDX", _VHDX, "vhdx", "vhdx", 8 * MIB, open=True),
    Case("a VHDX as qcow2", _VHDX, "qcow2", "vhdx", refused=MISMATCH),
    Case("a LUKS volume as raw", _LUKS, "raw", "luks"),
    Case("a QED as raw", _QED, "raw", "qed", refused=UNSAFE),
    Case("a qcow2 as ami", _qcow2, "ami", "qcow2", refused=MISMATCH),
]  # fmt: skip
