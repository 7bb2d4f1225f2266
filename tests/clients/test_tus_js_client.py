"""tus-js-client in Node.js, unmodified, against our service through a link that breaks."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import process
from tests.support.chaos import BadLink
from tests.support.service import Service, development
from tests.support.tus_clients import (
    CUTS,
    DEADLINE,
    MIB,
    PARTS,
    PATIENCE,
    Said,
    assert_uploaded,
    assert_went_on,
    disk,
    heard,
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def image() -> Path:
    return disk()


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
        assert self._process.wait(DEADLINE) == 0, process.tail(self._log)
        return str(self.said()[-1]["url"])

    def said(self) -> Said:
        return heard(self._log.read_text().splitlines())


@contextlib.contextmanager
def tus_js_client(
    node: Path, clients: Path, tmp_path: Path, image: Path, link: BadLink, storage: Path | None = None, **options: Any
) -> Iterator[TusJsClient]:
    options = {"endpoint": f"{link.url}/v1/tus", "metadata": {"filename": image.name}, **options}
    described = {"file": str(image), "storage": storage and str(storage), "options": options}
    client = TusJsClient(node, clients / "upload.mjs", tmp_path / "node.log", described)
    client.start()
    try:
        yield client
    finally:
        client.kill()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="all in one request"),
        pytest.param({"chunkSize": 8 * MIB}, id="in chunks"),
        pytest.param({"chunkSize": MIB, "uploadDataDuringCreation": True}, id="from the creation on"),
        pytest.param({"overridePatchMethod": True, "addRequestId": True}, id="its PATCH a POST"),
    ],
)
def test_tus_js_client_resumes_after_cuts(
    service: Service, node: Path, clients: Path, image: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with (
        BadLink(service.port, cuts=CUTS, patience=PATIENCE, seed=4) as link,
        tus_js_client(node, clients, tmp_path, image, link, **options) as client,
    ):
        url = client.wait()
        assert link.cuts_made == CUTS
    assert_went_on(client.said())
    assert_uploaded(service, url)


def test_tus_js_client_resumes_parallel_parts_after_cuts(
    service: Service, node: Path, clients: Path, image: Path, tmp_path: Path
) -> None:
    with (
        BadLink(service.port, cuts=CUTS, patience=(2 * MIB, 7 * MIB), seed=11) as link,
        tus_js_client(node, clients, tmp_path, image, link, parallelUploads=PARTS) as client,
    ):
        url = client.wait()
        assert link.cuts_made == CUTS
    assert_went_on(client.said(), PARTS)
    assert_uploaded(service, url)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_tus_js_client_resumes_after_a_restart_of_the_service(
    service: Service, node: Path, clients: Path, image: Path, tmp_path: Path, how: str
) -> None:
    cut = threading.Event()
    with BadLink(service.port, cuts=3, patience=(8 * MIB, 12 * MIB), rate=64 * MIB, seed=5) as link:
        link.on_cut = lambda number: cut.set() if number == 2 else None
        with tus_js_client(node, clients, tmp_path, image, link) as client:
            assert cut.wait(DEADLINE)
            time.sleep(0.3)  # the next request has begun
            if how == "killed":
                service.kill()
            else:
                service.stop()
            service.start()
            url = client.wait()
        assert link.cuts_made == 3
    assert_went_on(client.said())
    assert_uploaded(service, url)


def test_tus_js_client_resumes_after_it_was_killed(
    service: Service, node: Path, clients: Path, image: Path, tmp_path: Path
) -> None:
    cut = threading.Event()
    with BadLink(service.port, cuts=3, patience=(8 * MIB, 12 * MIB), rate=64 * MIB, seed=6) as link:
        link.on_cut = lambda number: cut.set() if number == 2 else None
        with tus_js_client(node, clients, tmp_path, image, link, storage=tmp_path / "uploads.json") as client:
            assert cut.wait(DEADLINE)
            time.sleep(0.3)  # the next request has begun
            client.kill()
            client.start()
            url = client.wait()
        assert link.cuts_made == 3
    assert_went_on(client.said())
    assert_uploaded(service, url)


@pytest.mark.parametrize("protocol", ["ietf-draft-03", "ietf-draft-05"])
def test_tus_js_client_resumes_after_cuts_in_its_rufh_modes(
    service: Service, node: Path, clients: Path, image: Path, tmp_path: Path, protocol: str
) -> None:
    endpoint = f"/v1/rufh?name={image.name}"
    with BadLink(service.port, cuts=CUTS, patience=PATIENCE, seed=7) as link:
        options: dict[str, Any] = {"endpoint": link.url + endpoint, "protocol": protocol, "chunkSize": 24 * MIB}
        with tus_js_client(node, clients, tmp_path, image, link, **options) as client:
            url = client.wait()
        assert link.cuts_made == CUTS
    assert_went_on(client.said())
    assert_uploaded(service, url)
