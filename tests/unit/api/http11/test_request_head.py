"""The syntax of a request's head."""

from __future__ import annotations

import pytest

from resumable_glance.api.http11 import request_head
from resumable_glance.errors import Reason, Refused


@pytest.mark.parametrize(
    ("version", "method", "target", "fields"),
    [("1.1", "GET", b"/", [(b"host", b"a:" + port)]) for port in (b"x", b"123456", b"80:80")]
    + [("1.1", "GET", b"http://[/", [(b"host", b"a")])],
)
def test_a_host_is_a_host_with_a_port(
    version: str, method: str, target: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(Refused) as refused:
        request_head.check(version, method, target, fields)
    assert refused.value.reason is Reason.MALFORMED
