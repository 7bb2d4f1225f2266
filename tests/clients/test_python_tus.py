"""Other people's tus clients in Python, unmodified, against our service through a link that breaks."""

from __future__ import annotations

import asyncio
import gc
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aiotus
import pytest
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

from tests.support.chaos import BadLink
from tests.support.launcher import token
from tests.support.service import Service, development
from tests.support.tus_clients import CUTS, MIB, PATIENCE, SIZE, assert_uploaded, disk
from tests.support.wire import Client


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with development(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def image() -> Path:
    return disk()


@pytest.mark.parametrize("checksum", [False, True], ids=["without a checksum", "with a checksum"])
def test_tuspy_resumes_after_cuts(service: Service, image: Path, checksum: bool) -> None:
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


def test_tuspy_uploads_with_nothing_but_a_ticket(tmp_path: Path) -> None:
    """As a browser's client does it: somebody with a token has made the upload."""
    content = random.Random(4).randbytes(2 * MIB)
    guarded = development(tmp_path)
    guarded.module = "tests.support.launcher"
    with guarded:
        created = Client(guarded.url, token("ada")).create(len(content)).json()
        ticket = {"Authorization": f"Bearer {created['ticket']['value']}"}
        with BadLink(guarded.port, cuts=CUTS, patience=(MIB // 8, MIB // 4), seed=4) as link:
            url = f"{link.url}/v1/tus/{created['id']}"
            uploader: Any = TusClient(link.url, headers=ticket).uploader(
                file_stream=io.BytesIO(content), url=url, chunk_size=MIB // 2, retries=10, retry_delay=0
            )
            uploader.upload()
            assert link.cuts_made == CUTS
        image_id = Client(guarded.url, ticket).wait(created["href"], "active")["image"]["id"]
        assert (guarded.directory / "images" / image_id).read_bytes() == content


# tuspy leaves it to the garbage collector to close the file whose path it was told.
@pytest.mark.filterwarnings("ignore:unclosed file.*disk-.*raw:ResourceWarning")
def test_tuspy_resumes_in_another_run(service: Service, image: Path, tmp_path: Path) -> None:
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
def test_aiotus_resumes_after_cuts(service: Service, image: Path) -> None:
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
