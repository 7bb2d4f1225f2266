"""The images are what they claim to be."""

import hashlib
import random
from pathlib import Path

import pytest

from tests.support import images
from tests.support.images import MIB


def assert_is_a_bootable_iso(path: Path) -> None:
    with path.open("rb") as iso:
        iso.seek(0x8001)
        assert iso.read(5) == b"CD001"
        iso.seek(0x8800)  # the second volume descriptor: type 0 is a boot record
        assert iso.read(30) == b"\x00CD001\x01EL TORITO SPECIFICATION"


def test_the_iso_is_bootable() -> None:
    assert_is_a_bootable_iso(images.bootable_iso())


def test_the_iso_for_machines_without_apt_is_bootable_too(tmp_path: Path) -> None:
    images._make_iso(tmp_path / "made.iso")
    assert_is_a_bootable_iso(tmp_path / "made.iso")


def test_qemu_knows_the_qcow2_image_and_its_virtual_size() -> None:
    path = images.qcow2(64 * MIB)
    description = images.describe(path)
    assert description["format"] == "qcow2"
    assert description["virtual-size"] == 64 * MIB
    assert 16 * MIB < path.stat().st_size < 32 * MIB


def test_a_raw_disk_has_a_partition_table_and_its_size() -> None:
    path = images.raw_disk(16 * MIB)
    with path.open("rb") as disk:
        assert disk.read(512)[-2:] == b"\x55\xaa"
    assert path.stat().st_size == 16 * MIB
    assert images.describe(path)["format"] == "raw"


def test_raw_disks_are_reproducible_by_their_seed() -> None:
    first, second = (images.raw_disk(2 * MIB, seed).read_bytes() for seed in (0, 1))
    assert hashlib.sha256(first).hexdigest().startswith("b0a9179479f400bc")
    assert first != second


@pytest.mark.parametrize("size", [MIB, 2 * MIB + 1])
def test_a_disk_of_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="can't have"):
        images.raw_disk(size)


@pytest.mark.parametrize("size", [100, 512, 513, 2000])
def test_noise_never_ends_its_first_sector_as_a_disk_does(size: int) -> None:
    class Chance(random.Random):
        def randbytes(self, n: int) -> bytes:
            return (b"\xaa\x55" * n)[1 : n + 1]

    made, drawn = images.noise(Chance(), size), Chance().randbytes(size)
    assert len(made) == size
    assert made[510:512] != b"\x55\xaa"
    assert [at for at in range(size) if made[at] != drawn[at]] == ([511] if size >= 512 else [])
