"""Idempotency-Key over HTTP, in every protocol."""

from __future__ import annotations

from tests.support.service import Service
from tests.support.tus_wire import TUS
from tests.support.wire import Client, reason


def test_each_protocol_honours_idempotency_keys(service: Service) -> None:
    client = Client(service.url)
    described = {"size": 5, "image": {"disk_format": "raw", "container_format": "bare"}}
    for mount, headers, more in (
        ("uploads", {}, {"json": described}),
        ("tus", {**TUS, "Upload-Length": "5"}, {}),
        ("rufh", {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?0", "Upload-Length": "5"}, {}),
    ):
        url = f"{service.url}/v1/{mount}"
        key = {"Idempotency-Key": f'"of {mount}"'}
        answers = [client.request("POST", url, {**headers, **key}, **more) for _ in range(2)]
        assert [each.status_code for each in answers] == [201, 201]
        assert answers[0].headers["Location"] == answers[1].headers["Location"]
    reused = client.request(
        "POST", f"{service.url}/v1/uploads", key | {"Idempotency-Key": '"of tus"'}, json=described | {"size": 6}
    )
    assert (reused.status_code, reason(reused)) == (422, "idempotency-key-reused")
    assert len(client.request("GET", f"{service.url}/v1/uploads").json()["uploads"]) == 3
