"""`resumable-glance upload` and `uploads` against a real service, through what happens to uploads in real life."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resumable_glance.api.protocols import PROTOCOLS
from resumable_glance.cli import main, parser
from resumable_glance.cli.upload import creation_request
from resumable_glance.client import ApiClient, ImageFile, resume_state
from resumable_glance.client.plan import ApiResponse
from tests.support.chaos import BadLink

MIB = 1024 * 1024
PATIENCE = 60.0  # seconds; no test should need so many


class DevelopmentServer:
    """A service of the development mode in a process of its own."""

    def __init__(self, state: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.images = state / "images"
        self._command = ["serve", "--dev", "--listen", f"127.0.0.1:{self.port}", "--state-dir", str(state)]
        self._log = state.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "resumable_glance", *self._command], stdout=log, stderr=log
            )

        def answers() -> bool:
            if process.poll() is not None:
                pytest.fail(f"the service has ended:\n{self._log.read_text()}")
            try:
                return bool(self.get("/"))
            except OSError:
                return False

        wait_until(answers)

    def kill(self) -> None:
        """As a power cut does it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def uploads(self) -> list[Any]:
        """Newest first."""
        return list(self.get("/v1/uploads")["uploads"])


class CuttingProxy:
    """Breaks every connection after a random number of bytes; the same seed breaks them in the same places."""

    def __init__(self, target: int, mean: int) -> None:
        self.cuts = 0
        self._target = target
        self._mean = mean
        self._random = random.Random(1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            budget = [int(self._random.expovariate(1 / self._mean))]
            pair = [
                threading.Thread(target=self._copy, args=[client, server, budget], daemon=True),
                threading.Thread(target=self._copy, args=[server, client, budget], daemon=True),
            ]
            for thread in pair:
                thread.start()
            self._threads.append(threading.Thread(target=self._finish, args=[pair, client, server], daemon=True))
            self._threads[-1].start()

    def _copy(self, source: socket.socket, target: socket.socket, budget: list[int]) -> None:
        try:
            while budget[0] >= 0 and (data := source.recv(65536)):
                budget[0] -= len(data)
                target.sendall(data)
        except OSError:
            pass
        self.cuts += budget[0] < 0
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _finish(self, pair: list[threading.Thread], *sockets: socket.socket) -> None:
        for thread in pair:
            thread.join()
        for each in sockets:
            each.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevelopmentServer]:
    made = DevelopmentServer(tmp_path / "service")
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentServer]:
    """For tests that neither kill it nor look at what uploads it has."""
    made = DevelopmentServer(tmp_path_factory.mktemp("shared") / "service")
    made.start()
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No OpenStack from outside, and resume records of our own."""
    for name in os.environ:
        if name.startswith(("OS_", "RESUMABLE_GLANCE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(random.Random(0).randbytes(24 * MIB + 12_345))
    return path


def test_development_mode_prints_the_url_of_each_protocol(shared_server: DevelopmentServer) -> None:
    said = shared_server.said()
    assert [each.MOUNT for each in PROTOCOLS if f"  {shared_server.url}{each.MOUNT}\n" not in said] == []


def test_a_file_becomes_an_image_with_the_same_digests(server: DevelopmentServer, disk: Path) -> None:
    ended = upload(server.url, disk, "--name", "first", "--property", "os_distro=debian", "--tag", "t")
    assert ended.returncode == 0, ended.stderr
    image_id = assert_verified(ended, disk)
    assert (server.images / image_id).read_bytes() == disk.read_bytes()
    described = json.loads((server.images / f"{image_id}.json").read_text())
    assert (described["name"], described["os_distro"], described["tags"]) == ("first", "debian", ["t"])
    assert "uploading" in ended.stderr
    assert list(resume_state.directory().iterdir()) == []


def test_a_file_without_a_byte_becomes_an_image_too(shared_server: DevelopmentServer, tmp_path: Path) -> None:
    path = tmp_path / "empty.raw"
    path.touch()
    assert_verified(upload(shared_server.url, path), path)


def test_zeros_of_a_sparse_disk_are_not_sent(server: DevelopmentServer, tmp_path: Path) -> None:
    """1 GiB in all, half of the zeros holes. That a smaller one of its kind becomes an image, the next test shows."""
    path = patchwork(tmp_path / "disk.raw", 1024 * MIB)
    with BadLink(server.port) as link:
        ended = upload(link.url, path, "--no-wait")
        assert ended.returncode == 0, ended.stderr
        print(f"{link.carried} bytes on the wire")
        assert link.carried <= 256 * MIB
    (shown,) = server.uploads()
    assert (shown["state"] != "receiving", shown["received"]) == (True, 1024 * MIB)


def test_the_image_of_a_disk_that_is_mostly_zeros_is_the_file(server: DevelopmentServer, tmp_path: Path) -> None:
    path = patchwork(tmp_path / "disk.raw", 80 * MIB)
    ended = upload(server.url, path)
    assert ended.returncode == 0, ended.stderr
    image_id = assert_verified(ended, path)
    assert filecmp.cmp(server.images / image_id, path, shallow=False)


def test_zeros_are_sent_where_they_can_not_be_declared(
    shared_server: DevelopmentServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(3 * MIB))
    monkeypatch.setattr("resumable_glance.client.uploader.ZEROS", "another type")
    monkeypatch.setattr(ApiClient, "declare_zeros", None)
    assert main(["upload", str(path), "--service-url", shared_server.url, "--no-progress"]) == 0


def test_a_declared_digest_is_computed_before_the_upload_is_made(server: DevelopmentServer, disk: Path) -> None:
    ended = upload(server.url, disk, "--digest", "sha256")
    assert_verified(ended, disk)
    (listed,) = server.uploads()
    digests = server.get(f"/v1/uploads/{listed['id']}")["digests"]
    assert digests == {"sha256": hashlib.sha256(disk.read_bytes()).hexdigest()}


def test_a_service_that_is_killed_again_and_again_is_waited_for(server: DevelopmentServer, disk: Path) -> None:
    running = start_upload(server.url, disk, "--chunk-size", "256K")
    for part in (1, 2):
        wait_until(lambda part=part: received(server) >= part * 6 * MIB)  # type: ignore[misc]
        server.kill()
        server.start()
    assert_verified(ended_of(running), disk)
    assert len(server.uploads()) == 1


def test_a_service_that_is_away_at_the_start_is_waited_for(
    server: DevelopmentServer, disk: Path, tmp_path: Path
) -> None:
    server.kill()
    running = start_upload(server.url, disk)
    stderr = running.stderr
    if stderr is None:
        pytest.fail("stderr is not a pipe")
    assert "Ctrl-C pauses" in stderr.readline()
    server.start()
    assert_verified(ended_of(running), disk)


def test_an_upload_survives_connections_that_break_at_random(server: DevelopmentServer, disk: Path) -> None:
    proxy = CuttingProxy(server.port, mean=4 * MIB)
    ended = upload(proxy.url, disk, "--chunk-size", "2M")
    proxy.close()
    assert_verified(ended, disk)
    assert proxy.cuts > 3


def test_control_c_pauses_and_the_same_command_goes_on(server: DevelopmentServer, disk: Path) -> None:
    interrupt(server, disk)
    begun = received(server)
    assert begun >= 6 * MIB
    resumed = upload(server.url, disk)
    assert f"{begun} of {disk.stat().st_size} bytes are there" in resumed.stderr
    assert_verified(resumed, disk)
    assert len(server.uploads()) == 1


def test_a_changed_file_is_uploaded_anew_and_the_old_upload_named(server: DevelopmentServer, disk: Path) -> None:
    interrupt(server, disk)
    (old,) = server.uploads()
    with disk.open("r+b") as file:
        file.write(b"changed")
    ended = upload(server.url, disk)
    assert f"uploads cancel {old['id']}" in ended.stderr
    assert_verified(ended, disk)
    assert [each["state"] for each in server.uploads()] == ["active", "receiving"]


def test_other_options_for_the_image_make_another_upload(server: DevelopmentServer, disk: Path) -> None:
    interrupt(server, disk)
    assert_verified(upload(server.url, disk, "--name", "other"), disk)
    assert [each["image"]["name"] for each in server.uploads()] == ["other", "disk.raw"]


def test_an_upload_that_was_cancelled_meanwhile_is_begun_anew(server: DevelopmentServer, disk: Path) -> None:
    interrupt(server, disk)
    (saved,) = resume_state.directory().glob("*.json")
    content = saved.read_text()
    (old,) = server.uploads()
    cancelled = command("uploads", "cancel", old["id"], "--service-url", server.url)
    assert (cancelled.returncode, cancelled.stdout) == (0, f"{old['id']} is cancelled\n")
    assert not saved.exists()
    saved.write_text(content)  # as if it had been cancelled from another machine
    ended = upload(server.url, disk)
    assert "Starting a new upload" in ended.stderr
    assert_verified(ended, disk)


def test_no_wait_names_the_upload_and_verify_works_later(server: DevelopmentServer, disk: Path) -> None:
    ended = upload(server.url, disk, "--no-wait")
    assert ended.returncode == 0
    assert re.fullmatch(r"(sealed|delivering|verifying|active): image=\S+ size=\d+ upload=\S+\n", ended.stdout)
    assert_verified(upload(server.url, disk), disk)
    assert len(server.uploads()) == 1


def test_giving_up_is_a_failure_that_can_be_resumed(server: DevelopmentServer, disk: Path) -> None:
    server.kill()
    ended = upload(server.url, disk, "--give-up-after", "0.5")
    assert ended.returncode == 1
    assert "Given up" in ended.stderr


def test_a_refusal_ends_the_upload_and_names_its_request_id(shared_server: DevelopmentServer, disk: Path) -> None:
    ended = upload(shared_server.url, disk, "--image-id", "11111111-1111-1111-1111-111111111111")
    assert ended.returncode == 1
    assert re.search(r"There is no such image\. \(request id req-", ended.stderr)
    assert ended.stdout == ""


def test_an_address_without_the_service_is_no_reason_to_wait(shared_server: DevelopmentServer, disk: Path) -> None:
    ended = upload(shared_server.url + "/elsewhere", disk)
    assert ended.returncode == 1
    assert "waiting" not in ended.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["--image-id", "11111111-1111-1111-1111-111111111111", "--name", "x"],
        ["--chunk-size", "1"],
        ["--parallel", "0"],
        ["--property", "novalue"],
        ["--image-id", "../x"],
        ["--all-stores", "--store", "fast"],
        ["--method", "upload", "--all-stores"],
        ["--method", "upload", "--store", "fast", "--store", "archive"],
        ["--method", "copy"],
    ],
)
def test_a_wrong_command_line_is_told_before_anything_is_sent(wrong: list[str], disk: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["upload", str(disk), *wrong])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ([], {}),
        (["--store", "fast"], {"store": "fast"}),
        (["--store", "fast", "--store", "fast"], {"store": "fast"}),
        (["--store", "fast", "--store", "archive"], {"stores": ["fast", "archive"]}),
        (["--all-stores"], {"all_stores": True}),
        (["--method", "import", "--store", "fast"], {"method": "import", "store": "fast"}),
    ],
)
def test_the_stores_are_asked_for_as_they_are_said(said: list[str], asked: dict[str, object], disk: Path) -> None:
    arguments = parser().parse_args(["upload", str(disk), *said])
    with ImageFile(disk) as file:
        request = creation_request(arguments, file)
    assert {name: value for name, value in request.items() if name != "image"} == asked


def test_an_image_that_is_not_the_file_is_never_called_verified(
    shared_server: DevelopmentServer, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    get = ApiClient.get

    def lies(self: ApiClient, upload_id: str) -> ApiResponse:
        answer = get(self, upload_id)
        hashes: Any = answer.document["hashes"]
        if hashes is None:
            return answer
        return replace(answer, document={**answer.document, "hashes": {**hashes, "sha512": "0" * 128}})

    monkeypatch.setattr(ApiClient, "get", lies)
    assert main(["upload", str(disk), "--service-url", shared_server.url]) == 1
    shown = capsys.readouterr()
    assert "is not this file: its sha512" in shown.err
    assert shown.out == ""


GLANCE: Mapping[str, Callable[[Mapping[str, Any]], ApiResponse | None]] = {
    "the same": lambda image: ApiResponse(200, document={**image, "os_hash_algo": "sha512", "status": "active"}),
    "another hash algorithm": lambda image: ApiResponse(
        200, document={**image, "os_hash_algo": "sha3_512", "os_hash_value": "1", "status": "active"}
    ),
    "no answer": lambda image: ApiResponse(None, "connection refused"),
    "no Glance": lambda image: None,
    "another checksum": lambda image: ApiResponse(200, document={**image, "checksum": "0" * 32, "status": "active"}),
    "another status": lambda image: ApiResponse(200, document={**image, "status": "queued"}),
    "no image": lambda image: ApiResponse(404),
}


@pytest.mark.parametrize(
    ("case", "status"),
    [("the same", 0), ("another hash algorithm", 0), ("no answer", 0), ("no Glance", 0),
     ("another checksum", 1), ("another status", 1), ("no image", 1)],
)  # fmt: skip
def test_the_image_in_glance_decides_the_result(
    case: str,
    status: int,
    shared_server: DevelopmentServer,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def shown(self: ApiClient, image_id: str) -> ApiResponse | None:
        return GLANCE[case](json.loads((shared_server.images / f"{image_id}.json").read_text()))

    monkeypatch.setattr(ApiClient, "image", shown)
    assert main(["upload", str(disk), "--service-url", shared_server.url, "--no-progress"]) == status
    assert ("verified:" in capsys.readouterr().out) is (status == 0)


def test_a_lost_answer_to_a_creation_makes_no_second_upload(
    server: DevelopmentServer, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ApiClient.create
    lost: list[object] = []

    def losing(self: ApiClient, request: Mapping[str, object], key: str) -> ApiResponse:
        answer = create(self, request, key)
        if len(lost) == 2:
            return answer
        lost.append(answer.document["id"])
        return ApiResponse(None, "the connection ended")

    monkeypatch.setattr(ApiClient, "create", losing)
    assert main(["upload", str(disk), "--service-url", server.url]) == 0
    assert {each["id"] for each in server.uploads()} == set(lost)
    assert len(set(lost)) == 1
    assert len(list(server.images.glob("*.json"))) == 1


def test_an_upload_that_failed_says_why(
    server: DevelopmentServer, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ApiClient.create
    monkeypatch.setattr(
        ApiClient, "create", lambda self, request, key: create(self, {**request, "digests": {"md5": "0" * 32}}, key)
    )
    assert main(["upload", str(disk), "--service-url", server.url]) == 1
    (failed,) = server.uploads()
    told = capsys.readouterr().err
    assert server.get(f"/v1/uploads/{failed['id']}")["handoff"]["last_error"]["detail"] in told
    assert f"uploads cancel {failed['id']}" in told
    assert f"uploads retry {failed['id']}" in told
    again = command("uploads", "retry", failed["id"], "--service-url", server.url)
    assert (again.returncode, again.stdout) == (1, "")
    assert "Another try would" in again.stderr


def test_retry_hands_a_failed_upload_over_again(server: DevelopmentServer, disk: Path) -> None:
    assert_verified(upload(server.url, disk), disk)
    (active,) = server.uploads()
    shown = command("uploads", "receipt", active["id"], "--service-url", server.url)
    assert re.search(rf"^glance.md5 +{active_md5(server, active)}$", shown.stdout, re.MULTILINE), shown
    as_json = json.loads(command("uploads", "receipt", active["id"], "--json", "--service-url", server.url).stdout)
    assert as_json == server.get(f"/v1/uploads/{active['id']}/receipt")
    again = command("uploads", "retry", active["id"], "--service-url", server.url)
    assert (again.returncode, again.stdout) == (0, f"{active['id']} is active\n")


def test_uploads_are_listed_shown_and_cancelled(server: DevelopmentServer, disk: Path) -> None:
    interrupt(server, disk)
    (begun,) = server.uploads()
    listed = command("uploads", "list", "--long", "--service-url", server.url).stdout.splitlines()
    assert listed[0].split()[:3] == ["ID", "STATE", "RECEIVED"]
    assert listed[1].startswith(f"{begun['id']}  receiving")
    assert json.loads(command("uploads", "list", "--json", "--service-url", server.url).stdout) == server.uploads()
    everybodys = command("uploads", "list", "--all-projects", "--service-url", server.url).stdout.splitlines()
    assert everybodys[0].split()[-2:] == ["PROJECT", "USER"]
    assert everybodys[1].split()[-2:] == ["development", "anyone"]
    projects = command("uploads", "list", "--by-project", "--service-url", server.url).stdout.splitlines()
    assert [each.split()[:2] for each in projects] == [["PROJECT", "UPLOADS"], ["development", "1"]]
    (project,) = json.loads(command("uploads", "list", "--by-project", "--json", "--service-url", server.url).stdout)
    assert (project["reserved"], project["received"]) == (begun["size"], begun["received"])
    shown = command("uploads", "show", begun["id"], "--service-url", server.url).stdout
    assert re.search(r"^handoff\.attempts +0$", shown, re.MULTILINE)
    as_json = json.loads(command("uploads", "show", begun["id"], "--json", "--service-url", server.url).stdout)
    assert as_json == server.get(f"/v1/uploads/{begun['id']}")
    unknown = "a-" + "0" * 32
    cancelled = command("uploads", "cancel", unknown, begun["id"], "--service-url", server.url)
    assert cancelled.returncode == 1
    assert cancelled.stdout == f"{begun['id']} is cancelled\n"
    assert unknown in cancelled.stderr


def active_md5(server: DevelopmentServer, upload: dict[str, Any]) -> str:
    return str(server.get(f"/v1/uploads/{upload['id']}")["hashes"]["md5"])


def test_a_changed_receipt_is_detected(
    server: DevelopmentServer, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_verified(upload(server.url, disk), disk)
    (active,) = server.uploads()
    given = ApiClient.receipt
    changes: list[dict[str, object]] = [{"size": 1}, {"jws": "a.b.c"}, {"glance": {}}]
    for each in changes:

        def changed(self: ApiClient, upload_id: str, change: dict[str, object] = each) -> ApiResponse:
            answer = given(self, upload_id)
            return replace(answer, document={**answer.document, **change})

        monkeypatch.setattr(ApiClient, "receipt", changed)
        assert main(["uploads", "receipt", active["id"], "--service-url", server.url]) == 1
        assert capsys.readouterr().out == ""


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run(
        [sys.executable, "-m", "resumable_glance", *arguments], capture_output=True, text=True, timeout=PATIENCE
    )


def upload(url: str, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return command("upload", path, "--service-url", url, *options)


def start_upload(url: str, path: Path, *options: str) -> subprocess.Popen[str]:
    arguments = ["upload", str(path), "--service-url", url, "--no-progress", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "resumable_glance", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended_of(running: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    stdout, stderr = running.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(running.args, running.returncode, stdout, stderr)


def interrupt(server: DevelopmentServer, path: Path) -> None:
    """Upload, and press Ctrl-C when some of it is there."""
    running = start_upload(server.url, path, "--chunk-size", "128K", "--parallel", "1")
    wait_until(lambda: received(server) >= 6 * MIB)
    running.send_signal(signal.SIGINT)
    ended = ended_of(running)
    assert ended.returncode == 130, ended.stderr
    assert "the same command resumes" in ended.stderr
    assert received(server) < path.stat().st_size


def received(server: DevelopmentServer) -> int:
    """Bytes that the newest upload has."""
    return max((int(each["received"]) for each in server.uploads()[:1]), default=0)


def assert_verified(ended: subprocess.CompletedProcess[str], path: Path) -> str:
    """The last line is the proof, and true; the image's id."""
    content = path.read_bytes()
    md5, sha512 = hashlib.md5(content, usedforsecurity=False).hexdigest(), hashlib.sha512(content).hexdigest()
    expected = rf"verified: image=(\S+) size={len(content)} md5={md5} sha512={sha512}"
    match = re.fullmatch(expected, (ended.stdout.splitlines() or [""])[-1])
    assert match, ended.stdout + ended.stderr
    assert ended.returncode == 0
    return match[1]


def patchwork(path: Path, size: int) -> Path:
    """A disk of which a fifth is data, in sixteen pieces that do not end where a block does. Zeros are written after
    every other one; the rest are holes."""
    part = size // 16
    with path.open("wb") as file:
        file.truncate(size)
        for number in range(16):
            file.seek(number * part)
            file.write(random.Random(number).randbytes(part // 5))
            if number % 2:
                file.write(bytes(part - part // 5))
    return path


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it has not happened in time"
        time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_a_wrong_format_is_refused_after_two_mebibytes(server: DevelopmentServer, tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    with path.open("wb") as file:
        file.write(b"no qcow2 " * 200_000)
        file.truncate(1024 * MIB)
    with BadLink(server.port) as link:
        ended = upload(link.url, path)
        assert ended.returncode == 1
        assert "declared as qcow2" in ended.stderr
        print(f"{link.carried} bytes on the wire")
        assert link.carried <= 2 * MIB
    (shown,) = server.uploads()
    assert shown["state"] == "failed"
    assert list(server.images.iterdir()) == []
