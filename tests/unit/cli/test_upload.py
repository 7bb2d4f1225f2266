"""Arguments of `resumable-glance upload`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest

from resumable_glance.cli import upload as command
from resumable_glance.client import ClientError
from resumable_glance.client.image_file import ImageFile
from resumable_glance.client.plan import (
    MIB,
)

FORMATS: Mapping[tuple[str, bytes], str | None] = {
    ("disk.qcow2", b"QFI\xfb\x00\x00\x00\x03"): "qcow2",
    ("cloud.img", b"QFI\xfb\x00\x00\x00\x03"): "qcow2",  # as Ubuntu names them
    ("disk.img", b"\xeb\x63"): "raw",
    ("DISK.RAW", b""): "raw",
    ("install.iso", b"\x00" * 10): "iso",
    ("disk.vmdk", b"KDMV"): "vmdk",
    ("disk.vhd", b"conectix"): "vhd",
    ("disk", b"vhdxfile"): "vhdx",
    ("disk.vmdk", b"QFI\xfb"): None,
    ("disk", b""): None,
}


@pytest.mark.parametrize(("name", "content"), FORMATS)
def test_the_disk_format_follows_signature_and_extension(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    file = ImageFile(path)
    expected = FORMATS[name, content]
    if expected is None:
        with pytest.raises(ClientError, match="--disk-format"):
            file.disk_format()
    else:
        assert file.disk_format() == expected
    file.close()


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65536), ("64K", 65536), ("64M", 64 * MIB), ("1g", 1024 * MIB), ("1MiB", MIB)]
)
def test_sizes_are_parsed(text: str, size: int) -> None:
    assert command.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "M", "64 M", "1T", "٦٤M", "0", "1K"])
def test_invalid_sizes_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        command.parse_size(text)
