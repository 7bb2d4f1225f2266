"""The end of an upload: its last answer, wrong digests, flipped bits and expiry."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.service import Service, development
from tests.support.tus_wire import TUS, created, native, offset, send
from tests.support.wire import Client, md5, reason

MIB = 1024 * 1024
CONTENT = random.Random(41).randbytes(MIB + 17)
SIZE = len(CONTENT)
WRONG = {"sha256": "0" * 64}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def client(shared: Service) -> Client:
    return Client(shared.url)


def image_of(service: Service, upload: dict[str, dict[str, str]]) -> Path:
    return service.directory / "images" / upload["image"]["id"]


@contextlib.contextmanager
def sink_that_waits(service: Service, upload: dict[str, dict[str, str]]) -> Iterator[None]:
    """Inside, nothing takes the image's bytes: they would go into a pipe that nobody reads."""
    pipe = image_of(service, upload).with_suffix(".partial")
    os.mkfifo(pipe)
    try:
        yield
    finally:
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        pipe.unlink()
        os.close(reader)


@pytest.mark.parametrize("protocol", ["native", "tus"])
def test_the_last_chunk_is_answered_while_images_are_unavailable(
    shared: Service, client: Client, protocol: str
) -> None:
    url = created(client, SIZE)
    upload = client.show(native(client, url))
    with sink_that_waits(shared, upload):
        for _ in range(2):  # the first answer may be lost
            if protocol == "tus":
                answer = send(client, url, offset(client, url), CONTENT[offset(client, url) :])
            else:
                answer = client.send(native(client, url), CONTENT, 0, SIZE, md5(CONTENT))
            assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(SIZE))
        upload = client.wait(native(client, url), "delivering")
        assert not image_of(shared, upload).exists()
        assert client.request("HEAD", native(client, url)).headers["Upload-State"] == "delivering"
    assert client.wait(native(client, url), "active")
    assert image_of(shared, upload).read_bytes() == CONTENT


def test_the_final_answer_can_be_repeated_for_ever(client: Client) -> None:
    url = created(client, SIZE)
    for state in ("sealed", "active"):
        if state == "sealed":
            assert send(client, url, 0, CONTENT).status_code == 204
        else:
            client.wait(native(client, url), "active")
        for _ in range(2):
            answer = send(client, url, SIZE, b"")
            assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(SIZE))
            answer = send(client, url, 0, CONTENT)
            assert (answer.status_code, reason(answer)) == (409, "wrong-offset")
            assert answer.headers["Upload-Offset"] == str(SIZE)
            assert offset(client, url) == SIZE
    for _ in range(2):
        assert reason(client.request("DELETE", url, TUS)) == "upload-sealed"


def test_a_wrong_image_digest_fails_the_upload_and_keeps_it(shared: Service, client: Client) -> None:
    url = client.created(SIZE, digests=WRONG)
    assert client.send(url, CONTENT, 0, SIZE, md5(CONTENT)).headers["Upload-State"] == "sealed"
    upload = client.wait(url, "failed")
    assert upload["handoff"]["last_error"]["reason"] == "digest-mismatch"
    assert not image_of(shared, upload).exists()
    for _ in range(2):
        assert client.show(url) == upload
        again = client.send(url, CONTENT, 0, SIZE, md5(CONTENT))
        assert (again.status_code, again.headers["Upload-State"]) == (204, "failed")
        kept = client.request("GET", url.replace("/uploads/", "/tus/"))
        assert kept.content == CONTENT
    assert client.request("DELETE", url).status_code == 204
    assert not list((shared.directory / "scratch").rglob(f"*{upload['id']}*"))


@pytest.mark.parametrize("declares", [True, False])
def test_a_flipped_bit_in_storage_keeps_the_image_inactive(shared: Service, client: Client, declares: bool) -> None:
    url = client.created(SIZE)
    assert client.send(url, CONTENT, 0, MIB, md5(CONTENT[:MIB]) if declares else {}).status_code == 204
    (path,) = (shared.directory / "scratch").rglob(f"{url.rpartition('/')[2]}*")
    with path.open("r+b") as file:
        file.seek(MIB // 2)
        file.write(bytes([CONTENT[MIB // 2] ^ 1]))
    assert client.send(url, CONTENT, MIB, SIZE).status_code == 204
    upload = client.wait(url, "failed", "active")
    assert (upload["state"], upload["handoff"]["last_error"]["reason"]) == ("failed", "scratch-differs")
    assert not image_of(shared, upload).exists()
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.request("GET", url.replace("/uploads/", "/tus/"))  # it ends before its last byte


def test_only_what_waits_expires(shared: Service, client: Client) -> None:
    active, waiting, unfinished = (client.created(SIZE) for _ in range(3))
    failed = client.created(SIZE, digests=WRONG)
    for url in (active, failed):
        client.send(url, CONTENT, 0, SIZE)
        client.wait(url, "active", "failed")
    client.send(unfinished, CONTENT, 0, 1000)
    with sink_that_waits(shared, client.show(waiting)):
        client.send(waiting, CONTENT, 0, SIZE)
        client.wait(waiting, "delivering")
        shared.kill()
    database = sqlite3.connect(shared.directory / "catalog.sqlite")
    with database:
        database.execute("UPDATE uploads SET expires_at = 1000")  # long ago, for each of them
    database.close()
    shared.start()
    for url in (unfinished, failed):
        gone = client.request("GET", url)
        assert (gone.status_code, reason(gone)) == (410, "upload-expired")
    assert client.request("HEAD", unfinished.replace("/uploads/", "/tus/"), TUS).status_code == 410
    for url in (active, waiting):
        upload = client.wait(url, "active")
        assert image_of(shared, upload).read_bytes() == CONTENT
    assert client.request("GET", failed.replace("/uploads/", "/tus/")).status_code == 410
