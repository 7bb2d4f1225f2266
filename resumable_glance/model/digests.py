"""Digests: their names, their lengths, and how they are computed.

Names are those that people use for image checksums (md5, sha256, sha512); a dialect translates its own
(RFC 9530: sha-256, sha-512). xxh3 (64 bits) is never taken from a client: it only marks extents, so that bit rot on
scratch is seen at next to no cost, as CRC-32 did in catalogs that are older. `zeros` marks extents that were declared
to be zeros: it has no value, for it holds as long as every byte is zero (docs/decisions/0018).
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from xxhash import xxh3_64

from resumable_glance.errors import Reason, Refused


class Hasher(Protocol):
    """What hashlib's objects are."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = binascii.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


class _Zeros:
    """Not computed but looked at: empty as long as all bytes are zero."""

    def __init__(self) -> None:
        self._value = b""

    def update(self, data: bytes | memoryview, /) -> None:
        if not only_zeros(bytes(data)):
            self._value = b"\1"

    def digest(self) -> bytes:
        return self._value


def only_zeros(data: bytes) -> bool:
    return data == bytes(len(data))  # this is memcmp: nothing that looks at one byte after the other comes near


def _md5() -> Hasher:
    # Glance's `checksum` is an md5. It finds accidents, and is not trusted against an adversary.
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> Hasher:
    # The tus protocol demands it. Like md5, against accidents only.
    return hashlib.sha1(usedforsecurity=False)


_HASHERS: Mapping[str, Callable[[], Hasher]] = {
    "crc32": _Crc32,
    "md5": _md5,
    "sha1": _sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "xxh3": xxh3_64,
    "zeros": _Zeros,
}
LENGTHS: Mapping[str, int] = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}  # bytes; what a client may declare
OF_IMAGES = ("md5", "sha256", "sha512")  # what a client may declare of a whole image


def hasher(algorithm: str) -> Hasher:
    return _HASHERS[algorithm]()


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest's algorithm and value; as text `md5:9e107d9d...`."""

    algorithm: str
    value: bytes

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value.hex()}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The inverse of `str()`, for what we wrote ourselves."""
        algorithm, _, value = text.partition(":")
        return cls(algorithm, binascii.unhexlify(value))

    def matches(self, other: Digest) -> bool:
        return self.algorithm == other.algorithm and hmac.compare_digest(self.value, other.value)


ZEROS = Digest("zeros", b"")  # of any number of zeros


def declared(algorithm: str, value: bytes) -> Digest:
    """A digest that a client declared.

    Refused: UNSUPPORTED_DIGEST for an unknown algorithm, MALFORMED for a value of the wrong length.
    """
    if algorithm not in LENGTHS:
        raise Refused(
            Reason.UNSUPPORTED_DIGEST, f"This digest algorithm is not known here. Use one of: {', '.join(LENGTHS)}."
        )
    if len(value) != LENGTHS[algorithm]:
        raise Refused(
            Reason.MALFORMED,
            f"A digest with {algorithm} has {LENGTHS[algorithm]} bytes; this one has {len(value)}.",
        )
    return Digest(algorithm, value)


def declared_hex(algorithm: str, text: str) -> Digest:
    """A digest that a client declared in hexadecimal, as md5sum and sha256sum print it."""
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", text):
        raise Refused(Reason.MALFORMED, f"The {algorithm} digest is not hexadecimal.")
    return declared(algorithm, binascii.unhexlify(text))


class MultiHasher:
    """Several digests of one stream of bytes."""

    def __init__(self, *algorithms: str) -> None:
        self._hashers = {name: hasher(name) for name in dict.fromkeys(algorithms)}

    def __bool__(self) -> bool:
        return bool(self._hashers)

    def __contains__(self, algorithm: str) -> bool:
        return algorithm in self._hashers

    def update(self, data: bytes | memoryview) -> None:
        for each in self._hashers.values():
            each.update(data)

    def digest(self, algorithm: str) -> Digest:
        return Digest(algorithm, self._hashers[algorithm].digest())
