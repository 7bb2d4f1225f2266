"""Upload ids, which become names of files."""

import pytest

from resumable_glance.storage.base import UPLOAD_ID, checked
from tests.contracts import BAD_IDS

ID = "a-" + "0" * 32


@pytest.mark.parametrize("text", BAD_IDS)
def test_a_bad_upload_id_never_becomes_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="not an upload id"):
        checked(text)


@pytest.mark.parametrize("text", [ID, "node17-" + "f" * 32, "0123456789abcdef-" + "0" * 32])
def test_an_upload_id_is_an_instance_and_128_bits(text: str) -> None:
    assert checked(text) == text
    assert UPLOAD_ID.fullmatch(text)
