from __future__ import annotations

import pytest

from resumable_glance.api.protocols import image_metadata, parsing
from resumable_glance.errors import Reason, Refused


def test_properties_are_limited_as_in_glance() -> None:
    most = {f"property.p{each}": "x" for each in range(parsing.MAX_PROPERTIES)}
    assert image_metadata.requested(most).properties.items() >= {"p0": "x", "p127": "x"}.items()
    with pytest.raises(Refused) as refused:
        image_metadata.requested(most | {"property.more": "x"})
    assert refused.value.reason is Reason.MALFORMED
