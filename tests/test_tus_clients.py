"""Other people's tus clients, unmodified, against our service through a link that breaks.

The rule: a client goes on by its own means alone; we set its options, and look at nothing but the image.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aiotus
import pytest
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

from tests import process
from tests.chaos import BadLink
from tests.cloud.cache import CACHE, make_once
from tests.images import apt_get
from tests.service import Service, development
from tests.wire import Client

MIB = 1024 * 1024
SIZE = 64 * MIB
CONTENT = random.Random(23).randbytes(SIZE)
CUTS = 4
PATIENCE = (2 * MIB, 12 * MIB)  # bytes that a connection carries before it is cut
NODE = 18  # what tus-js-client needs at least
PATIENCE_WITH_NODE = 120  # seconds
PROJECT = Path(__file__).parent / "clients"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "disk.raw"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(scope="module")
def node() -> Path:
    """The program node, new enough and with npm; where it is missing, and we may, it is installed first."""
    if not (shutil.which("node") and shutil.which("npm")) and os.getuid() == 0 and shutil.which("apt-get"):
        with contextlib.suppress(subprocess.CalledProcessError):  # what is missing is told below
            apt_get("install", "--yes", "--no-install-recommends", "nodejs", "npm")
    found = shutil.which("node")
    if not found or not shutil.which("npm"):
        pytest.fail(f"node or npm is missing: install Node.js {NODE} or newer (Debian: apt install nodejs npm)")
    version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE:
        pytest.fail(f"{found} is {version}: install Node.js {NODE} or newer")
    return Path(found)


@pytest.fixture(scope="module")
def script(node: Path) -> Path:
    """upload.mjs beside what it imports, installed once for each version of tests/clients."""
    files = sorted(PROJECT.glob("*.*"))
    version = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def install(directory: Path) -> None:
        directory.mkdir()
        for file in files:
            shutil.copy(file, directory)
        command = [shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"npm ci can't install tests/clients\n{done.stderr}")

    return make_once(CACHE / "clients" / version, install) / "upload.mjs"


class TusJsClient:
    """A process that uploads a file with tus-js-client."""

    def __init__(self, node: Path, script: Path, log: Path, options: dict[str, Any]) -> None:
        self._command = [str(node), str(script), json.dumps(options)]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = process.launch(self._command, log=self._log)

    def kill(self) -> None:
        running, self._process = self._process, None
        if running is not None:
            process.end(running, signal.SIGKILL)

    def wait(self) -> str:
        """The upload's URL, once it is done."""
        assert self._process is not None
        assert self._process.wait(PATIENCE_WITH_NODE) == 0, process.tail(self._log)
        return str(self._said()[-1]["url"])

    def answers(self, method: str) -> list[tuple[int, int]]:
        """Status and Upload-Offset (-1: none) of each answer to `method`."""
        return [(line["status"], line["offset"]) for line in self._said() if line.get("method") == method]

    def _said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]


@contextlib.contextmanager
def tus_js_client(
    node: Path, script: Path, tmp_path: Path, image: Path, link: BadLink, storage: Path | None = None, **options: Any
) -> Iterator[TusJsClient]:
    options = {"endpoint": f"{link.url}/v1/tus", "metadata": {"filename": image.name}, **options}
    described = {"file": str(image), "storage": storage and str(storage), "options": options}
    client = TusJsClient(node, script, tmp_path / "node.log", described)
    client.start()
    try:
        yield client
    finally:
        client.kill()


def assert_uploaded(service: Service, url: str) -> None:
    """The image is what was to be uploaded."""
    upload = Client(service.url).wait(f"{service.url}/v1/uploads/{url.rpartition('/')[2]}", "active")
    assert upload["hashes"]["sha512"] == hashlib.sha512(CONTENT).hexdigest()
    assert (service.directory / "images" / upload["image"]["id"]).read_bytes() == CONTENT
    assert upload["image"]["name"] == "disk.raw"


@pytest.mark.parametrize("checksum", [False, True], ids=["without a checksum", "with a checksum"])
def test_tuspy_goes_on_after_cuts(service: Service, image: Path, checksum: bool) -> None:
    chunk = 4 * MIB
    with BadLink(service.port, cuts=CUTS, patience=(MIB, 3 * MIB), seed=1) as link, image.open("rb") as stream:
        uploader: Any = TusClient(f"{link.url}/v1/tus").uploader(
            file_stream=stream,
            chunk_size=chunk,
            metadata={"filename": image.name},
            retries=10,
            retry_delay=0,
            upload_checksum=checksum,
        )
        ends = []
        while uploader.offset < SIZE:
            uploader.upload_chunk()
            ends.append(uploader.offset)
        assert link.cuts_made == CUTS
    # What arrived of a cut chunk counts, unless a checksum was to hold for all of it.
    assert any(end % chunk for end in ends) is not checksum
    assert_uploaded(service, uploader.url)


# tuspy leaves it to the garbage collector to close the file whose path it was told.
@pytest.mark.filterwarnings("ignore:unclosed file.*disk.raw:ResourceWarning")
def test_tuspy_finds_its_upload_again_in_another_run(service: Service, image: Path, tmp_path: Path) -> None:
    urls: set[str] = set()
    with BadLink(service.port, cuts=CUTS, patience=(MIB, 3 * MIB), seed=2) as link:
        for stop in (SIZE // 2, SIZE):
            storage: Any = FileStorage(str(tmp_path / "uploads.json"))  # type: ignore[no-untyped-call]
            uploader: Any = TusClient(f"{link.url}/v1/tus").uploader(
                str(image),
                chunk_size=4 * MIB,
                metadata={"filename": image.name},
                retries=10,
                retry_delay=0,
                store_url=True,
                url_storage=storage,
            )
            uploader.upload(stop_at=stop)
            urls.add(uploader.url)
            storage.close()
        del uploader
        gc.collect()
        assert link.cuts_made == CUTS
    (url,) = urls
    assert_uploaded(service, url)


# aiotus hands its chunks of 4 MiB to aiohttp as bytes, which aiohttp finds too much.
@pytest.mark.filterwarnings("ignore:Sending a large body directly with raw bytes:ResourceWarning")
def test_aiotus_goes_on_after_cuts(service: Service, image: Path) -> None:
    offsets: list[int] = []

    async def answered(_: aiohttp.ClientSession, __: object, end: aiohttp.TraceRequestEndParams) -> None:
        if end.method == "HEAD":
            offsets.append(int(end.response.headers["Upload-Offset"]))

    async def upload(endpoint: str) -> tuple[str, aiotus.Metadata | None]:
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(answered)
        patient = aiotus.RetryConfiguration(max_retry_period_seconds=0.1)
        metadata = {"filename": image.name.encode(), "caption": None}
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            with image.open("rb") as stream:
                url = await aiotus.upload(endpoint, stream, metadata, client_session=session, config=patient)
            assert url is not None
            return str(url), await aiotus.metadata(url, client_session=session, config=patient)

    with BadLink(service.port, cuts=CUTS, patience=PATIENCE, seed=3) as link:
        url, metadata = asyncio.run(upload(f"{link.url}/v1/tus"))
        assert link.cuts_made == CUTS
    assert metadata == {"filename": image.name.encode(), "caption": None}
    assert offsets == sorted(offsets)
    assert 0 < offsets[1] < offsets[CUTS]
    assert_uploaded(service, url)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="all in one request"),
        pytest.param({"chunkSize": 8 * MIB}, id="in chunks"),
        pytest.param({"chunkSize": MIB, "uploadDataDuringCreation": True}, id="from the creation on"),
        pytest.param({"overridePatchMethod": True, "addRequestId": True}, id="its PATCH a POST"),
    ],
)
def test_tus_js_client_goes_on_after_cuts(
    service: Service, node: Path, script: Path, image: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with (
        BadLink(service.port, cuts=CUTS, patience=PATIENCE, seed=4) as link,
        tus_js_client(node, script, tmp_path, image, link, **options) as client,
    ):
        url = client.wait()
        assert link.cuts_made == CUTS
    assert_went_on(client)
    assert_uploaded(service, url)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_tus_js_client_goes_on_after_the_service_was_started_again(
    service: Service, node: Path, script: Path, image: Path, tmp_path: Path, how: str
) -> None:
    cut = threading.Event()
    with BadLink(service.port, cuts=3, patience=(8 * MIB, 12 * MIB), rate=64 * MIB, seed=5) as link:
        link.on_cut = lambda number: cut.set() if number == 2 else None
        with tus_js_client(node, script, tmp_path, image, link) as client:
            assert cut.wait(PATIENCE_WITH_NODE)
            time.sleep(0.3)  # the next request has begun
            if how == "killed":
                service.kill()
            else:
                service.stop()
            service.start()
            url = client.wait()
        assert link.cuts_made == 3
    assert_went_on(client)
    assert_uploaded(service, url)


def test_tus_js_client_finds_its_upload_again_after_it_was_killed(
    service: Service, node: Path, script: Path, image: Path, tmp_path: Path
) -> None:
    cut = threading.Event()
    with BadLink(service.port, cuts=3, patience=(8 * MIB, 12 * MIB), rate=64 * MIB, seed=6) as link:
        link.on_cut = lambda number: cut.set() if number == 2 else None
        with tus_js_client(node, script, tmp_path, image, link, storage=tmp_path / "uploads.json") as client:
            assert cut.wait(PATIENCE_WITH_NODE)
            time.sleep(0.3)  # the next request has begun
            client.kill()
            client.start()
            url = client.wait()
        assert link.cuts_made == 3
    assert_went_on(client)
    assert_uploaded(service, url)


def assert_went_on(client: TusJsClient) -> None:
    """It made one upload, and whatever it asked for afterwards was there and grew."""
    created = [status for status, offset in client.answers("POST") if status == 201]
    assert created == [201]
    heads = client.answers("HEAD")
    assert {status for status, _ in heads} == {200}
    offsets = [offset for _, offset in heads]
    assert len(offsets) >= 3
    assert offsets == sorted(offsets)
    assert offsets[-1] > 0
