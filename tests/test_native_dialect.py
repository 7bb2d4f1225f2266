"""The native dialect: its wire vectors (tests/vectors/native.json, for other clients too), and what they can't say.

A vector's `request` becomes its `command` or is `refused` with a reason; an `outcome` or a `refusal` becomes a `reply`.
Command and outcome are written as the dataclasses are, with `kind` for the class: a range as [start, stop] (half-open,
unlike on the wire), a digest as `algorithm:hexadecimal`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.dialects import Head, Place, Reply, native, problems
from resumable_glance.errors import Reason, Refused
from resumable_glance.protocol.commands import (
    Append,
    Appended,
    Command,
    Create,
    Created,
    Discard,
    Discarded,
    Inspect,
    Inspected,
    Outcome,
    Survey,
    Surveyed,
)
from resumable_glance.protocol.digests import Digest
from resumable_glance.protocol.ranges import Range
from resumable_glance.protocol.upload import Hitch, Image, Owner, Proof, State, Trouble, Upload

Vector = dict[str, Any]
VECTORS: Vector = json.loads((Path(__file__).parent / "vectors" / "native.json").read_text(encoding="utf-8"))
PLACE = Place(**VECTORS["place"])
many = settings(deadline=None, max_examples=200)


def each_of(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", [pytest.param(each, id=each["name"]) for each in VECTORS[kind]])


def head(method: str, upload_id: str | None, *headers: list[str], query: dict[str, str] | None = None) -> Head:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        found[name.lower()] = (*found.get(name.lower(), ()), value)
    return Head(method, upload_id, found, query or {})


def written(command: Command) -> Vector:
    """A command as vectors write it."""
    match command:
        case Create(size, image, declared):
            described = {**dataclasses.asdict(image), "properties": dict(image.properties)}
            return {"kind": "create", "size": size, "image": described, "declared": [str(each) for each in declared]}
        case Append(upload_id, range_, total, declared):
            texts = [str(each) for each in declared]
            return {"kind": "append", "upload_id": upload_id, "range": [*range_], "total": total, "declared": texts}
        case Inspect(upload_id):
            return {"kind": "inspect", "upload_id": upload_id}
        case Discard(upload_id):
            return {"kind": "discard", "upload_id": upload_id}
        case Survey(limit, marker):
            return {"kind": "survey", "limit": limit, "marker": marker}


def upload(described: Vector) -> Upload:
    proof, trouble = described["proof"], described["trouble"]
    return Upload(
        **described
        | {
            "owner": Owner("project", "user"),
            "state": State(described["state"]),
            "image": Image(**described["image"]),
            "declared": tuple(Digest.parse(each) for each in described["declared"]),
            "proof": Proof(**proof) if proof else None,
            "trouble": Trouble(Hitch(trouble["reason"]), trouble["detail"]) if trouble else None,
        }
    )


def outcome(described: Vector) -> Outcome:
    match described["kind"]:
        case "created":
            return Created(upload(described["upload"]))
        case "appended":
            return Appended(upload(described["upload"]))
        case "inspected":
            durable = tuple(Range(*each) for each in described["durable"])
            return Inspected(upload(described["upload"]), durable, described["delivered"])
        case "discarded":
            return Discarded(described["upload_id"])
        case "surveyed":
            return Surveyed(tuple(upload(each) for each in described["uploads"]))
        case other:
            raise ValueError(other)


def shown(reply: Reply) -> Vector:
    """A reply as vectors write it, after the same way through JSON as on the wire."""
    document = None if reply.document is None else json.loads(json.dumps(dict(reply.document)))
    return {"status": reply.status, "headers": dict(reply.headers), "document": document}


@each_of("requests")
def test_a_request_becomes_a_command_or_is_refused(vector: Vector) -> None:
    request = vector["request"]
    asked = head(request["method"], request["upload_id"], *request["headers"], query=request["query"])
    body = request["body"].encode()
    if "refused" in vector:
        with pytest.raises(Refused) as refused:
            native.parse(asked, body)
        assert refused.value.reason.value == vector["refused"]
    else:
        assert written(native.parse(asked, body)) == vector["command"]


@each_of("outcomes")
def test_an_outcome_becomes_a_reply(vector: Vector) -> None:
    assert shown(native.render(outcome(vector["outcome"]), PLACE)) == vector["reply"]


@each_of("refusals")
def test_a_refusal_becomes_a_problem(vector: Vector) -> None:
    refusal = vector["refusal"]
    refused = Refused(Reason(refusal["reason"]), refusal["detail"], **refusal["facts"])
    assert shown(problems.refuse(refused, PLACE)) == vector["reply"]


def test_every_vector_has_a_name_of_its_own() -> None:
    names = [each["name"] for kind in ("requests", "outcomes", "refusals") for each in VECTORS[kind]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_status_and_a_stable_type(reason: Reason) -> None:
    reply = problems.refuse(Refused(reason, "A sentence."), PLACE)
    assert 400 <= reply.status < 600
    assert reply.document is not None
    assert reply.document["type"] == f"urn:problem-type:resumable-glance:{reason.value}"
    assert reply.document["request_id"] == PLACE.request_id


@pytest.mark.parametrize(
    "reason", [Reason.STALLED, Reason.CLOSING, Reason.NO_SPACE, Reason.GATE_UNAVAILABLE, Reason.SINK_UNAVAILABLE]
)
def test_what_passes_by_itself_has_a_status_that_clients_try_again(reason: Reason) -> None:
    assert problems.STATUS[reason] in {408, 429, 503, 507}


def test_what_is_allowed_depends_on_what_is_asked() -> None:
    for upload_id, allowed in ((None, native.METHODS[False]), ("id", native.METHODS[True])):
        with pytest.raises(Refused) as refused:
            native.parse(head("PUT", upload_id), b"")
        assert refused.value.facts == {"allow": ", ".join(allowed)}


def test_a_form_is_told_what_to_send_instead() -> None:
    with pytest.raises(Refused) as refused:
        native.parse(head("PATCH", "id", ["Content-Type", "multipart/form-data; boundary=x"]), b"")
    assert refused.value.reason is Reason.UNSUPPORTED_MEDIA_TYPE
    assert refused.value.facts["accept_patch"] == native.ACCEPTED


APPEND = Append("id", Range(10, 20), 100)


@pytest.mark.parametrize("length", [[], [["Content-Length", "0"]], [["Content-Length", "10"]]])
def test_a_body_that_can_be_the_chunk_is_read(length: list[list[str]]) -> None:
    native.check_chunk(APPEND, head("PATCH", "id", *length), largest=10)


def test_a_chunk_larger_than_the_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(Refused) as refused:
        native.check_chunk(APPEND, head("PATCH", "id"), largest=9)
    assert refused.value.reason is Reason.CHUNK_TOO_LARGE
    assert refused.value.facts == {"limit": 9}


def test_a_body_longer_than_its_range_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(Refused) as refused:
        native.check_chunk(APPEND, head("PATCH", "id", ["Content-Length", "11"]), largest=100)
    assert refused.value.reason is Reason.BODY_TOO_LONG


@pytest.mark.parametrize("lengths", [["+10"], ["1_0"], ["٣"], [""], ["10", "10"]])
def test_a_content_length_that_is_none_is_refused(lengths: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        native.check_chunk(APPEND, head("PATCH", "id", *(["Content-Length", each] for each in lengths)), largest=100)
    assert refused.value.reason is Reason.MALFORMED


def test_a_header_names_only_so_many_ranges_and_the_document_all() -> None:
    vector = next(each for each in VECTORS["outcomes"] if each["outcome"]["kind"] == "inspected")
    durable = tuple(Range(start, start + 1) for start in range(0, 1000, 2))
    reply = native.render(Inspected(upload(vector["outcome"]["upload"]), durable, 0), PLACE)
    assert reply.headers["Upload-Ranges"].count(",") + 1 == native.MOST_RANGES_IN_HEADER
    assert reply.document is not None
    assert len(cast(list[object], reply.document["ranges"])) == len(durable)


def test_what_can_be_done_is_told_with_its_limits() -> None:
    told = native.capabilities(PLACE)
    assert told["href"] == "https://glance.example/v1/uploads"
    assert told["max_size"] == PLACE.max_upload_size
    assert told["expiry"] == PLACE.upload_expiry
    assert told["record_retention"] == PLACE.record_retention
    assert told["whole_image_digests"] == ["md5", "sha256", "sha512"]
    assert told["chunks"] == {
        "content_type": "application/octet-stream",
        "max_size": PLACE.max_chunk_size,
        "any_order": True,
        "parallel": True,
        "digests": {"Content-Digest": ["md5", "sha-256", "sha-512"], "Content-MD5": ["md5"]},
    }


def test_a_value_that_the_schema_let_through_by_mistake_is_a_defect_of_ours_not_of_the_client() -> None:
    with pytest.raises(TypeError):
        native._typed("1", int)


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
    st.binary(max_size=40)
    | st.dictionaries(
        st.sampled_from(["size", "image", "image_id", "store", "digests"]),
        st.none() | st.integers() | st.text(max_size=3) | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
    ).map(lambda document: json.dumps(document).encode()),
)
def test_whatever_a_request_is_it_becomes_a_command_or_is_refused(
    method: str, upload_id: str | None, headers: dict[str, tuple[str, ...]], query: dict[str, str], body: bytes
) -> None:
    try:
        command = native.parse(Head(method, upload_id, headers, query), body)
    except Refused as refusal:
        assert refusal.reason in problems.STATUS
    else:
        assert written(command)
