"""The tus protocol: its wire vectors (tests/vectors/tus.json), and what they can't say."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.api.protocols import problems, tus
from resumable_glance.api.protocols.base import RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Append, Create, Join, Listed
from resumable_glance.model.digests import LENGTHS
from resumable_glance.model.upload import require
from tests.support.vectors import Vector, Vectors, head, written

VECTORS = Vectors("tus.json", tus)
PLACE = VECTORS.place
SPOKEN = ["Tus-Resumable", "1.0.0"]
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


def keyed(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


@pytest.mark.parametrize(
    ("text", "name", "disk_format"),
    [
        (keyed(filename="debian.qcow2", name="Debian 12"), "Debian 12", "qcow2"),
        (keyed(name="Debian 12", filename="debian.qcow2"), "Debian 12", "qcow2"),
        (keyed(name="debian.iso"), "debian.iso", "iso"),
        (keyed(filename="debian.ISO", disk_format="raw"), "debian.ISO", "raw"),
        (keyed(filename="iso"), "iso", "raw"),
        (keyed(name="abW"), "abW", "raw"),  # YWJX: only spaces are stripped
        (keyed(filename="debian.v2.qcow2"), "debian.v2.qcow2", "qcow2"),
        (keyed(filename="Screenshot 9.41\u202fPM.img", caption="two\nlines"), "Screenshot 9.41\u202fPM.img", "raw"),
        (keyed(name="", filename=""), None, "raw"),
    ],
)
def test_a_chosen_name_wins_and_the_file_name_has_the_format(text: str, name: str | None, disk_format: str) -> None:
    properties = require(creation(text).image).properties
    assert (properties.get("name"), properties["disk_format"]) == (name, disk_format)


def test_a_first_chunk_past_the_end_makes_no_image() -> None:
    sent = [["Upload-Length", "5"], ["Content-Length", "6"], ["Content-Type", "application/offset+octet-stream"]]
    with pytest.raises(Refused) as refused:
        tus.parse(head("POST", None, SPOKEN, *sent), b"", PLACE)
    assert refused.value.reason is Reason.BODY_TOO_LONG


@pytest.mark.parametrize("name", ["Application/Offset+Octet-Stream", "application/offset+octet-stream; charset=binary"])
def test_a_media_type_has_no_case_and_may_have_parameters(name: str) -> None:
    command = tus.parse(head("PATCH", "id", SPOKEN, ["Upload-Offset", "0"], ["Content-Type", name]), b"", PLACE)
    assert isinstance(command, Append)


def joining(count: int) -> RequestHead:
    return head("POST", None, SPOKEN, ["Upload-Concat", "final;" + " ".join(["/v1/tus/a-1"] * count)])


def test_so_many_parts_can_be_joined_and_no_more() -> None:
    command = tus.parse(joining(tus.MAX_PARTS), b"", PLACE)
    assert isinstance(command, Join)
    assert len(command.parts) == tus.MAX_PARTS
    with pytest.raises(Refused) as refused:
        tus.parse(joining(tus.MAX_PARTS + 1), b"", PLACE)
    assert refused.value.reason is Reason.MALFORMED


def test_every_vector_has_a_name_of_its_own() -> None:
    assert len(set(VECTORS.names())) == len(VECTORS.names())


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_names_the_tus_version(reason: Reason, method: str) -> None:
    refused = Refused(reason, "A sentence.", offset=5, retry_after=1)
    reply, usual = tus.refuse(refused, method, PLACE), problems.refuse(refused, PLACE)
    assert reply.headers["Tus-Resumable"] == "1.0.0"
    assert usual.headers.items() <= reply.headers.items()
    assert reply.document == {**(usual.document or {}), "status": reply.status}
    if reason is Reason.CHUNK_DIGEST_MISMATCH:
        assert reply.status == 460
    elif method == "HEAD" and usual.status >= 500:
        assert reply.status == 423, "or clients take the upload for lost"
    else:
        assert reply.status == usual.status


@pytest.mark.parametrize(
    ("upload_id", "allowed"), [(None, "POST, OPTIONS"), ("id", "HEAD, PATCH, GET, DELETE, OPTIONS")]
)
@pytest.mark.parametrize("headers", [[], [SPOKEN], [["Tus-Resumable", "0.2.2"]]])
def test_options_announce_extensions_for_any_version(
    upload_id: str | None, allowed: str, headers: list[list[str]]
) -> None:
    reply = tus.options(head("OPTIONS", upload_id, *headers), PLACE)
    assert (reply.status, reply.document) == (204, None)
    assert reply.headers == {
        "Tus-Resumable": "1.0.0",
        "Tus-Version": "1.0.0",
        "Tus-Extension": "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,"
        "concatenation",
        "Tus-Max-Size": str(PLACE.max_upload_size),
        "Tus-Checksum-Algorithm": "md5,sha1,sha256,sha512",
        "Allow": allowed,
    }


def test_every_algorithm_that_is_announced_can_be_declared() -> None:
    assert set(tus.ALGORITHMS) == set(LENGTHS)


@pytest.mark.parametrize("upload_id", [None, "id"])
def test_allowed_methods_depend_on_the_path(upload_id: str | None) -> None:
    with pytest.raises(Refused) as refused:
        tus.parse(head("PUT", upload_id, SPOKEN), b"", PLACE)
    assert refused.value.facts == {"allow": ", ".join(tus.METHODS[upload_id is not None])}


def test_a_refusal_repeats_no_long_method() -> None:
    with pytest.raises(Refused) as refused:
        tus.parse(head("POST", "id", SPOKEN, ["X-HTTP-Method-Override", "X" * 5000]), b"", PLACE)
    assert "X" * 21 not in refused.value.detail


def test_a_wrong_media_type_of_a_chunk_names_the_right_one() -> None:
    with pytest.raises(Refused) as refused:
        tus.parse(head("PATCH", "id", SPOKEN, ["Upload-Offset", "0"]), b"", PLACE)
    assert refused.value.facts == {"accept_patch": tus.CONTENT}


def test_tus_has_no_lists() -> None:
    reply = tus.render(Listed(()), PLACE)
    assert (reply.status, reply.document, reply.headers) == (204, None, {"Tus-Resumable": "1.0.0"})


def creation(metadata: str) -> Create:
    command = tus.parse(head("POST", None, SPOKEN, ["Upload-Length", "1"], ["Upload-Metadata", metadata]), b"", PLACE)
    assert isinstance(command, Create)
    return command


@many
@given(
    st.dictionaries(
        st.text("abcxyz0189_.:-!~", min_size=1, max_size=10).map("property.a_{}".format),
        st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20),
        min_size=1,
        max_size=5,
    )
)
def test_metadata_written_as_specified_is_read(values: dict[str, str]) -> None:
    text = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())
    command = creation(text)
    assert command.metadata == text
    expected = {key.removeprefix("property."): value for key, value in values.items()}
    assert require(command.image).properties == {"container_format": "bare", "disk_format": "raw", **expected}


@many
@given(
    st.lists(
        st.sampled_from(["name", "store", "min_disk", "property.a", "filename", "x", " ", "  ", ",", "\t", "\n", "é"])
        | st.text(max_size=6).map(lambda text: base64.b64encode(text.encode()).decode())
        | st.text(max_size=3),
        max_size=8,
    ).map(" ".join)
)
def test_any_metadata_is_read_or_refused(text: str) -> None:
    try:
        command = creation(text)
    except Refused as refusal:
        assert refusal.reason is Reason.MALFORMED
    else:
        assert command.metadata == (text or None)
        texts = "".join(map(str, require(command.image).properties.values()))
        assert not any(character < " " or character == "\x7f" for character in texts)


@many
@given(
    st.sampled_from(["POST", "HEAD", "PATCH", "DELETE", "GET", "OPTIONS", "", "ÿ"]) | st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.dictionaries(
        st.sampled_from(
            ["upload-length", "upload-offset", "upload-checksum", "upload-metadata", "content-type", "content-length",
             "content-encoding", "x-http-method-override"]
        ),
        st.lists(
            st.sampled_from(["0", "10", tus.CONTENT, "identity", "md5 XrY7u+Ae7tCTyyK7j1rNww==", "name YQ==", "PATCH"])
            | st.text(max_size=8),
            max_size=2,
        ).map(tuple),
    ),
)  # fmt: skip
def test_any_request_becomes_a_command_or_is_refused(
    method: str, upload_id: str | None, headers: dict[str, tuple[str, ...]]
) -> None:
    try:
        command = tus.parse(RequestHead(method, upload_id, {"tus-resumable": ("1.0.0",), **headers}), b"", PLACE)
    except Refused as refusal:
        assert refusal.reason.status < 500
    else:
        assert written(command)
        chunk = command.chunk if isinstance(command, Append) else getattr(command, "first", None)
        assert chunk is None or chunk.in_order, "tus knows no other order"
