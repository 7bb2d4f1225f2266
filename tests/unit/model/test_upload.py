"""Records of uploads, by themselves."""

import dataclasses

import pytest

from resumable_glance.model.digests import Digest
from resumable_glance.model.ranges import Range
from resumable_glance.model.states import (
    State,
)
from resumable_glance.model.upload import Extent, Image, Owner, Upload, require

UPLOAD = Upload(
    id="a-" + "0" * 32,
    owner=Owner("project", "user"),
    size=100,
    state=State.RECEIVING,
    image=Image("11111111-2222-3333-4444-555555555555"),
    created_at=1000.0,
    updated_at=1000.0,
    expires_at=2000.0,
)


def test_an_upload_is_filled_at_its_known_size() -> None:
    assert not UPLOAD.filled
    assert dataclasses.replace(UPLOAD, received=100).filled
    assert dataclasses.replace(UPLOAD, size=0).filled
    assert not dataclasses.replace(UPLOAD, size=None).filled


def test_an_uploads_bytes_are_in_its_file_or_its_parts() -> None:
    assert UPLOAD.files == (UPLOAD.id,)
    assert dataclasses.replace(UPLOAD, parts=("a-1", "a-2")).files == ("a-1", "a-2")


def test_an_uploads_images_are_its_own_and_the_successor() -> None:
    assert UPLOAD.image is not None
    assert UPLOAD.images == (UPLOAD.image.id,)
    assert UPLOAD.with_delivery(successor="new").images == (UPLOAD.image.id, "new")
    assert dataclasses.replace(UPLOAD, image=None).images == ()


def test_a_sealed_upload_without_an_image_is_a_defect() -> None:
    assert require(0) == 0
    with pytest.raises(LookupError):
        require(None)


def test_an_extent_is_checked_by_its_checksum_if_any() -> None:
    declared, mark = Digest("md5", bytes(16)), Digest("xxh3", bytes(8))
    assert Extent(Range(0, 1), declared).check == declared
    assert Extent(Range(0, 1), declared, mark).check == mark
    assert Extent(Range(0, 1), declared, mark) == Extent(Range(0, 1), declared)
