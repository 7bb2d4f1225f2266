"""Digests: what clients may declare, and that what we compute is what everybody else computes."""

import hashlib

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.digests import (
    IMAGE_ALGORITHMS,
    LENGTHS,
    ZEROS,
    Digest,
    MultiHasher,
    declared,
    declared_hex,
    hasher,
)

many = settings(deadline=None, max_examples=200)
REFERENCE = {
    "xxh3": lambda data: xxhash.xxh3_64(data).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
}
algorithms = st.sampled_from(sorted(REFERENCE))


@many
@given(algorithms, st.lists(st.binary()))
def test_a_digest_does_not_depend_on_the_cuts(algorithm: str, pieces: list[bytes]) -> None:
    running = hasher(algorithm)
    for each in pieces:
        running.update(memoryview(each))
    assert running.digest() == REFERENCE[algorithm](b"".join(pieces))


@pytest.mark.parametrize(
    ("algorithm", "of_abc"),
    [
        ("xxh3", "78af5f94892f3950"),
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),  # RFC 1321, appendix A.5
        ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),  # FIPS 180-2, A.1
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),  # FIPS 180-2, B.1
    ],
)
def test_digests_are_those_of_the_standards(algorithm: str, of_abc: str) -> None:
    running = hasher(algorithm)
    running.update(b"abc")
    assert running.digest().hex() == of_abc


@many
@given(st.lists(st.binary(max_size=5) | st.integers(0, 100).map(bytes)))
def test_the_zeros_checksum_holds_for_zeros_only(pieces: list[bytes]) -> None:
    running = hasher("zeros")
    for each in pieces:
        running.update(memoryview(each))
    assert running.digest() == (b"\1" if any(b"".join(pieces)) else ZEROS.value)


def test_the_zeros_checksum_is_stored_and_can_not_be_declared() -> None:
    assert Digest.parse(str(ZEROS)) == ZEROS
    with pytest.raises(Refused) as refused:
        declared("zeros", b"")
    assert refused.value.reason is Reason.UNSUPPORTED_DIGEST


@many
@given(algorithms, st.binary(min_size=1))
def test_a_digest_survives_storing(algorithm: str, value: bytes) -> None:
    digest = Digest(algorithm, value)
    assert Digest.parse(str(digest)) == digest


def test_a_digest_as_text_is_algorithm_and_hexadecimal() -> None:
    assert str(Digest("md5", bytes(range(16)))) == "md5:000102030405060708090a0b0c0d0e0f"


def test_a_digest_matches_only_the_same_value_and_algorithm() -> None:
    digest = Digest("md5", bytes(16))
    assert digest.matches(Digest("md5", bytes(16)))
    assert not digest.matches(Digest("md5", bytes(15) + b"\x01"))
    assert not digest.matches(Digest("sha256", bytes(16)))
    assert not digest.matches(Digest("md5", bytes(15)))


@pytest.mark.parametrize(("algorithm", "length"), LENGTHS.items())
def test_a_declared_digest_has_its_algorithms_length(algorithm: str, length: int) -> None:
    assert declared(algorithm, bytes(length)) == Digest(algorithm, bytes(length))
    assert REFERENCE[algorithm](b"").__len__() == length
    for wrong in (0, length - 1, length + 1):
        with pytest.raises(Refused) as refusal:
            declared(algorithm, bytes(wrong))
        assert refusal.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("algorithm", ["xxh3", "crc32", "sha224", "SHA1", "MD5", "", "sha-256"])
def test_only_strong_enough_algorithms_can_be_declared(algorithm: str) -> None:
    with pytest.raises(Refused) as refusal:
        declared(algorithm, bytes(4))
    assert refusal.value.reason is Reason.UNSUPPORTED_DIGEST


def test_sha1_can_be_declared_of_chunks_only() -> None:
    assert set(IMAGE_ALGORITHMS) == set(LENGTHS) - {"sha1"}


@pytest.mark.parametrize("text", ["00" * 16, "ab" * 16, "AB" * 16, "aB" * 16])
def test_hexadecimal_is_taken_in_either_case(text: str) -> None:
    assert declared_hex("md5", text).value.hex() == text.lower()


@pytest.mark.parametrize(
    "text", ["", "0", "0" * 31, "0" * 33, "zz" * 16, " " + "00" * 16, "00" * 16 + "\n", "0x" + "00" * 15, "٠٠" * 16]
)
def test_anything_else_is_not_hexadecimal(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        declared_hex("md5", text)
    assert refusal.value.reason is Reason.MALFORMED


@many
@given(st.text(alphabet="0123456789abcdefABCDEFxg \n٣", max_size=40))
def test_any_text_is_hexadecimal_or_refused(text: str) -> None:
    try:
        digest = declared_hex("md5", text)
    except Refused as refusal:
        assert refusal.reason is Reason.MALFORMED
    else:
        assert digest.value.hex() == text.lower()


@many
@given(st.lists(algorithms), st.lists(st.binary()))
def test_a_multi_hasher_computes_several_digests(names: list[str], pieces: list[bytes]) -> None:
    tally = MultiHasher(*names)
    for each in pieces:
        tally.update(each)
    assert {each for each in REFERENCE if each in tally} == set(names)
    for name in names:
        assert tally.digest(name) == Digest(name, REFERENCE[name](b"".join(pieces)))
