"""Behaviours that can't be seen from outside for certain: who hashes, who is told apart, and the narrow moments."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from resumable_glance.api.endpoint import application
from resumable_glance.api.health import Health
from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.handoff import reader
from resumable_glance.model import digests
from resumable_glance.model.commands import Appended, Chunk
from resumable_glance.model.digests import Digest
from resumable_glance.model.states import State
from resumable_glance.model.upload import Owner
from resumable_glance.uploads import chunk_writer
from tests.fakes.memory_storage import MemoryStorage
from tests.support.rig import CONTENT, SIZE, Pieces, Rig, refusal, rig


def test_a_chunk_that_came_whole_is_taken_though_a_newer_one_came_before_its_end_was_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            older = await here.begun(upload_id, Chunk(0, SIZE, in_order=True), sent=SIZE)
            assert await refusal(here.send_in_order(upload_id, 0, Pieces(CONTENT), SIZE)) is Reason.WRONG_OFFSET
            outcome = await older
            assert isinstance(outcome, Appended)
            assert outcome.upload.offset == SIZE

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [0, 1000])
def test_whoever_is_taken_over_is_told_the_offset_that_is_true_then(tmp_path: Path, sent: int) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            older = await here.begun(upload_id, Chunk(0, SIZE, in_order=True), sent)
            await here.send_in_order(upload_id, sent, Pieces(CONTENT[sent:]), SIZE - sent)
            with pytest.raises(Refused) as refused:
                await older
            assert (refused.value.reason, refused.value.facts["offset"]) == (Reason.SUPERSEDED, sent)

    asyncio.run(scenario())


def test_nothing_is_hashed_in_the_thread_that_everybody_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing: set[int] = set()
    real = digests.hasher

    class Watched:
        """A hasher that remembers which thread used it."""

        def __init__(self, algorithm: str) -> None:
            self._hasher = real(algorithm)

        def update(self, data: bytes | memoryview, /) -> None:
            hashing.add(threading.get_ident())
            self._hasher.update(data)

        def digest(self) -> bytes:
            return self._hasher.digest()

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            upload_id = await here.create()
            sha256 = Digest("sha256", hashlib.sha256(CONTENT[:50_000]).digest())
            await here.send_in_order(upload_id, 0, Pieces(CONTENT[:50_000]), 50_000, (sha256,))
            await here.send(upload_id, 40_000, SIZE)  # a part of it is compared, and a mark is computed of the rest
            await here.reaches(upload_id, State.ACTIVE)
            assert hashing
            assert threading.get_ident() not in hashing

    for module in (chunk_writer, reader, digests):
        monkeypatch.setattr(module, "hasher", Watched)
    asyncio.run(scenario())


class TwoPeople:
    """A gate that believes what a header says of who somebody is."""

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        return Identity(Owner("project", headers["x-auth-token"]))

    async def check(self) -> None:
        pass


def transport_to(here: Rig) -> httpx.ASGITransport:
    return httpx.ASGITransport(application(here.settings, here.endpoint(TwoPeople()), Health({}), None))


@pytest.mark.parametrize("dialect", ["native", "tus"])
def test_an_upload_of_somebody_else_is_answered_byte_by_byte_as_one_that_never_was(
    tmp_path: Path, dialect: str
) -> None:
    nobodys = "a-" + "0" * 32

    async def answers(client: httpx.AsyncClient, upload_id: str) -> list[tuple[int, object, str]]:
        found: list[tuple[int, object, str]] = []
        mount = {"native": "/v1/uploads", "tus": "/v1/tus"}[dialect]
        chunk = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        if dialect == "native":
            chunk = {"Content-Range": f"bytes 0-9/{SIZE}"}
        for method, headers in (("HEAD", {}), ("GET", {}), ("DELETE", {}), ("PATCH", chunk)):
            answer = await client.request(
                method, f"{mount}/{upload_id}", headers={"Tus-Resumable": "1.0.0", **headers}, content=b"0123456789"
            )
            request_id = answer.headers.pop("x-openstack-request-id")
            found.append((answer.status_code, sorted(answer.headers.items()), answer.text.replace(request_id, "")))
        joined = {"Tus-Resumable": "1.0.0", "Upload-Concat": f"final;/v1/tus/{upload_id}"}
        answer = await client.post("/v1/tus", headers=joined)
        found.append((answer.status_code, "", answer.text.replace(answer.headers["x-openstack-request-id"], "")))
        return found

    async def scenario() -> None:
        async with rig(tmp_path) as here:
            transport = transport_to(here)
            upload_id = await here.create()
            base = "http://uploads.example"
            async with httpx.AsyncClient(
                transport=transport, base_url=base, headers={"X-Auth-Token": "else"}
            ) as client:
                foreign, unknown = await answers(client, upload_id), await answers(client, nobodys)
                assert foreign == unknown
                assert {status for status, _, _ in foreign} == {404}
            headers = {"X-Auth-Token": "user"}
            async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as client:
                assert (await client.get(f"/v1/uploads/{upload_id}")).json()["received"] == 0

    asyncio.run(scenario())


def test_a_location_is_at_the_public_endpoint_whatever_a_request_says_of_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, options={"public_endpoint": "https://uploads.example/images/"}) as here:
            transport = transport_to(here)
            headers = {"X-Auth-Token": "user", "Host": "evil.example", "Tus-Resumable": "1.0.0", "Upload-Length": "5"}
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
                answer = await client.post("/v1/tus")
                assert answer.headers["Location"].startswith("https://uploads.example/images/v1/tus/a-")
                described = {"size": 5, "image": {"disk_format": "raw", "container_format": "bare"}}
                answer = await client.post("/v1/uploads", json=described)
                assert answer.headers["Location"] == answer.json()["href"]
                assert answer.json()["href"].startswith("https://uploads.example/images/v1/uploads/a-")

    asyncio.run(scenario())


def test_the_same_space_is_not_promised_twice_at_the_same_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path, MemoryStorage(capacity=2 * SIZE)) as here:
            made = await asyncio.gather(*(here.create() for _ in range(8)), return_exceptions=True)
            refused = [each.reason for each in made if isinstance(each, Refused)]
            assert refused == [Reason.NO_SPACE] * 6
            assert len(await here.files()) == 2
            assert len(list(here.images.iterdir())) == 2, "an image was left behind"

    asyncio.run(scenario())
