"""Receipts over HTTP."""

from __future__ import annotations

import requests

from resumable_glance.client.receipts import verify
from tests.support.service import Service
from tests.support.wire import Client, reason


def test_an_active_image_has_a_receipt_and_the_keys_are_public(service: Service) -> None:
    client = Client(service.url)
    url = client.created(10)
    assert reason(client.request("GET", f"{url}/receipt")) == "upload-unfinished"
    client.send(url, b"0123456789", 0, 10)
    shown = client.wait(url, "active")
    receipt = client.request("GET", f"{url}/receipt").json()
    assert verify(receipt.pop("jws"), requests.get(f"{service.url}/v1/keys", timeout=10).json()) == receipt
    assert receipt["ours"] == receipt["glance"] == {"size": 10, **shown["hashes"]}
    assert (receipt["upload_id"], receipt["image_id"]) == (shown["id"], shown["image"]["id"])
    assert receipt["request_ids"]["creation"].startswith("req-")
    assert receipt["request_ids"]["handoff"].startswith("req-")
