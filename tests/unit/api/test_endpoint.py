"""The endpoint above uploads, without a socket."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from resumable_glance.api.endpoint import application
from resumable_glance.api.health import Health
from resumable_glance.api.middleware import StrangersWait
from resumable_glance.api.protocols import PROTOCOLS, parsing
from resumable_glance.auth.base import Identity
from resumable_glance.errors import Reason, Refused
from resumable_glance.model.upload import Owner
from tests.support.rig import SIZE, Rig, rig


class TwoPeople:
    """An authenticator that believes what a header says of who somebody is."""

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        return Identity(Owner("project", headers["x-auth-token"]))

    async def check(self) -> None:
        pass


class Nobody(TwoPeople):
    """An authenticator that knows no one."""

    async def admit(self, headers: Mapping[str, str]) -> Identity:
        raise Refused(Reason.UNAUTHENTICATED, "Send a token.")


def transport_to(here: Rig, authenticator: TwoPeople | None = None) -> httpx.ASGITransport:
    endpoint = here.endpoint(authenticator or TwoPeople())
    return httpx.ASGITransport(application(here.settings, endpoint, Health({}), None))


@pytest.mark.parametrize("protocol", ["native", "tus"])
def test_a_foreign_upload_is_answered_as_an_unknown_one(tmp_path: Path, protocol: str) -> None:
    nobodys = "a-" + "0" * 32

    async def answers(client: httpx.AsyncClient, upload_id: str) -> list[tuple[int, object, str]]:
        found: list[tuple[int, object, str]] = []
        mount = {"native": "/v1/uploads", "tus": "/v1/tus"}[protocol]
        chunk = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        if protocol == "native":
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


def test_a_location_is_at_the_public_endpoint(tmp_path: Path) -> None:
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


class Unreadable(httpx.AsyncByteStream):
    """A body of which nobody may want a byte."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("a body was read")


@pytest.mark.parametrize("mount", [each.MOUNT for each in PROTOCOLS])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "GET", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "application/json", "Upload-Offset": "x", "Upload-Length": "-"}]
)
def test_nothing_of_a_stranger_is_read_or_parsed(
    tmp_path: Path, mount: str, method: str, headers: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here, httpx.AsyncClient(transport=transport_to(here, Nobody())) as client:
            for path in (mount, f"{mount}/nothing"):
                url = f"http://uploads.example{path}?limit=x&limit=y"
                length = {"Content-Length": "5"}
                answer = await client.request(method, url, headers=headers | length, content=Unreadable())
                assert answer.status_code == 401

    asyncio.run(scenario())


def test_a_long_query_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here, httpx.AsyncClient(transport=transport_to(here)) as client:
            url = "http://uploads.example/v1/uploads?x=" + "y" * parsing.MAX_QUERY_LENGTH
            answer = await client.get(url, headers={"X-Auth-Token": "user"})
            assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (400, "malformed-request")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("strategy", "per_second", "wait"), [("keystone", 200, True), ("keystone", 0, False), ("noauth", 200, False)]
)
def test_strangers_wait_where_there_are_any(tmp_path: Path, strategy: str, per_second: int, wait: bool) -> None:
    async def scenario() -> None:
        async with rig(tmp_path) as here:
            settings = dataclasses.replace(
                here.settings,
                service=dataclasses.replace(here.settings.service, auth_strategy=strategy),
                limits=dataclasses.replace(here.settings.limits, strangers_per_second=per_second),
            )
            app = application(settings, here.endpoint(TwoPeople()), Health({}), None)
            assert isinstance(app, StrangersWait) == wait

    asyncio.run(scenario())


def test_a_request_is_known_as_admitted_once_its_caller_is(tmp_path: Path) -> None:
    async def admitted(authenticator: TwoPeople, path: str) -> bool:
        async with rig(tmp_path / str(len(list(tmp_path.iterdir())))) as here:
            app, seen = transport_to(here, authenticator).app, dict[str, Any]()

            async def watched(scope: Any, receive: Any, send: Any) -> None:
                seen.update(scope=scope)
                await app(scope, receive, send)

            async with httpx.AsyncClient(transport=httpx.ASGITransport(watched)) as client:
                await client.get(f"http://uploads.example{path}", headers={"X-Auth-Token": "user"})
            return bool(seen["scope"].get("state", {}).get("admitted"))

    assert asyncio.run(admitted(TwoPeople(), "/v1/uploads"))
    assert not asyncio.run(admitted(Nobody(), "/v1/uploads"))
    assert not asyncio.run(admitted(TwoPeople(), "/nothing"))
