"""Real images for tests, made once and kept in .nox/images.

Where a tool is missing, it is installed or the reason is raised; nothing is skipped in silence.
"""

import json
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycdlib
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.cloud.cache import CACHE, make_once

IMAGES = CACHE / "images"
MIB = 1024 * 1024
SECTOR = 512

# Two bytes of x86 that jump to themselves: the least that a machine can boot.
BOOT_CODE = b"\xeb\xfe".ljust(2046, b"\x00") + b"\x55\xaa"


def bootable_iso() -> Path:
    """Return a bootable ISO 9660 image (about 2 MiB).

    It is the one of Debian's package ipxe: like the installers of all distributions it also starts from a USB
    stick, so it has a partition table too, which inspectors must cope with. Without apt a plain ISO is made.
    """
    has_apt = shutil.which("apt-get") and shutil.which("dpkg-deb")
    return _image("bootable.iso", _unpack_ipxe_iso if has_apt else _make_iso)


def installer_iso(size: int) -> Path:
    """Return a bootable ISO 9660 image with a file of `size` bytes in it, as installers have them."""

    def write(path: Path) -> None:
        with tempfile.NamedTemporaryFile(dir=path.parent) as content:
            _write_random(content.write, size, seed=size)
            content.flush()
            _make_iso(path, content.name)

    return _image(f"installer-{size}.iso", write)


def raw_disk(size: int, seed: int = 0) -> Path:
    """Return a disk of `size` bytes (whole sectors, more than 1 MiB): one partition full of random data.

    The same size and seed give the same bytes, on every machine.
    """
    if size % SECTOR or size <= MIB:
        raise ValueError(f"a disk can't have {size} bytes")

    def write(path: Path) -> None:
        with path.open("wb") as disk:
            disk.write(_partition_table(size).ljust(MIB, b"\x00"))
            _write_random(disk.write, size - MIB, seed)

    return _image(f"disk-{size}-{seed}.raw", write)


def qcow2(size: int) -> Path:
    """Return a qcow2 image with a virtual size of `size` bytes (whole sectors, at least 4 MiB).

    A quarter of the disk is random data, some is text, and the rest was never written.
    """
    if size % SECTOR or size < 4 * MIB:
        raise ValueError(f"a qcow2 image of {size} bytes is not for these tests")

    def convert(path: Path) -> None:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".raw") as raw:
            raw.write(_partition_table(size))
            raw.seek(MIB)
            raw.writelines(b"line %d of a log file\n" % number for number in range(10_000))
            raw.seek(size // 2)
            _write_random(raw.write, size // 4, seed=size)
            raw.truncate(size)
            raw.flush()
            subprocess.run([qemu_img(), "convert", "-f", "raw", "-O", "qcow2", raw.name, path], check=True)

    return _image(f"disk-{size}.qcow2", convert)


def made_by_qemu(name: str, *options: str, size: int = 8 * MIB) -> Path:
    """Return an empty image that `qemu-img create OPTIONS` has made.

    BASE in an option is a qcow2 image of 8 MiB beside it, DATA a file that is to be.
    """

    def make(path: Path) -> None:
        base = qcow2(8 * MIB)
        known = {"BASE": str(base), "DATA": f"{path}.data"}
        words = [re.sub("BASE|DATA", lambda word: known[word[0]], each) for each in options]
        _create(*words, path, *([] if "BASE" in "".join(options) else [str(size)]))

    return _image(name, make)


def converted(name: str, *options: str) -> Path:
    """Return what `qemu-img convert OPTIONS` makes of a qcow2 image of 8 MiB."""

    def make(path: Path) -> None:
        subprocess.run([qemu_img(), "convert", "-f", "qcow2", *options, qcow2(8 * MIB), path], check=True)

    return _image(name, make)


def vmdk_with_footer(*, honest: bool) -> Path:
    """Return a VMDK whose footer says where its data is; if it is not honest, that names another descriptor, too."""

    def make(path: Path) -> None:
        content = bytearray(converted("stream.vmdk", "-O", "vmdk", "-o", "subformat=streamOptimized").read_bytes())
        footer = bytearray(content[:SECTOR])
        content[56:64] = b"\xff" * 8
        if not honest:
            footer[28:36] = struct.pack("<Q", 7)
        marker = struct.pack("<QII", 1, 0, 3).ljust(SECTOR, b"\0")
        path.write_bytes(content + marker + footer + bytes(SECTOR))

    return _image("footer.vmdk" if honest else "false-footer.vmdk", make)


def vmdk_that_points_elsewhere() -> Path:
    """Return a VMDK of one file whose descriptor names another one, by its path."""

    def make(path: Path) -> None:
        content = converted("disk.vmdk", "-O", "vmdk").read_bytes()
        assert content.count(b'SPARSE "') == 1
        path.write_bytes(re.sub(rb'SPARSE "..', b'SPARSE "/e', content))

    return _image("elsewhere.vmdk", make)


def describe(path: Path) -> dict[str, Any]:
    """Return what `qemu-img info` says about an image: "format", "virtual-size" in bytes and more."""
    command: list[str | Path] = [qemu_img(), "info", "--output=json", path]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    description: dict[str, Any] = json.loads(answer.stdout)
    return description


def qemu_img() -> Path:
    """Return the program qemu-img; where it is missing, and we may, it is installed first.

    Raises RuntimeError that says what to install where we may not.
    """
    found = shutil.which("qemu-img")
    if not found and os.getuid() == 0 and shutil.which("apt-get"):
        apt_get("install", "--yes", "--no-install-recommends", "qemu-utils")
        found = shutil.which("qemu-img")
    if not found:
        raise RuntimeError("qemu-img is missing: install qemu-utils (Debian) or qemu-img (Fedora)")
    return Path(found)


def looks_like_qcow2(content: bytes) -> bytes:
    """The same bytes, but the first sector is that of a qcow2 image with a disk of 8 GiB."""
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 8 * 1024 * MIB)
    return header.ljust(SECTOR, b"\0") + content[SECTOR:]


def noise(chance: random.Random, size: int) -> bytes:
    """Random bytes that are no image. One in 65,536 would begin like a disk with a broken partition table: unsafe."""
    content = chance.randbytes(size)
    return content[:511] + b"\0" + content[512:] if content[510:512] == BOOT_CODE[-2:] else content


def _create(*arguments: str | Path, tries: int = 20) -> None:
    """Run `qemu-img create`.

    For LUKS it measures how long a key takes, and gives up when not one tick of the clock passes meanwhile; how often
    that happens is up to the processor and luck, so it is tried again.
    """
    run = subprocess.run([qemu_img(), "create", "-q", *arguments], stderr=subprocess.PIPE, text=True)
    if "accurate CPU usage" in run.stderr and tries > 1:
        _create(*arguments, tries=tries - 1)
    elif run.returncode:
        raise RuntimeError(f"qemu-img create {arguments}: {run.stderr}")


def _image(name: str, maker: Callable[[Path], None]) -> Path:
    return make_once(IMAGES / name, maker)


def _partition_table(size: int) -> bytes:
    """Return the first sector of a disk of `size` bytes: an MBR with one partition from 1 MiB to the end."""
    first = MIB // SECTOR
    # Status, first sector the old way, type (Linux), last sector the old way, first sector, sectors.
    linux = struct.pack("<B3sB3sII", 0x80, b"\xff" * 3, 0x83, b"\xff" * 3, first, size // SECTOR - first)
    return linux.rjust(446 + len(linux), b"\x00").ljust(510, b"\x00") + b"\x55\xaa"


def _write_random(write: Callable[[bytes], object], size: int, seed: int) -> None:
    """Write `size` bytes that look random and never repeat (AES in counter mode: gigabytes per second)."""
    key = random.Random(seed).randbytes(16)
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    for start in range(0, size, MIB):
        write(stream.update(bytes(min(MIB, size - start))))


def _unpack_ipxe_iso(path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # As root, apt would otherwise complain that its own user can't write here.
        apt_get("download", "--option=APT::Sandbox::User=root", "ipxe", directory=directory)
        (package,) = directory.glob("ipxe_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, directory / "ipxe"], check=True)
        shutil.copyfile(directory / "ipxe/usr/lib/ipxe/ipxe.iso", path)


def _make_iso(path: Path, content: str | None = None) -> None:
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="BOOTABLE")
    with tempfile.NamedTemporaryFile() as boot:
        boot.write(BOOT_CODE)
        boot.flush()
        iso.add_file(boot.name, "/BOOT.;1")
        iso.add_eltorito("/BOOT.;1", bootcatfile="/BOOT.CAT;1")
        if content is not None:
            iso.add_file(content, "/CONTENT.;1")
        iso.write(str(path))
    iso.close()


def apt_get(*arguments: str, directory: Path | None = None) -> None:
    """Run apt-get. If that fails its lists may be missing or old: then root gets new ones and tries again."""
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}

    def run(*arguments: str) -> None:
        command = ["apt-get", "-qq", "--option=DPkg::Lock::Timeout=120", *arguments]
        subprocess.run(command, cwd=directory, env=variables, check=True, stdout=subprocess.DEVNULL)

    try:
        run(*arguments)
    except subprocess.CalledProcessError:
        if os.getuid():
            raise
        run("update")
        run(*arguments)
