"""Digests: their algorithms, their lengths, and their computation.

Algorithms have the names that are usual for image checksums (md5, sha256, sha512); each wire protocol translates its
own. Two of them mark extents and are never taken from a client: xxh3 (64 bits) detects bit rot in storage at little
cost, and `zeros` has no value, since it holds as long as every byte is zero (docs/decisions/0018).
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from xxhash import xxh3_64

from resumable_glance.errors import Reason, Refused


class Hasher(Protocol):
    """The interface of hashlib's objects."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class _Zeros:
    """A hasher whose digest is empty as long as all bytes are zero."""

    _value = b""

    def update(self, data: bytes | memoryview, /) -> None:
        if not only_zeros(bytes(data)):
            self._value = b"\1"

    def digest(self) -> bytes:
        return self._value


def only_zeros(data: bytes) -> bool:
    """Return whether every byte is zero."""
    return data == bytes(len(data))  # a memcmp, much faster than a loop over the bytes


# Glance's `checksum` is an md5, and tus requires sha1. Both detect accidents, and are not trusted against an adversary.
_HASHERS: Mapping[str, Callable[[], Hasher]] = {
    "md5": functools.partial(hashlib.md5, usedforsecurity=False),
    "sha1": functools.partial(hashlib.sha1, usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "xxh3": xxh3_64,
    "zeros": _Zeros,
}
LENGTHS: Mapping[str, int] = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}  # bytes; what a client may declare
IMAGE_ALGORITHMS = ("md5", "sha256", "sha512")  # what a client may declare of a whole image


def hasher(algorithm: str) -> Hasher:
    """Return a new hasher of this algorithm."""
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
        """Return the digest that str() made this text of."""
        algorithm, _, value = text.partition(":")
        return cls(algorithm, binascii.unhexlify(value))

    def matches(self, other: Digest) -> bool:
        """Compare with another digest in constant time."""
        return self.algorithm == other.algorithm and hmac.compare_digest(self.value, other.value)


ZEROS = Digest("zeros", b"")  # of any number of zeros


def declared(algorithm: str, value: bytes) -> Digest:
    """Return a digest that a client declared.

    Raises Refused: UNSUPPORTED_DIGEST for an unknown algorithm, MALFORMED for a value of the wrong length.
    """
    if algorithm not in LENGTHS:
        raise Refused(Reason.UNSUPPORTED_DIGEST, f"Unknown digest algorithm. Use one of: {', '.join(LENGTHS)}.")
    if len(value) != (length := LENGTHS[algorithm]):
        raise Refused(Reason.MALFORMED, f"An {algorithm} digest has {length} bytes, but this one has {len(value)}.")
    return Digest(algorithm, value)


def declared_hex(algorithm: str, text: str) -> Digest:
    """Return a digest that a client declared in hexadecimal, as md5sum and sha256sum print it."""
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", text):
        raise Refused(Reason.MALFORMED, f"The {algorithm} digest is not hexadecimal.")
    return declared(algorithm, binascii.unhexlify(text))


class MultiHasher:
    """Several digests of one stream of bytes."""

    def __init__(self, *algorithms: str) -> None:
        self._hashers = {name: hasher(name) for name in dict.fromkeys(algorithms)}

    def __contains__(self, algorithm: str) -> bool:
        return algorithm in self._hashers

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes to all digests."""
        for each in self._hashers.values():
            each.update(data)

    def digest(self, algorithm: str) -> Digest:
        """Return the digest of all bytes so far."""
        return Digest(algorithm, self._hashers[algorithm].digest())
