"""The headers that CORS allows are those that the protocols read and send."""

from __future__ import annotations

import contextlib
import json
from collections import UserDict

import pytest

from resumable_glance.api.cors import REQUEST_HEADERS, RESPONSE_HEADERS
from resumable_glance.api.protocols import native, rufh, tus
from resumable_glance.api.protocols.base import RequestContext, RequestHead, WireProtocol
from resumable_glance.errors import Refused
from tests import ROOT

# A page may always send and read these, or browsers keep them to themselves.
UNLISTED_REQUEST = {"content-encoding", "content-length", "transfer-encoding"}
UNLISTED_RESPONSE = {
    "Cache-Control", "Content-Length", "Content-Security-Policy", "Content-Type", "X-Content-Type-Options",
}  # fmt: skip
EACH = [pytest.param(each.__name__.rpartition(".")[2], each) for each in (native, tus, rufh)]


class Recorder(UserDict[str, tuple[str, ...]]):
    """Headers that record which of them were looked up."""

    def __init__(self, headers: list[list[str]]) -> None:
        super().__init__({name.lower(): (value,) for name, value in headers})
        self.read: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> tuple[str, ...]:
        self.read.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize(("name", "protocol"), EACH)
def test_pages_may_send_all_headers_that_a_protocol_reads(name: str, protocol: WireProtocol) -> None:
    vectors = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())
    read: set[str] = set()
    for vector in vectors["requests"]:
        request = vector["request"]
        headers = Recorder(request["headers"])
        head = RequestHead(request["method"], request["upload_id"], headers, request["query"], request.get("aspect"))
        with contextlib.suppress(Refused):
            protocol.parse(head, request["body"].encode(), RequestContext(**vectors["place"]))
        read |= headers.read
    own = {each.lower() for each in protocol.REQUEST_HEADERS.split()}
    assert read - UNLISTED_REQUEST <= own
    assert own - read <= {"want-repr-digest"}  # clients may send it in vain
    assert set(protocol.REQUEST_HEADERS.split()) <= set(REQUEST_HEADERS)


@pytest.mark.parametrize(("name", "protocol"), EACH)
def test_pages_may_read_all_headers_of_replies(name: str, protocol: WireProtocol) -> None:
    vectors = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())
    replies = [each["reply"]["headers"] for kind in ("outcomes", "refusals") for each in vectors[kind]]
    options = protocol.options(RequestHead("OPTIONS", None, {}), RequestContext(**vectors["place"]))
    sent = {header for headers in [*replies, options.headers] for header in headers}
    assert sent - UNLISTED_RESPONSE <= set(RESPONSE_HEADERS)
    assert set(protocol.RESPONSE_HEADERS.split()) <= sent
