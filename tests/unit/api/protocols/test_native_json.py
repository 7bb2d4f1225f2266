from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.api.protocols import native_json, parsing
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.commands import Create
from resumable_glance.model.digests import IMAGE_ALGORITHMS
from resumable_glance.model.upload import ImageRequest

many = settings(max_examples=500)
IMAGE = {"disk_format": "raw", "container_format": "bare"}
VALID = json.dumps({"size": 1, "image": {**IMAGE, "name": "x", "properties": {"a": "b"}}})


def refused(document: bytes) -> str:
    """Return the sentence with which a document is refused."""
    with pytest.raises(Refused) as refusal:
        native_json.creation(document)
    assert refusal.value.reason is Reason.MALFORMED
    return refusal.value.detail


def described(**image: object) -> bytes:
    return json.dumps({"size": 1, "image": {**IMAGE, **image}}).encode()


def test_a_document_becomes_a_creation() -> None:
    properties = {**IMAGE, "name": "x", "a": "b"}
    assert native_json.creation(VALID.encode()) == Create(size=1, image=ImageRequest(properties))


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{", b"null", b"[]", b"1", b'"{}"', b"{}", VALID.encode() * 2, VALID.replace('"', "'").encode(),
        VALID.replace("}}}", "}}},").encode(), VALID.replace("}}}", "},}}").encode(), b"\xef\xbb\xbf" + VALID.encode(),
        VALID.encode("utf-16"), VALID.replace("1", "\u0663").encode(), b'{"size":' * 100_000, b"[" * 100_000,
        b'{"size": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)  # fmt: skip
def test_anything_but_one_object_in_json_is_refused(document: bytes) -> None:
    refused(document)


@pytest.mark.parametrize("size", ["01", "+1", "-0", "-1", "1.0", "1e0", "NaN", "Infinity", "true", '"1"', "9" * 5000])
def test_a_size_is_a_plain_number(size: str) -> None:
    assert not re.search("9{100}", refused(VALID.replace("1", size).encode()))


@pytest.mark.parametrize("text", [r"\ud800", r"\udfff\ud800", "\n", "\0", r"\u0000", r"\n", r"\u007f", "x" * 256])
def test_a_name_is_printable_unicode(text: str) -> None:
    refused(VALID.replace('"x"', f'"{text}"').encode())


def test_a_name_is_utf8() -> None:
    refused(VALID.encode().replace(b"x", b"\xff"))


@pytest.mark.parametrize(
    "member", ['"size": 1', '"image": {}', '"image": {"disk_format": "raw", "disk_format": "raw"}']
)
def test_no_name_comes_twice(member: str) -> None:
    refused(f"{VALID[:-1]}, {member}}}".encode())


def test_no_property_comes_twice() -> None:
    refused(VALID.replace('"a": "b"', '"a": "b", "a": "b"').encode())


def test_a_long_name_is_not_repeated() -> None:
    assert len(refused(json.dumps({"size": 1, "x" * 60_000: 1}).encode())) < 500


@pytest.mark.parametrize("more", [0, 1])
def test_properties_and_tags_are_limited_as_in_glance(more: int) -> None:
    properties = {f"p{each}": "" for each in range(parsing.MAX_PROPERTIES + more)}
    tags = [f"t{each}" for each in range(parsing.MAX_TAGS + more)]
    for document in (described(properties=properties), described(tags=tags)):
        if more:
            assert "128" in refused(document)
        else:
            assert len(native_json.creation(document).image.properties) > 2  # type: ignore[union-attr]


def test_a_tag_or_store_comes_once() -> None:
    assert "tags" in refused(described(tags=["a", "b", "a"]))
    stores = {"size": 1, "image": IMAGE, "stores": ["a", "a"]}
    assert "stores" in refused(json.dumps(stores).encode())


def test_all_digests_of_an_image_can_be_declared() -> None:
    digests = {name: "0" * length for name, length in zip(IMAGE_ALGORITHMS, (32, 64, 128), strict=True)}
    document = json.dumps({"size": 1, "image": IMAGE, "digests": digests})
    assert [each.algorithm for each in native_json.creation(document.encode()).declared] == list(IMAGE_ALGORITHMS)


@pytest.mark.parametrize("member", ["size", "image", "store", "stores", "all_stores", "digests"])
@pytest.mark.parametrize("value", ["", 1.5, None, [1], {"a": 1}])
def test_a_member_of_another_type_is_refused(member: str, value: object) -> None:
    refused(json.dumps({"size": 5, "image": IMAGE, member: value}).encode())


names = st.sampled_from(
    ["size", "image", "image_id", "store", "stores", "all_stores", "method", "digests", "properties"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(alphabet='{}[]":,0123456789-+.eaNInfinity\\ud8 \n', max_size=30)


@many
@given(
    st.binary()
    | texts.map(str.encode)
    | st.dictionaries(names, values, max_size=4).map(lambda each: json.dumps(each).encode())
    | st.fixed_dictionaries({"size": st.integers(), "image": st.just(IMAGE)}, optional={"tags": values}).map(
        lambda each: json.dumps(each).encode()
    )
)
def test_any_document_is_a_creation_or_refused(document: bytes) -> None:
    try:
        created = native_json.creation(document)
    except Refused as refusal:
        assert refusal.reason.status == 400
    else:
        assert created.size == json.loads(document)["size"]
