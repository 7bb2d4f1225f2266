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
def test_each_answer_has_one_meaning(answer: ApiResponse, action: Action) -> None:
    assert decide(answer).action is action


def test_a_refusal_is_explained_with_the_id_that_the_operator_needs() -> None:
    assert "req-1" in explain(problem(403, Reason.FORBIDDEN))
    assert "credentials" in explain(problem(401, Reason.UNAUTHENTICATED))
    assert "service URL" in explain(ApiResponse(404))


@given(st.integers(0, 10_000), st.floats(0, 1), st.none() | st.floats(0, 10_000))
def test_delays_are_bounded_and_never_shorter_than_the_service_wishes(
    attempts: int, chance: float, wish: float | None
) -> None:
    seconds = delay(attempts, chance, wish)
    assert 0 < seconds <= max(LONGEST_DELAY, LONGEST_RETRY_AFTER)
    assert seconds >= min(wish or 0, LONGEST_RETRY_AFTER)
    assert delay(attempts + 1, chance) >= delay(attempts, chance)


@given(st.data())
def test_whatever_happens_to_chunks_in_the_end_every_byte_was_acknowledged(data: st.DataObject) -> None:
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


def test_the_head_goes_first_and_alone_for_it_may_be_all_that_is_wanted() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB)
    assert take(scheduler) == Range(0, HEAD)
    assert scheduler.next() is None
    scheduler.succeeded(Range(0, HEAD), 0.1)
    assert [take(scheduler).start, take(scheduler).start] == [HEAD, HEAD + FIRST_CHUNK]


def test_chunks_grow_on_a_good_link_up_to_the_size_asked_for() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    assert take(scheduler).length == FIRST_CHUNK
    grow(scheduler)
    assert scheduler.chunk_size == 64 * MIB


def test_chunks_shrink_when_connections_break_and_grow_when_they_hold() -> None:
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


def test_chunks_shrink_on_a_slow_link_so_that_a_pause_costs_little() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB, BEGUN)
    scheduler.succeeded(take(scheduler), SLOW + 1)
    assert scheduler.chunk_size == FIRST_CHUNK // 2


def test_chunks_stay_below_what_was_refused_as_too_large() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN)
    grow(scheduler)
    assert (
        scheduler.failed(take(scheduler), problem(413, Reason.CHUNK_TOO_LARGE, limit=10 * MIB)).action is Action.SHRINK
    )
    assert scheduler.chunk_size == 10 * MIB
    grow(scheduler)
    assert scheduler.chunk_size == 10 * MIB


def test_what_happens_to_declared_zeros_says_nothing_about_the_link() -> None:
    scheduler = ChunkScheduler(8192 * MIB, 64 * MIB, BEGUN, scans=True)
    scheduler.scanned(Range(0, 4096 * MIB), [Range(0, 4096 * MIB)])
    for answer in (LOST, ApiResponse(503)):
        assert scheduler.failed(take(scheduler), answer).action is Action.RETRY
    assert scheduler.failed(take(scheduler), ApiResponse(413)).action is Action.GIVE_UP
    run = take(scheduler)
    scheduler.succeeded(run, SLOW + 1)
    assert run == Range(HEAD, 4096 * MIB)
    assert scheduler.chunk_size == FIRST_CHUNK


def test_a_proxy_that_takes_no_chunk_at_all_is_given_up_on() -> None:
    scheduler = ChunkScheduler(1024 * MIB, 64 * MIB, BEGUN)
    actions = [scheduler.failed(take(scheduler), ApiResponse(413)).action for _ in range(4)]
    assert actions == [Action.SHRINK] * 3 + [Action.GIVE_UP]


def test_a_chunk_whose_digest_never_holds_is_given_up_on() -> None:
    scheduler = ChunkScheduler(8 * MIB, MIB, BEGUN)
    mismatch = problem(422, Reason.CHUNK_DIGEST_MISMATCH)
    actions = [scheduler.failed(take(scheduler), mismatch).action for _ in range(MOST_MISMATCHES)]
    assert actions == [Action.RETRY] * (MOST_MISMATCHES - 1) + [Action.GIVE_UP]


def test_patience_asks_until_there_is_an_answer_and_speaks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    said: list[str] = []
    answers = iter([LOST] * 10 + [ApiResponse(200)])
    assert RetryPolicy(said.append).call(lambda: next(answers)).status == 200
    assert len(said) == 2  # that it waits, and that the service is back


def test_patience_ends_when_the_user_said_so() -> None:
    with pytest.raises(ClientError, match="Given up"):
        RetryPolicy(lambda sentence: None, give_up_after=0.2).call(lambda: LOST)


@pytest.mark.parametrize(
    ("answer", "kind"), [(problem(403, Reason.FORBIDDEN), ClientError), (problem(410, Reason.EXPIRED), UploadGone)]
)
def test_patience_does_not_wait_where_waiting_is_no_help(answer: ApiResponse, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        RetryPolicy(lambda sentence: None).call(lambda: answer)


def test_a_record_is_found_again_and_only_its_user_can_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    name = resume_state.key("http://service", Path("/disk.raw"), "project/user")
    assert StateFile(name).load() is None
    StateFile(name).save(STATE)
    assert StateFile(name).load() == STATE
    (file,) = resume_state.directory().iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert resume_state.directory().stat().st_mode & 0o777 == 0o700
    StateFile(name).remove()
    assert StateFile(name).load() is None


def test_a_record_belongs_to_a_service_a_file_and_a_user() -> None:
    keys = {
        resume_state.key("http://a", Path("/disk"), "p/u"),
        resume_state.key("http://b", Path("/disk"), "p/u"),
        resume_state.key("http://a", Path("/other"), "p/u"),
        resume_state.key("http://a", Path("/disk"), "p/v"),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("content", ["", "{}", "[]", '"text"', "\x00"])
def test_a_record_that_is_not_understood_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "name.json").write_text(content)
    assert StateFile("name", tmp_path).load() is None


def test_a_record_is_forgotten_with_its_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    StateFile("one").save(STATE)
    StateFile("two").save(replace(STATE, upload_id="a-2"))
    resume_state.forget("a-1")
    assert StateFile("one").load() is None
    assert StateFile("two").load() is not None


def test_a_file_is_uploaded_by_one_process_at_a_time(tmp_path: Path) -> None:
    def hold_it_again() -> None:
        with StateFile("name", tmp_path).lock():
            pass

    with StateFile("name", tmp_path).lock(), pytest.raises(ClientError, match="Another process"):
        hold_it_again()
    hold_it_again()
    assert list(tmp_path.iterdir()) == []


def test_a_fingerprint_tells_when_the_beginning_the_middle_or_the_end_changed(tmp_path: Path) -> None:
    content = bytearray(os.urandom(8 * MIB))
    prints = {fingerprint(tmp_path, content)}
    for place in (0, 4 * MIB, 8 * MIB - 1):
        content[place] ^= 1
        prints.add(fingerprint(tmp_path, content))
        content[place] ^= 1
    assert len(prints) == 4
    assert fingerprint(tmp_path, content) in prints
    assert fingerprint(tmp_path, b"") != fingerprint(tmp_path, b"\x00")


def test_a_chunk_can_be_sent_twice_in_pieces_that_a_slow_link_can_take(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    file = image(tmp_path, content)
    body = ChunkBody(file, Range(10, 150_010))
    assert len(body) == 150_000
    for _ in range(2):
        assert b"".join(body) == content[10:150_010]
    assert max(map(len, body)) <= WIRE_PIECE
    file.close()


@pytest.mark.parametrize("sparse", [True, False])
def test_runs_of_zeros_in_a_file_are_found_if_they_are_worth_a_request(tmp_path: Path, sparse: bool) -> None:
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


def test_a_file_system_that_does_not_tell_of_holes_is_no_reason_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = image(tmp_path, bytes(4 * MIB))

    def lseek(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", lseek)
    assert file.holes() == []
    file.close()


def test_a_file_that_becomes_shorter_is_a_failure_and_no_broken_connection(tmp_path: Path) -> None:
    file = image(tmp_path, bytes(100))
    os.truncate(file.path, 50)
    assert file.changed()
    with pytest.raises(ClientError, match="shorter"):
        list(file.read(Range(0, 100)))
    with pytest.raises(ClientError, match="shorter"):
        WholeDigests(file, "md5").wait(lambda done: None)
    file.close()


def test_reading_ends_when_somebody_asks(tmp_path: Path) -> None:
    file = image(tmp_path, bytes(100))
    file.stop.set()
    with pytest.raises(Paused):
        list(file.read(Range(0, 100)))
    file.close()


def test_what_can_not_be_an_image_is_refused(tmp_path: Path) -> None:
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
def test_the_disk_format_is_told_by_beginning_and_name_or_asked_for(name: str, content: bytes, tmp_path: Path) -> None:
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


def test_a_chunk_that_met_an_expired_token_is_sent_again_as_a_whole(tmp_path: Path) -> None:
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
def test_a_wish_to_wait_that_is_no_time_is_none(wish: str) -> None:
    assert answered(b"", {"Retry-After": wish}).retry_after is None


def test_json_that_is_nested_too_deeply_is_no_document() -> None:
    assert answered(b"[" * 1_000_000, {"Content-Type": "application/json"}).document == {}


@pytest.mark.parametrize("url", ["", "127.0.0.1:8970", "ftp://host", "http://", "file:///etc/passwd"])
def test_what_is_not_the_url_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="URL"):
        ApiClient(Cloud(Session(), authenticated=False), url)


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65536), ("64K", 65536), ("64M", 64 * MIB), ("1g", 1024 * MIB), ("1MiB", MIB)]
)
def test_sizes_are_written_as_people_write_them(text: str, size: int) -> None:
    assert command.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "M", "64 M", "1T", "٦٤M", "0", "1K"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        command.parse_size(text)


def test_a_log_gets_few_lines_and_always_the_last(capsys: pytest.CaptureFixture[str]) -> None:
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
