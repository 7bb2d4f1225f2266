"""Whatever stands in a header or a body is either parsed by exactly its grammar, or refused."""

import base64

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resumable_glance.api.protocols import parsing
from resumable_glance.api.protocols.base import RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.digests import LENGTHS, Digest
from resumable_glance.model.ranges import Range

many = settings(deadline=None, max_examples=200)
REFUSALS = {Reason.MALFORMED, Reason.UNSUPPORTED_DIGEST}
# Text that looks right but for one thing finds more than text of all Unicode.
ODD = st.sampled_from(
    ["", "+", "-", "_", "0", "00", " ", "\t", "\n", "\r\n ", "\0", "٣", "²", ",", "/", "*", ".", "e1"]
)
numbers = st.integers(0, 2**54).map(str)


def nearly(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The parts one after the other, with something odd between any two now and then."""
    return st.tuples(*(each for part in parts for each in (st.just("") | ODD, part))).map("".join)


ranges_or_nearly = nearly(st.just("bytes "), numbers, st.just("-"), numbers, st.just("/"), numbers, st.just(""))


def head(*headers: tuple[str, str]) -> RequestHead:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        found[name] = (*found.get(name, ()), value)
    return RequestHead("PATCH", "id", found)


def assert_malformed(refused: pytest.ExceptionInfo[Refused]) -> None:
    assert refused.value.reason is Reason.MALFORMED


def test_a_header_that_did_not_come_has_no_value() -> None:
    assert parsing.single(head(), "content-range") is None


def test_a_header_that_came_once_has_its_value_even_an_empty_one() -> None:
    assert parsing.single(head(("content-range", "")), "content-range") == ""


@pytest.mark.parametrize("second", ["a", "b", ""])
def test_a_header_that_comes_twice_is_refused(second: str) -> None:
    with pytest.raises(Refused) as refused:
        parsing.single(head(("content-range", "a"), ("content-range", second)), "content-range")
    assert_malformed(refused)


@pytest.mark.parametrize("text", ["0", "1", "10", "9007199254740991"])
def test_an_integer_is_a_decimal_number(text: str) -> None:
    assert parsing.integer(text, "It") == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+0",
        "-0",
        "-1",
        "+1",
        "00",
        "01",
        "1_0",
        "٣",
        "１",
        "²",
        "NaN",
        "Infinity",
        "9007199254740992",
        "9999999999999999",
        "1" * 5000,
        "0x10",
        "1e3",
        "1.0",
        " 1",
        "1 ",
        "1\n",
        "\t1",
        "1\0",
        "1\r\n 2",
    ],
)
def test_other_spellings_that_int_accepts_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parsing.integer(text, "It")
    assert_malformed(refused)


@pytest.mark.parametrize("key", ["k", "8e03978e-40d5", "k" * parsing.MAX_KEY_LENGTH])
def test_the_key_of_a_creation_is_a_string(key: str) -> None:
    assert parsing.idempotency_key(head(("idempotency-key", f'"{key}"'))) == key
    assert parsing.idempotency_key(head()) is None


@pytest.mark.parametrize("key", ["", "k", "5", '""', f'"{"k" * (parsing.MAX_KEY_LENGTH + 1)}"', '"kéy"'])
def test_only_a_string_is_a_key(key: str) -> None:
    with pytest.raises(Refused) as refused:
        parsing.idempotency_key(head(("idempotency-key", key)))
    assert_malformed(refused)


@many
@given(st.text() | nearly(numbers, st.just("")))
def test_an_integer_is_written_in_one_way_only(text: str) -> None:
    try:
        value = parsing.integer(text, "It")
    except Refused as refusal:
        assert refusal.reason is Reason.MALFORMED
    else:
        assert str(value) == text
        assert 0 <= value < 2**53


@many
@given(st.integers(0, 2**53 - 2), st.integers(0, 2**20), st.integers(0, 2**20))
def test_every_range_that_can_be_has_its_content_range(first: int, more: int, behind: int) -> None:
    last = min(first + more, 2**53 - 2)
    total = min(last + 1 + behind, 2**53 - 1)
    assert parsing.content_range(f"bytes {first}-{last}/{total}") == (Range(first, last + 1), total)


@many
@given(st.text() | ranges_or_nearly)
@example("bytes 0-0/1")
def test_a_content_range_is_written_in_one_way_only(text: str) -> None:
    try:
        found, total = parsing.content_range(text)
    except Refused as refusal:
        assert refusal.reason is Reason.MALFORMED
    else:
        assert f"bytes {found.start}-{found.stop - 1}/{total}" == text
        assert 0 <= found.start < found.stop <= total < 2**53


@pytest.mark.parametrize("text", ["bytes 5-4/10", "bytes 0-10/10", "bytes 10-10/10", "bytes 0-0/0"])
def test_a_content_range_lies_within_its_total(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parsing.content_range(text)
    assert_malformed(refused)


@many
@given(st.dictionaries(st.sampled_from(sorted(parsing.RFC9530)), st.binary(min_size=64, max_size=64), min_size=1))
def test_digests_written_as_in_the_rfc_are_read(values: dict[str, bytes]) -> None:
    expected = [
        Digest(parsing.RFC9530[name], value[: LENGTHS[parsing.RFC9530[name]]]) for name, value in values.items()
    ]
    text = ", ".join(
        f"{name}=:{base64.b64encode(digest.value).decode()}:" for name, digest in zip(values, expected, strict=True)
    )
    assert parsing.structured_digests(text, "Content-Digest") == expected
    assert parsing.chunk_digests(head(("content-digest", text))) == tuple(expected)


def test_the_algorithms_of_the_rfc_have_their_usual_names() -> None:
    assert parsing.RFC9530 == {"md5": "md5", "sha-256": "sha256", "sha-512": "sha512"}


@many
@given(
    st.text()
    | nearly(
        st.sampled_from(["md5", "sha-256", "sha", "MD5", "*", ""]),
        st.sampled_from(["=", ""]),
        st.sampled_from([":", '"', "(", "?", "@", "%", ""]),
        st.sampled_from(["XrY7u+Ae7tCTyyK7j1rNww==", "XrY7u+Ae7tCTyyK7j1rNww", "AAAA", "1", "1.5", "é", ""]),
        st.sampled_from([":", '"', ")", ";a=1", ""]),
        st.sampled_from([",", ", md5=:AAAA:", ""]),
    )
)
@example("md5=:XrY7u+Ae7tCTyyK7j1rNww==:")
def test_any_digest_header_is_read_or_refused(text: str) -> None:
    try:
        found = parsing.structured_digests(text, "Content-Digest")
    except Refused as refusal:
        assert refusal.reason in REFUSALS
    else:
        assert found
        assert all(len(each.value) == LENGTHS[each.algorithm] for each in found)


def test_the_last_of_two_members_counts_as_in_rfc_9651() -> None:
    first, last = (base64.b64encode(each * 16).decode() for each in (b"a", b"b"))
    found = parsing.structured_digests(f"md5=:{first}:, md5=:{last}:", "Content-Digest")
    assert found == [Digest("md5", b"b" * 16)]


@pytest.mark.parametrize(
    "text", ["", "md5", "md5=5", 'md5="XrY7u+Ae7tCTyyK7j1rNww=="', "md5=()", "md5=?1", "md5=:!:", "é"]
)
def test_a_digest_that_is_not_a_byte_sequence_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parsing.structured_digests(text, "Content-Digest")
    assert_malformed(refused)


@pytest.mark.parametrize("algorithm", ["sha", "sha256", "crc32", "unixsum", "md5x", "*"])
def test_an_unknown_algorithm_is_refused_not_ignored(algorithm: str) -> None:
    with pytest.raises(Refused) as refused:
        parsing.structured_digests(f"{algorithm}=:AAAA:", "Content-Digest")
    assert refused.value.reason is Reason.UNSUPPORTED_DIGEST


def test_content_digest_and_content_md5_both_count() -> None:
    value = base64.b64encode(b"a" * 16).decode()
    both = head(("content-md5", value), ("content-digest", f"md5=:{value}:"))
    assert parsing.chunk_digests(both) == (Digest("md5", b"a" * 16),) * 2


def test_a_chunk_without_digests_declares_none() -> None:
    assert parsing.chunk_digests(head()) == ()


@many
@given(st.binary())
def test_base64_is_read_as_written(value: bytes) -> None:
    assert parsing.strict_base64(base64.b64encode(value).decode(), "It") == value


@many
@given(st.text() | st.text(alphabet="AZaz09+/-_= \n\0é", max_size=12))
@example("AB==")  # a second spelling of AA==
@example("AA=")
@example("A===")
@example("=AAA")
@example("AAAA\n")
def test_base64_is_written_in_one_way_only(text: str) -> None:
    try:
        value = parsing.strict_base64(text, "It")
    except Refused as refusal:
        assert refusal.reason is Reason.MALFORMED
    else:
        assert base64.b64encode(value).decode() == text


@pytest.mark.parametrize("name", ["hw_machine_type", "os_distro", "Owner", "é", "names", " "])
def test_a_property_may_have_any_name_but_glances_own(name: str) -> None:
    assert parsing.custom_property(name) == name


@pytest.mark.parametrize("name", ["", "owner", "id", "visibility", "disk_format", "os_hash_value", "tags", "backend"])
def test_a_property_can_not_be_one_of_glances_own(name: str) -> None:
    with pytest.raises(Refused) as refused:
        parsing.custom_property(name)
    assert_malformed(refused)


def test_a_header_is_short_unless_it_may_be_long() -> None:
    long = head(("x", "a" * (parsing.MAX_VALUE_LENGTH + 1)))
    with pytest.raises(Refused) as refused:
        parsing.single(long, "X")
    assert_malformed(refused)
    assert parsing.single(long, "X", 2 * parsing.MAX_VALUE_LENGTH) == "a" * (parsing.MAX_VALUE_LENGTH + 1)
