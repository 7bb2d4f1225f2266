"""What the tests of other people's tus clients have in common.

The rule: a client goes on by its own means alone; we set its options, and look only at its answers and the image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.images import raw_disk
from tests.support.service import Service
from tests.support.wire import Client

MIB = 1024 * 1024
SIZE = 64 * MIB
CUTS = 4
PATIENCE = (2 * MIB, 12 * MIB)  # bytes that a connection carries before it is cut
PARTS = 3  # of uploads in parts
DEADLINE = 120  # seconds for an upload

# What a client in JavaScript says of each answer (method, url, status, offset, refused), and at the end: url, or error.
Said = Sequence[Mapping[str, Any]]


def disk() -> Path:
    """The image that all of them upload."""
    return raw_disk(SIZE, seed=23)


def heard(lines: Iterable[str]) -> Said:
    return [json.loads(line) for line in lines if line.startswith("{")]


def assert_uploaded(service: Service, url: str) -> None:
    """The image is what was to be uploaded."""
    upload = Client(service.url).wait(f"{service.url}/v1/uploads/{url.rpartition('/')[2]}", "active")
    content = disk().read_bytes()
    assert upload["hashes"]["sha512"] == hashlib.sha512(content).hexdigest()
    assert (service.directory / "images" / upload["image"]["id"]).read_bytes() == content
    assert upload["image"]["name"] == disk().name


def assert_went_on(said: Said, parts: int = 1) -> None:
    """It made one upload (of parts: each, and one of them all); whatever it asked for afterwards was there and grew."""
    created = [line["location"] for line in said if line.get("method") == "POST" and line["status"] == 201]
    assert len(created) == (1 if parts == 1 else parts + 1), said
    heads = [line for line in said if line.get("method") == "HEAD"]
    assert len(heads) >= 3
    assert {line["status"] for line in heads} in ({200}, {204})  # tus, or the IETF draft
    assert {line["url"] for line in heads} <= set(created)
    for url in created:
        offsets = [line["offset"] for line in heads if line["url"] == url]
        assert offsets == sorted(offsets)
    assert max(line["offset"] for line in heads) > 0
