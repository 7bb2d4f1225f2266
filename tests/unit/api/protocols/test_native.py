"""The native protocol: its wire vectors (tests/vectors/native.json), and what they can't say."""

import dataclasses
import json
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.api.protocols import native, problems
from resumable_glance.api.protocols.base import RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Chunk, Identified, Identify, UploadFound
from resumable_glance.model.ranges import Range
from tests.support.vectors import Vector, Vectors, head, upload, written

VECTORS = Vectors("native.json", native)
PLACE = VECTORS.place
many = settings(deadline=None, max_examples=200)


@VECTORS.each_of("requests")
def test_a_request_becomes_a_command_or_is_refused(vector: Vector) -> None:
    VECTORS.check_request(vector)


@VECTORS.each_of("outcomes")
def test_an_outcome_becomes_a_reply(vector: Vector) -> None:
    VECTORS.check_outcome(vector)


@VECTORS.each_of("refusals")
def test_a_refusal_becomes_a_problem(vector: Vector) -> None:
    VECTORS.check_refusal(vector)


def test_every_vector_has_a_name_of_its_own() -> None:
    assert len(set(VECTORS.names())) == len(VECTORS.names())


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_status_and_a_stable_type(reason: Reason) -> None:
    reply = problems.refuse(Refused(reason, "A sentence."), PLACE)
    assert 400 <= reply.status == reason.status < 600
    assert reply.document is not None
    assert reply.document["type"] == f"urn:problem-type:resumable-glance:{reason.value}"
    assert reply.document["request_id"] == PLACE.request_id


@pytest.mark.parametrize(
    "reason",
    [Reason.STALLED, Reason.CLOSING, Reason.NO_SPACE, Reason.IDENTITY_UNAVAILABLE, Reason.IMAGE_SERVICE_UNAVAILABLE],
)
def test_transient_refusals_have_a_status_that_clients_retry(reason: Reason) -> None:
    assert reason.status in {408, 429, 503, 507}


def test_allowed_methods_depend_on_the_path() -> None:
    for upload_id, allowed in ((None, native.METHODS[False]), ("id", native.METHODS[True])):
        with pytest.raises(Refused) as refused:
            native.parse(head("PUT", upload_id), b"", PLACE)
        assert refused.value.facts == {"allow": ", ".join(allowed)}


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=x", "text/plain"])
def test_a_wrong_media_type_names_the_right_one(media_type: str) -> None:
    with pytest.raises(Refused) as refused:
        native.parse(head("PATCH", "id", ["Content-Type", media_type]), b"", PLACE)
    assert refused.value.reason is Reason.UNSUPPORTED_MEDIA_TYPE
    assert refused.value.facts["accept_patch"] == native.ACCEPT_PATCH


def of_ten_bytes(*lengths: str) -> RequestHead:
    """A chunk's head, with these values of Content-Length."""
    return head("PATCH", "id", ["Content-Range", "bytes 10-19/100"], *(["Content-Length", each] for each in lengths))


@pytest.mark.parametrize("lengths", [[], ["0"], ["10"]])
def test_a_body_that_can_be_the_chunk_is_read(lengths: list[str]) -> None:
    """Also one that is shorter than its range: what came of it is kept."""
    smallest = dataclasses.replace(PLACE, max_chunk_size=10)
    assert native.parse(of_ten_bytes(*lengths), b"", smallest) == Append("id", Chunk(10, 10), 100)


def test_a_chunk_larger_than_the_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(Refused) as refused:
        native.parse(of_ten_bytes(), b"", dataclasses.replace(PLACE, max_chunk_size=9))
    assert refused.value.reason is Reason.CHUNK_TOO_LARGE
    assert refused.value.facts == {"limit": 9}


@pytest.mark.parametrize("media_type", [native.ACCEPTED, native.ZEROS])
def test_a_body_longer_than_its_range_is_refused_unread(media_type: str) -> None:
    request = of_ten_bytes("11")
    with pytest.raises(Refused) as refused:
        native.parse(
            dataclasses.replace(request, headers={**request.headers, "content-type": (media_type,)}), b"", PLACE
        )
    assert refused.value.reason is Reason.BODY_TOO_LONG


@pytest.mark.parametrize("lengths", [["+10"], ["1_0"], ["٣"], [""], ["10", "10"]])
def test_a_content_length_that_is_none_is_refused(lengths: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        native.parse(of_ten_bytes(*lengths), b"", PLACE)
    assert refused.value.reason is Reason.MALFORMED


def test_a_header_names_only_so_many_ranges_and_the_document_all() -> None:
    vector = next(each for each in VECTORS.all["outcomes"] if each["outcome"]["kind"] == "upload_found")
    durable = tuple(Range(start, start + 1) for start in range(0, 1000, 2))
    reply = native.render(UploadFound(upload(vector["outcome"]["upload"]), durable, 0), PLACE)
    assert reply.headers["Upload-Ranges"].count(",") + 1 == native.MAX_RANGES_IN_HEADER
    assert reply.document is not None
    assert len(cast(list[object], reply.document["ranges"])) == len(durable)


def test_options_show_the_capabilities_of_a_path() -> None:
    for upload_id, aspect, allowed in (
        (None, None, "GET, HEAD, POST, OPTIONS"),
        ("id", None, "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("id", "ticket", "POST, DELETE, OPTIONS"),
        ("id", "events", "GET, OPTIONS"),
    ):
        reply = native.options(dataclasses.replace(head("OPTIONS", upload_id), aspect=aspect), PLACE)
        assert (reply.status, reply.document) == (200, native.capabilities(PLACE))
        assert reply.headers == {
            "Allow": allowed,
            "Accept-Patch": "application/octet-stream, application/vnd.resumable-glance.zeros",
        }


def test_capabilities_come_with_their_limits() -> None:
    told = native.capabilities(PLACE)
    assert told["href"] == "https://glance.example/v1/uploads"
    assert told["max_size"] == PLACE.max_upload_size
    assert told["expiry"] == PLACE.upload_expiry
    assert told["first_byte_expiry"] == PLACE.first_byte_expiry
    assert told["waiting_retention"] == PLACE.waiting_retention
    assert told["record_retention"] == PLACE.record_retention
    assert told["whole_image_digests"] == ["md5", "sha256", "sha512"]
    assert told["chunks"] == {
        "content_type": "application/octet-stream",
        "max_size": PLACE.max_chunk_size,
        "any_order": True,
        "parallel": True,
        "digests": {"Content-Digest": ["md5", "sha-256", "sha-512"], "Content-MD5": ["md5"]},
    }
    assert told["zeros"] == {"content_type": "application/vnd.resumable-glance.zeros"}


@many
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "", "ÿ"]) | st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.dictionaries(
        st.sampled_from(["content-type", "content-range", "content-encoding", "content-digest", "content-md5"]),
        st.lists(
            st.text(max_size=8)
            | st.sampled_from(
                ["application/json", "bytes 0-9/10", "identity", "md5=:AAAA:", "application/octet-stream"]
            ),
            max_size=2,
        ).map(tuple),
    ),
    st.dictionaries(st.sampled_from(["limit", "marker"]), st.text(max_size=4)),
    st.none() | st.sampled_from([*native.ASPECTS, *native.CALLERS_ASPECTS]),
    st.binary(max_size=40)
    | st.dictionaries(
        st.sampled_from(["size", "image", "image_id", "store", "stores", "all_stores", "method", "digests"]),
        st.none() | st.integers() | st.text(max_size=3) | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
    ).map(lambda document: json.dumps(document).encode()),
)
def test_any_request_becomes_a_command_or_is_refused(
    method: str,
    upload_id: str | None,
    headers: dict[str, tuple[str, ...]],
    query: dict[str, str],
    aspect: str | None,
    body: bytes,
) -> None:
    try:
        command = native.parse(RequestHead(method, upload_id, headers, query, aspect), body, PLACE)
    except Refused as refusal:
        assert refusal.reason.status < 500
    else:
        assert written(command)


def test_a_caller_is_told_its_identity_digest() -> None:
    for method in ("GET", "HEAD"):
        head = RequestHead(method, None, {}, {}, native.IDENTITY)
        assert native.parse(head, b"", PLACE) == Identify()
    reply = native.render(Identified("5f2b"), PLACE)
    assert (reply.status, reply.headers) == (200, {"Cache-Control": "no-store"})
    assert reply.document == {"identity": "5f2b"}
