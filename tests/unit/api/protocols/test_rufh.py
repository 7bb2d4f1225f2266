"""The IETF draft: its wire vectors (tests/vectors/rufh.json), and what they can't say."""

import dataclasses
import urllib.parse

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.api.cors import RESPONSE_HEADERS
from resumable_glance.api.protocols import image_metadata, problems, rufh
from resumable_glance.api.protocols.base import RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Create, Listed
from resumable_glance.model.upload import require
from tests.support.vectors import Vector, Vectors, head, outcome, written

VECTORS = Vectors("rufh.json", rufh)
PLACE = VECTORS.place
MALFORMED = {Reason.MALFORMED, Reason.UNSUPPORTED_DIGEST}
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


@pytest.mark.parametrize(
    ("upload_id", "allowed"), [(None, "POST, OPTIONS"), ("id", "HEAD, GET, PATCH, DELETE, OPTIONS")]
)
def test_options_announce_the_limits(upload_id: str | None, allowed: str) -> None:
    reply = rufh.options(head("OPTIONS", upload_id), PLACE)
    assert (reply.status, reply.document) == (204, None)
    assert reply.headers == {
        "Allow": allowed,
        "Accept-Patch": "application/partial-upload",
        "Upload-Limit": "max-size=1099511627776, min-size=0, max-age=3600",
    }


def test_a_limit_is_capped_at_the_largest_structured_integer() -> None:
    reply = rufh.options(head("OPTIONS", None), dataclasses.replace(PLACE, max_upload_size=2**60))
    assert reply.headers["Upload-Limit"].startswith("max-size=999999999999999, ")


@VECTORS.each_of("outcomes")
def test_every_limit_is_a_dictionary_of_integers(vector: Vector) -> None:
    headers = rufh.render(outcome(vector["outcome"]), PLACE).headers
    if "Upload-Limit" in headers:
        limits = http_sf.parse(headers["Upload-Limit"].encode(), tltype="dictionary")
        assert isinstance(limits, dict)
        assert limits["max-size"] == (PLACE.max_upload_size, {})


@pytest.mark.parametrize("kind", ["outcomes", "refusals"])
def test_cors_exposes_all_headers(kind: str) -> None:
    told = {name for vector in VECTORS.all[kind] for name in vector["reply"]["headers"]}
    assert told - {"Cache-Control", "Content-Type", "WWW-Authenticate"} <= set(RESPONSE_HEADERS)


@pytest.mark.parametrize("method", ["POST", "HEAD", "GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("reason", Reason)
def test_no_refusal_says_that_an_upload_is_complete(reason: Reason, method: str) -> None:
    refused = Refused(reason, "A sentence.", offset=5, provided=6, retry_after=1)
    reply, usual = rufh.refuse(refused, method, PLACE), problems.refuse(refused, PLACE)
    assert reply.headers.get("Upload-Complete") == ("?0" if method in {"POST", "PATCH"} else None)
    assert usual.headers.items() <= reply.headers.items()
    assert reply.document is not None
    assert reply.document["status"] == reply.status
    assert reply.document["detail"] == "A sentence."
    assert reply.status == usual.status or reason in {Reason.SEALED, Reason.WRONG_TOTAL}


@pytest.mark.parametrize("upload_id", [None, "id"])
def test_allowed_methods_depend_on_the_path(upload_id: str | None) -> None:
    with pytest.raises(Refused) as refused:
        rufh.parse(head("PUT", upload_id), b"", PLACE)
    assert refused.value.facts == {"allow": ", ".join(rufh.METHODS[upload_id is not None])}


def test_a_wrong_media_type_of_an_append_names_the_right_one() -> None:
    with pytest.raises(Refused) as refused:
        rufh.parse(head("PATCH", "id", ["Upload-Offset", "0"], ["Upload-Complete", "?1"]), b"", PLACE)
    assert refused.value.facts == {"accept_patch": rufh.CONTENT}


def test_the_draft_has_no_lists() -> None:
    reply = rufh.render(Listed(()), PLACE)
    assert (reply.status, reply.document, reply.headers) == (204, None, {})


def creation(*headers: list[str], query: dict[str, str] | None = None) -> Create:
    command = rufh.parse(head("POST", None, ["Upload-Complete", "?0"], *headers, query=query), b"", PLACE)
    assert isinstance(command, Create)
    return command


@many
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=50))
def test_a_file_name_written_as_in_the_rfc_is_read(name: str) -> None:
    text = f"inline; filename=\"fallback\"; filename*=UTF-8''{urllib.parse.quote(name, safe='')}"
    assert require(creation(["Content-Disposition", text]).image).properties["name"] == name


@many
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=50))
def test_a_quoted_file_name_is_read(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    assert require(creation(["Content-Disposition", f'inline; filename="{quoted}"']).image).properties["name"] == name


@many
@given(
    st.lists(
        st.sampled_from(
            ["inline", ";", "; ", "filename", "filename*", "=", '"', "\\", "UTF-8''", "%41", "%ff", "a", ","]
        )
        | st.text(max_size=2),
        max_size=10,
    ).map("".join)
)
def test_any_disposition_is_read_or_refused(text: str) -> None:
    try:
        command = creation(["Content-Disposition", text])
    except Refused as refusal:
        assert refusal.reason is Reason.MALFORMED
    else:
        assert all(character >= " " for character in str(require(command.image).properties.get("name", "")))


@many
@given(st.dictionaries(st.sampled_from(["name", "min_disk", "property.a", "store", "x"]), st.text(max_size=4)))
def test_any_query_is_read_or_refused(query: dict[str, str]) -> None:
    try:
        command = creation(query=query)
    except Refused as refusal:
        assert refusal.reason is Reason.MALFORMED
    else:
        assert all(image_metadata.is_key(key) for key in query)
        assert command.image is not None


@many
@given(
    st.sampled_from(["POST", "HEAD", "PATCH", "DELETE", "GET", "OPTIONS", "", "ÿ"]) | st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.dictionaries(
        st.sampled_from(
            ["upload-length", "upload-offset", "upload-complete", "upload-incomplete", "upload-draft-interop-version",
             "content-type", "content-length", "transfer-encoding", "content-encoding", "repr-digest", "content-digest"]
        ),
        st.lists(
            st.sampled_from(["0", "10", "3", "5", "?0", "?1", rufh.CONTENT, "md5=:XrY7u+Ae7tCTyyK7j1rNww==:"])
            | st.text(max_size=8),
            max_size=2,
        ).map(tuple),
    ),
)  # fmt: skip
def test_any_request_becomes_a_command_or_is_refused(
    method: str, upload_id: str | None, headers: dict[str, tuple[str, ...]]
) -> None:
    try:
        command = rufh.parse(RequestHead(method, upload_id, headers), b"", PLACE)
    except Refused as refusal:
        assert refusal.reason.status < 500
    else:
        assert written(command)
        chunk = command.chunk if isinstance(command, Append) else getattr(command, "first", None)
        if chunk is not None:
            assert 0 <= chunk.start < 10**15
            assert chunk.in_order
            assert chunk.last is not None
