"""The upload client's parts: what to send next, what answers mean, and what survives a restart."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import threading
import types
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from keystoneauth1.plugin import FixedEndpointPlugin
from keystoneauth1.session import Session

from resumable_glance.cli import upload as command
from resumable_glance.client import ClientError, UploadGone, resume_state
from resumable_glance.client.api import ApiClient
from resumable_glance.client.cloud import Cloud
from resumable_glance.client.image_file import WIRE_PIECE, ChunkBody, ImageFile, Paused, WholeDigests
from resumable_glance.client.plan import (
    FIRST_CHUNK,
    HEAD,
    LONGEST_DELAY,
    LONGEST_RETRY_AFTER,
    MIB,
    MOST_MISMATCHES,
    SCAN,
    SLOW,
    SUCCESSES,
    Action,
    ApiResponse,
    ChunkScheduler,
    decide,
    delay,
    explain,
)
from resumable_glance.client.progress import Lines, Phase, format_size
from resumable_glance.client.resume_state import ResumeState, StateFile
from resumable_glance.client.retry import RetryPolicy
from resumable_glance.errors import Reason
from resumable_glance.model.ranges import Range, merge
from tests import ROOT

STATE = ResumeState("a-1", "http://service", "/disk.raw", 5, 7, "abc", {"image": {"name": "disk.raw"}})


def problem(status: int, reason: Reason, **members: object) -> ApiResponse:
    """A refusal of the service itself."""
    kind = f"urn:problem-type:resumable-glance:{reason.value}"
    return ApiResponse(status, "A sentence.", {"type": kind, **members}, request_id="req-1")


LOST = ApiResponse(None, "connection refused")
BEGUN = [Range(0, HEAD)]  # what has to be durable before there is anything to choose


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        (ApiResponse(204), Action.DONE),
        (LOST, Action.RETRY),
        (ApiResponse(408), Action.RETRY),
        (ApiResponse(429), Action.RETRY),
        (ApiResponse(500), Action.RETRY),
        (ApiResponse(502), Action.RETRY),
        (problem(507, Reason.NO_SPACE), Action.RETRY),
        (problem(409, Reason.SUPERSEDED), Action.RETRY),
        (problem(422, Reason.CHUNK_DIGEST_MISMATCH), Action.RETRY),
        (problem(409, Reason.SEALED), Action.REFRESH),
        (problem(404, Reason.UNKNOWN_UPLOAD), Action.GONE),
        (problem(410, Reason.EXPIRED), Action.GONE),
        (problem(410, Reason.CANCELLED), Action.GONE),
        (problem(413, Reason.CHUNK_TOO_LARGE), Action.SHRINK),
        (ApiResponse(413), Action.SHRINK),
        (ApiResponse(404), Action.GIVE_UP),  # somebody else's: a wrong address is no lost upload
        (ApiResponse(302), Action.GIVE_UP),
        (ApiResponse(501), Action.GIVE_UP),
        (problem(401, Reason.UNAUTHENTICATED), Action.GIVE_UP),
        (problem(422, Reason.DIFFERENT_BYTES), Action.GIVE_UP),
        (problem(413, Reason.OVER_QUOTA), Action.GIVE_UP),
        (problem(409, Reason.IMAGE_NOT_QUEUED), Action.GIVE_UP),
    ],
)
def test_each_response_has_one_action(answer: ApiResponse, action: Action) -> None:
    assert decide(answer).action is action


def test_a_refusal_names_its_request_id() -> None:
    assert "req-1" in explain(problem(403, Reason.FORBIDDEN))
    assert "credentials" in explain(problem(401, Reason.UNAUTHENTICATED))
    assert "service URL" in explain(ApiResponse(404))


@given(st.integers(0, 10_000), st.floats(0, 1), st.none() | st.floats(0, 10_000))
def test_delays_are_bounded_and_honour_retry_after(attempts: int, chance: float, wish: float | None) -> None:
    seconds = delay(attempts, chance, wish)
    assert 0 < seconds <= max(LONGEST_DELAY, LONGEST_RETRY_AFTER)
    assert seconds >= min(wish or 0, LONGEST_RETRY_AFTER)
    assert delay(attempts + 1, chance) >= delay(attempts, chance)


@given(st.data())
def test_every_byte_is_acknowledged_in_the_end(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 64 * MIB), "size")
    chunk_size = data.draw(st.integers(64 * 1024, 32 * MIB), "chunk size")
    stored: list[Range] = []  # what the service has
    begun = data.draw(st.integers(0, size), "stored before")
    if begun:
        stored.append(Range(0, begun))
    scans = data.draw(st.booleans(), "whether zeros are declared")
    some = st.lists(st.tuples(st.integers(0, max(0, size - 1)), st.integers(1, 40 * MIB)), max_size=4 if size else 0)
    holes = list(merge(Range(at, min(size, at + length)) for at, length in data.draw(some, "runs of zeros")))
    scheduler = ChunkScheduler(size, chunk_size, stored, scans=scans)
    for each in holes[: data.draw(st.integers(0, 2), "holes that are known before") if scans else 0]:
        scheduler.scanned(each, [each])

    def next_chunk() -> Range | None:
        while (place := scheduler.to_scan()) is not None:
            assert 0 < place.length <= SCAN
            both = [Range(max(place.start, each.start), min(place.stop, each.stop)) for each in holes]
            scheduler.scanned(place, [each for each in both if each.length > 0])
        return scheduler.next()

    trouble = data.draw(st.integers(0, 40), "how many requests may fail")
    shown = scheduler.acknowledged
    while not scheduler.complete:
        while len(scheduler.in_flight) < 3 and (chunk := next_chunk()) is not None:
            others = scheduler.in_flight - {chunk}
            assert not any(each.overlaps(chunk) for each in [*others, *stored])
            empty = any(each.start <= chunk.start and chunk.stop <= each.stop for each in holes)
            assert scheduler.is_zeros(chunk) is (scans and empty)
            assert 0 < chunk.length <= (size if scans and empty else chunk_size)
            assert empty or not scans or not any(each.overlaps(chunk) for each in holes)
        chunk = data.draw(st.sampled_from(sorted(scheduler.in_flight)), "chunk that ends")
        fate = data.draw(st.sampled_from(["stored", "lost", "answer lost"]), "fate") if trouble else "stored"
        if fate == "stored":
            stored.append(chunk)
            scheduler.succeeded(chunk, data.draw(st.sampled_from([0.1, 20.0, 100.0]), "seconds"))
        else:
            trouble -= 1
            assert scheduler.failed(chunk, LOST).action is Action.RETRY
            if fate == "answer lost":
                stored.append(chunk)
            scheduler.learn(stored)
        assert scheduler.acknowledged >= shown
        shown = scheduler.acknowledged
    assert sum(each.length for each in set(stored)) >= size
    assert scheduler.acknowledged == size
    assert next_chunk() is None


def test_the_head_is_sent_first_and_alone() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB)
    assert take(scheduler) == Range(0, HEAD)
    assert scheduler.next() is None
    scheduler.succeeded(Range(0, HEAD), 0.1)
    assert [take(scheduler).start, take(scheduler).start] == [HEAD, HEAD + FIRST_CHUNK]


def test_chunks_grow_on_a_good_link() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    assert take(scheduler).length == FIRST_CHUNK
    grow(scheduler)
    assert scheduler.chunk_size == 64 * MIB


def test_chunks_shrink_when_connections_break() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    grow(scheduler)
    scheduler.failed(take(scheduler), LOST)
    assert scheduler.chunk_size == 32 * MIB
    for _ in range(20):
        scheduler.failed(take(scheduler), LOST)
    assert scheduler.chunk_size == 1 * MIB
    for _ in range(SUCCESSES):
        scheduler.succeeded(take(scheduler), 1.0)
    assert scheduler.chunk_size == 2 * MIB


def test_chunks_that_fail_together_shrink_once() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    for chunk in [take(scheduler), take(scheduler), take(scheduler)]:
        scheduler.failed(chunk, LOST)
    assert scheduler.chunk_size == FIRST_CHUNK // 2


def test_chunks_shrink_on_a_slow_link() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB, BEGUN)
    scheduler.succeeded(take(scheduler), SLOW + 1)
    assert scheduler.chunk_size == FIRST_CHUNK // 2


def test_chunks_stay_below_a_refused_size() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    grow(scheduler)
    assert (
        scheduler.failed(take(scheduler), problem(413, Reason.CHUNK_TOO_LARGE, limit=10 * MIB)).action is Action.SHRINK
    )
    assert scheduler.chunk_size == 10 * MIB
    grow(scheduler)
    assert scheduler.chunk_size == 10 * MIB


def test_declared_zeros_do_not_resize_chunks() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN, scans=True)
    scheduler.scanned(Range(0, 4096 * MIB), [Range(0, 4096 * MIB)])
    for answer in (LOST, ApiResponse(503)):
        assert scheduler.failed(take(scheduler), answer).action is Action.RETRY
    assert scheduler.failed(take(scheduler), ApiResponse(413)).action is Action.GIVE_UP
    run = take(scheduler)
    scheduler.succeeded(run, SLOW + 1)
    assert run == Range(HEAD, 4096 * MIB)
    assert scheduler.chunk_size == FIRST_CHUNK


def test_a_proxy_that_refuses_every_chunk_ends_the_upload() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB, BEGUN)
    actions = [scheduler.failed(take(scheduler), ApiResponse(413)).action for _ in range(4)]
    assert actions == [Action.SHRINK] * 3 + [Action.GIVE_UP]


def test_repeated_digest_mismatches_end_the_upload() -> None:
    scheduler = ChunkScheduler(8 * MIB, MIB, BEGUN)
    mismatch = problem(422, Reason.CHUNK_DIGEST_MISMATCH)
    actions = [scheduler.failed(take(scheduler), mismatch).action for _ in range(MOST_MISMATCHES)]
    assert actions == [Action.RETRY] * (MOST_MISMATCHES - 1) + [Action.GIVE_UP]


def test_retries_until_success_with_one_message_per_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    said: list[str] = []
    answers = iter([LOST] * 10 + [ApiResponse(200)])
    assert RetryPolicy(said.append).call(lambda: next(answers)).status == 200
    assert len(said) == 2  # that it waits, and that the service is back


def test_retries_end_after_the_time_limit() -> None:
    with pytest.raises(ClientError, match="Given up"):
        RetryPolicy(lambda sentence: None, give_up_after=0.2).call(lambda: LOST)


@pytest.mark.parametrize(
    ("answer", "kind"), [(problem(403, Reason.FORBIDDEN), ClientError), (problem(410, Reason.EXPIRED), UploadGone)]
)
def test_final_refusals_are_not_retried(answer: ApiResponse, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        RetryPolicy(lambda sentence: None).call(lambda: answer)


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of state files."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return resume_state.directory()


def test_resume_state_is_found_again_and_private(state_home: Path) -> None:
    name = resume_state.key("http://service", Path("/disk.raw"), "project/user")
    assert StateFile(name).load() is None
    StateFile(name).save(STATE)
    assert StateFile(name).load() == STATE
    (file,) = state_home.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert state_home.stat().st_mode & 0o777 == 0o700
    StateFile(name).remove()
    assert StateFile(name).load() is None


def test_resume_state_belongs_to_a_service_a_file_and_a_user() -> None:
    keys = {
        resume_state.key("http://a", Path("/disk"), "p/u"),
        resume_state.key("http://b", Path("/disk"), "p/u"),
        resume_state.key("http://a", Path("/other"), "p/u"),
        resume_state.key("http://a", Path("/disk"), "p/v"),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("content", ["", "{}", "[]", '"text"', "\x00"])
def test_invalid_resume_state_is_ignored(content: str, state_home: Path) -> None:
    (state_home / "name.json").write_text(content)
    assert StateFile("name").load() is None


@pytest.mark.usefixtures("state_home")
def test_resume_state_is_forgotten_with_its_upload() -> None:
    StateFile("one").save(STATE)
    StateFile("two").save(replace(STATE, upload_id="a-2"))
    resume_state.forget("a-1")
    assert StateFile("one").load() is None
    assert StateFile("two").load() is not None


def test_one_process_at_a_time_uploads_a_file(state_home: Path) -> None:
    def lock_again() -> None:
        with StateFile("name").lock():
            pass

    with StateFile("name").lock(), pytest.raises(ClientError):
        lock_again()
    lock_again()
    assert list(state_home.iterdir()) == []


def test_a_fingerprint_samples_beginning_middle_and_end(tmp_path: Path) -> None:
    content = bytearray(os.urandom(8 * MIB))
    prints = {fingerprint(tmp_path, content)}
    for place in (0, 4 * MIB, 8 * MIB - 1):
        content[place] ^= 1
        prints.add(fingerprint(tmp_path, content))
        content[place] ^= 1
    assert len(prints) == 4
    assert fingerprint(tmp_path, content) in prints
    assert fingerprint(tmp_path, b"") != fingerprint(tmp_path, b"\x00")


def test_a_chunk_is_iterable_twice_in_small_pieces(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    file = image(tmp_path, content)
    body = ChunkBody(file, Range(10, 150_010))
    assert len(body) == 150_000
    for _ in range(2):
        assert b"".join(body) == content[10:150_010]
    assert max(map(len, body)) <= WIRE_PIECE
    file.close()


@pytest.mark.parametrize("sparse", [True, False])
def test_long_runs_of_zeros_are_found(tmp_path: Path, sparse: bool) -> None:
    path = tmp_path / "disk.raw"
    size, data = 20 * MIB + 5, [Range(3 * MIB + 7, 4 * MIB), Range(5 * MIB, 6 * MIB - 9), Range(6 * MIB, 7 * MIB)]
    with path.open("wb") as writer:
        if sparse:
            writer.truncate(size)
        else:
            writer.write(bytes(size))
        for each in data:
            writer.seek(each.start)
            writer.write(b"x" * each.length)
    file = ImageFile(path)
    runs = [Range(0, 3 * MIB), Range(4 * MIB, 5 * MIB), Range(7 * MIB, size)]
    assert file.zeros(Range(0, size)) == runs
    assert file.zeros(Range(MIB + 3, 2 * MIB)) == []
    assert all(any(run.start <= each.start and each.stop <= run.stop for run in runs) for each in file.holes())
    assert bool(file.holes()) is sparse
    file.close()


def test_a_file_system_without_holes_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = image(tmp_path, bytes(4 * MIB))

    def lseek(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", lseek)
    assert file.holes() == []
    file.close()


def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    file = image(tmp_path, bytes(100))
    os.truncate(file.path, 50)
    assert file.changed()
    with pytest.raises(ClientError, match="shorter"):
        list(file.read(Range(0, 100)))
    with pytest.raises(ClientError, match="shorter"):
        WholeDigests(file, "md5").wait(lambda done: None)
    file.close()


def test_reading_stops_on_request(tmp_path: Path) -> None:
    file = image(tmp_path, bytes(100))
    file.stop.set()
    with pytest.raises(Paused):
        list(file.read(Range(0, 100)))
    file.close()


def test_directories_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="regular"):
        ImageFile(tmp_path)
    with pytest.raises(ClientError, match="No such file"):
        ImageFile(tmp_path / "missing")


FORMATS: Mapping[tuple[str, bytes], str | None] = {
    ("disk.qcow2", b"QFI\xfb\x00\x00\x00\x03"): "qcow2",
    ("cloud.img", b"QFI\xfb\x00\x00\x00\x03"): "qcow2",  # as Ubuntu names them
    ("disk.img", b"\xeb\x63"): "raw",
    ("DISK.RAW", b""): "raw",
    ("install.iso", b"\x00" * 10): "iso",
    ("disk.vmdk", b"KDMV"): "vmdk",
    ("disk.vhd", b"conectix"): "vhd",
    ("disk", b"vhdxfile"): "vhdx",
    ("disk.vmdk", b"QFI\xfb"): None,
    ("disk", b""): None,
}


@pytest.mark.parametrize(("name", "content"), FORMATS)
def test_the_disk_format_follows_signature_and_extension(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    file = ImageFile(path)
    expected = FORMATS[name, content]
    if expected is None:
        with pytest.raises(ClientError, match="--disk-format"):
            file.disk_format()
    else:
        assert file.disk_format() == expected
    file.close()


class Renewing(FixedEndpointPlugin):
    """Credentials whose first token has been revoked."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "old"

    def get_token(self, session: Session) -> str:
        return self.token

    def invalidate(self) -> bool:
        self.token = "new"
        return True


class Picky(BaseHTTPRequestHandler):
    """Takes the new token only; remembers bodies that came with it."""

    bodies: ClassVar[list[bytes]] = []

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fresh = self.headers["X-Auth-Token"] == "new"
        if fresh:
            self.bodies.append(body)
        self.send_response(204 if fresh else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_chunk_is_sent_again_with_a_new_token(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    file = image(tmp_path, content)
    with ThreadingHTTPServer(("127.0.0.1", 0), Picky) as server:
        threading.Thread(target=server.serve_forever).start()
        cloud = Cloud(Session(Renewing()), authenticated=True)
        service = ApiClient(cloud, f"http://127.0.0.1:{server.server_port}")
        assert service.send("a-1", file, Range(0, 300_000)).status == 204
        cloud.close()
        server.shutdown()
    assert Picky.bodies == [content]
    file.close()


def answered(body: bytes, headers: Mapping[str, str]) -> ApiResponse:
    """What the client makes of an answer with status 503."""
    response = requests.Response()
    response.status_code = 503
    response.raw = io.BytesIO(body)
    response.headers.update(headers)
    session = types.SimpleNamespace(request=lambda *_, **__: response)
    return ApiClient(
        cast(Cloud, types.SimpleNamespace(session=session, authenticated=True)), "http://service"
    ).describe()


@pytest.mark.parametrize("wish", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "soon", "-1", "\xb2", ""])
def test_an_invalid_retry_after_is_ignored(wish: str) -> None:
    assert answered(b"", {"Retry-After": wish}).retry_after is None


def test_deeply_nested_json_is_no_document() -> None:
    assert answered(b"[" * 1_000_000, {"Content-Type": "application/json"}).document == {}


@pytest.mark.parametrize("url", ["", "127.0.0.1:8970", "ftp://host", "http://", "file:///etc/passwd"])
def test_an_invalid_service_url_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="URL"):
        ApiClient(Cloud(Session(), authenticated=False), url)


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65536), ("64K", 65536), ("64M", 64 * MIB), ("1g", 1024 * MIB), ("1MiB", MIB)]
)
def test_sizes_are_parsed(text: str, size: int) -> None:
    assert command.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "M", "64 M", "1T", "٦٤M", "0", "1K"])
def test_invalid_sizes_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        command.parse_size(text)


def test_a_log_gets_few_lines_and_the_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin(Phase.UPLOADING, 1000, 0)
    for done in (*range(1001), 500):
        lines.update(done)
    written = capsys.readouterr().err.splitlines()
    assert len(written) == 2
    assert "(100 %)" in written[-1]


@pytest.mark.parametrize("vector", json.loads((ROOT / "tests" / "vectors" / "sizes.json").read_text()), ids=str)
def test_sizes_are_shown_as_the_page_shows_them(vector: dict[str, Any]) -> None:
    assert format_size(vector["bytes"]) == vector["text"]


def grow(scheduler: ChunkScheduler) -> None:
    """As much as it may."""
    for _ in range(4 * SUCCESSES):
        scheduler.succeeded(take(scheduler), 1.0)


def take(scheduler: ChunkScheduler) -> Range:
    chunk = scheduler.next()
    if chunk is None:
        pytest.fail("nothing is left to send")
    return chunk


def image(directory: Path, content: bytes | bytearray) -> ImageFile:
    path = directory / "disk.raw"
    path.write_bytes(content)
    return ImageFile(path)


def fingerprint(directory: Path, content: bytes | bytearray) -> str:
    file = image(directory, content)
    found = file.fingerprint()
    file.close()
    return found
