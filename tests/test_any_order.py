"""Whatever is cut, repeated, spoilt or restarted, in whatever order: the image is the content. Over real HTTP.

Hypothesis cuts random content into random chunks and sends them as no good client would; a service that is killed
in between must not lose what it has acknowledged.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resumable_glance.protocol.ranges import Range, merge, missing
from tests.service import Service, development
from tests.wire import Client, md5, reason

LARGEST = 400_000  # bytes
KINDS = ["plain", "digest", "twice", "wrong digest", "cut", "cut with digest", "other bytes"]
KINDS = [*KINDS * 4, "kill"]  # a start takes as long as forty chunks


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@st.composite
def chunks(draw: st.DrawFn) -> tuple[bytes, list[tuple[Range, str]]]:
    """Content, and its chunks in random order, some of them overlapping, each with what happens to it."""
    size = draw(st.integers(1, LARGEST))
    content = random.Random(draw(st.integers(0, 2**32))).randbytes(size)
    cuts = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=8))})
    ranges = [Range(start, stop) for start, stop in itertools.pairwise(cuts)]
    for start, length in draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, size)), max_size=4)):
        ranges.append(Range(start, min(size, start + length)))
    order = draw(st.permutations(ranges))
    return content, [(each, draw(st.sampled_from(KINDS))) for each in order]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(chunks())
def test_the_image_is_the_content(shared: Service, plan: tuple[bytes, list[tuple[Range, str]]]) -> None:
    content, sent = plan
    client = Client(shared.url)
    url = client.created(len(content))
    acknowledged: list[Range] = []
    for range_, kind in sent:
        acknowledged += sent_as(kind, client, shared, url, content, range_)
        holds_what_was_acknowledged(client, url, acknowledged)
    rest = missing(len(content), [Range(first, last + 1) for first, last in client.show(url)["ranges"]])
    with ThreadPoolExecutor(4) as threads:
        for answer in threads.map(lambda each: client.send(url, content, each.start, each.stop), rest):
            assert answer.status_code == 204
    upload = client.wait(url, "active")
    assert upload["hashes"]["sha512"] == hashlib.sha512(content).hexdigest()
    assert (shared.directory / "images" / upload["image"]["id"]).read_bytes() == content


def holds_what_was_acknowledged(client: Client, url: str, acknowledged: list[Range]) -> None:
    upload = client.show(url)
    there = [Range(first, last + 1) for first, last in upload["ranges"]]
    assert list(merge([*there, *acknowledged])) == there
    assert upload["received"] == sum(each.length for each in there)
    assert upload["offset"] == (there[0].stop if there and there[0].start == 0 else 0)


def sent_as(kind: str, client: Client, service: Service, url: str, content: bytes, range_: Range) -> list[Range]:
    """Send a chunk in one way or another; what of it was acknowledged."""
    right = content[range_.start : range_.stop]
    state = client.show(url)["state"]
    if kind == "kill":
        service.kill()
        service.start()
        return []
    if kind == "wrong digest":
        answer = client.send(url, content, range_.start, range_.stop, md5(right + b"x"))
        assert reason(answer) in {"chunk-digest-mismatch", "upload-sealed"}
        return []
    if kind == "other bytes":
        # Only where all of them are durable: elsewhere nobody could know that they are wrong.
        upload = client.show(url)
        if not any(first <= range_.start and range_.stop <= last + 1 for first, last in upload["ranges"]):
            return []
        answer = client.send(url, content, range_.start, range_.stop, body=bytes(byte ^ 0xFF for byte in right))
        assert reason(answer) in {"different-bytes", "upload-sealed"}
        return []
    if kind in {"cut", "cut with digest"}:
        half = right[: len(right) // 2]
        answer = client.send(
            url, content, range_.start, range_.stop, md5(right) if kind == "cut with digest" else {}, body=half
        )
        assert answer.status_code in {400, 409, 204}
        return (
            [Range(range_.start, range_.start + len(half))] if half and kind == "cut" and state == "receiving" else []
        )
    answers = [client.send(url, content, range_.start, range_.stop, md5(right) if kind == "digest" else {})]
    if kind == "twice":
        answers.append(client.send(url, content, range_.start, range_.stop, md5(right)))
    assert all(succeeded(answer) for answer in answers), answers[-1].text
    return [range_]


def succeeded(answer: requests.Response) -> bool:
    # Once the image is complete and scratch is free, there is nothing to compare a repeated chunk with.
    return answer.status_code == 204 or reason(answer) == "upload-sealed"
