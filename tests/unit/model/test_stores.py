"""Which stores an image goes into, and how: what may be said of it, what is offered, and how Glance says it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resumable_glance.api.protocols import native
from resumable_glance.api.protocols.base import RequestHead
from resumable_glance.errors import Reason, Refused
from resumable_glance.images.base import Presence
from resumable_glance.images.glance import parsing
from resumable_glance.model.commands import Create, ListStores, StoresListed, UploadFound
from resumable_glance.model.states import State
from resumable_glance.model.stores import DIRECT, Store, StoreList, choose
from resumable_glance.model.upload import Image, ImageRequest, Owner, Upload, require
from tests.reliability.parsers import PLACE

OFFER = StoreList((Store("fast", "Disks that are fast", default=True), Store("archive"), Store("web", read_only=True)),
              (DIRECT, "web-download"))  # fmt: skip
JSON = {"content-type": ("application/json",)}


def asked(**said: Any) -> ImageRequest:
    document = {"size": 1, "image": {"disk_format": "raw", "container_format": "bare"}, **said}
    command = native.parse(RequestHead("POST", None, JSON, {}, None), json.dumps(document).encode(), PLACE)
    assert isinstance(command, Create)
    return require(command.image)


@pytest.mark.parametrize(
    ("said", "store", "stores", "every"),
    [
        ({}, None, None, False),
        ({"method": "upload"}, None, None, False),
        ({"store": "fast"}, "fast", None, False),
        ({"stores": ["fast"]}, "fast", None, False),
        ({"stores": ["fast"], "method": "upload"}, "fast", None, False),
        ({"stores": ["fast", "archive"]}, None, ("fast", "archive"), False),
        ({"all_stores": True}, None, None, True),
        ({"all_stores": False}, None, None, False),
        ({"all_stores": True, "method": "import"}, None, None, True),
        ({"method": "import"}, None, (), False),
        ({"method": "import", "store": "fast"}, None, ("fast",), False),
        ({"method": "import", "stores": ["fast", "archive"]}, None, ("fast", "archive"), False),
    ],
)
def test_one_store_needs_no_import(
    said: dict[str, Any], store: str | None, stores: tuple[str, ...] | None, every: bool
) -> None:
    request = asked(**said)
    assert (request.store, request.stores, request.all_stores) == (store, stores, every)
    assert request.imports is (stores is not None or every)


@pytest.mark.parametrize(
    "said",
    [
        {"store": "fast", "stores": ["archive"]},
        {"store": "fast", "all_stores": True},
        {"stores": ["fast"], "all_stores": True},
        {"method": "upload", "stores": ["fast", "archive"]},
        {"method": "upload", "all_stores": True},
        {"method": "copy"},
        {"stores": []},
        {"stores": ["fast", "fast"]},
        {"stores": "fast"},
        {"all_stores": "yes"},
    ],
)
def test_contradictory_stores_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        asked(**said)
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("request_", "stores"),
    [
        (ImageRequest(), None),
        (ImageRequest(store="archive"), None),
        (ImageRequest(stores=()), ()),
        (ImageRequest(stores=("archive",)), ("archive",)),
        (ImageRequest(all_stores=True), ("fast", "archive")),
    ],
)
def test_all_stores_are_those_that_can_be_written_to(request_: ImageRequest, stores: tuple[str, ...] | None) -> None:
    assert choose(request_, OFFER) == stores


@pytest.mark.parametrize(
    ("request_", "offer", "told"),
    [
        (ImageRequest(store="slow"), OFFER, ["slow", "fast, archive"]),
        (ImageRequest(store="web"), OFFER, ["web", "fast, archive"]),
        (ImageRequest(stores=("fast", "slow")), OFFER, ["slow", "fast, archive"]),
        (ImageRequest(store="fast"), StoreList(), ["fast"]),
        (ImageRequest(stores=()), StoreList(OFFER.stores, ("web-download",)), [DIRECT]),
        (ImageRequest(all_stores=True), StoreList(), [DIRECT]),
    ],
)
def test_an_unknown_store_is_refused_with_the_known(request_: ImageRequest, offer: StoreList, told: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        choose(request_, offer)
    assert refused.value.reason is Reason.IMAGE_REFUSED
    assert all(each in refused.value.detail for each in told)


def test_offered_stores_can_be_asked_for_and_are_shown() -> None:
    for method in ("GET", "HEAD"):
        assert native.parse(RequestHead(method, None, {}, {}, native.STORES), b"", PLACE) == ListStores()
    reply = native.render(StoresListed(OFFER), PLACE)
    assert (reply.status, reply.headers) == (200, {"Cache-Control": "no-store"})
    assert reply.document is not None
    assert reply.document["stores"][0] == {  # type: ignore[index]
        "id": "fast", "description": "Disks that are fast", "default": True, "read_only": False,
    }  # fmt: skip
    assert reply.document["import_methods"] == [DIRECT, "web-download"]
    assert (
        native.options(RequestHead("OPTIONS", None, {}, {}, native.STORES), PLACE).headers["Allow"]
        == "GET, HEAD, OPTIONS"
    )
    with pytest.raises(Refused) as refused:
        native.parse(RequestHead("POST", None, {}, {}, native.STORES), b"", PLACE)
    assert refused.value.reason is Reason.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("image", "method", "stores"),
    [
        (None, None, []),
        (Image("i"), "upload", []),
        (Image("i", store="fast"), "upload", ["fast"]),
        (Image("i", stores=()), "import", []),
        (Image("i", stores=("fast", "archive")), "import", ["fast", "archive"]),
    ],
)
def test_an_upload_shows_how_its_image_is_filled(image: Image | None, method: str | None, stores: list[str]) -> None:
    upload = Upload("a-0", Owner("p", "u"), 1, State.RECEIVING, image, 0.0, 0.0, 0.0)
    told = native.render(UploadFound(upload, (), 0), PLACE).document
    assert told is not None
    assert (told["method"], told["stores"]) == (method, stores)


def test_glances_store_documents_are_parsed() -> None:
    stores = {"stores": [{"id": "fast", "default": "true"}, {"id": "web", "read-only": "true", "description": "w"}]}
    imports = {"import-methods": {"type": "array", "value": [DIRECT]}}
    expected = StoreList((Store("fast", default=True), Store("web", "w", read_only=True)), (DIRECT,))
    assert parsing.store_list(stores, imports) == expected
    assert parsing.store_list({}, {}) == StoreList()


LOCK = {"os_glance_import_task": "1"}


@pytest.mark.parametrize(
    ("image", "presence"),
    [
        (None, Presence.DELETED),
        ({"status": "killed"}, Presence.DELETED),
        ({"status": "queued"}, Presence.QUEUED),
        ({"status": "saving"}, Presence.SAVING),
        ({"status": "uploading", "size": None}, Presence.SAVING),
        ({"status": "uploading", "size": 0}, Presence.STAGED),
        ({"status": "uploading", "size": 5, **LOCK}, Presence.SAVING),
        ({"status": "importing", "size": 5, **LOCK}, Presence.SAVING),
        ({"status": "importing", "size": 5, "os_glance_failed_import": "archive", **LOCK}, Presence.SAVING),
        ({"status": "importing", "size": None, "os_glance_failed_import": "archive"}, Presence.IMPORT_FAILED),
        ({"status": "importing", "size": 5}, Presence.IMPORT_FAILED),
        ({"status": "active", "size": 5, **LOCK}, Presence.ACTIVE),
    ],
)
def test_glances_states_of_an_import_are_told_apart(image: dict[str, Any] | None, presence: Presence) -> None:
    found = parsing.image_status(image)
    assert found.presence is presence
    assert (found.detail is not None) is bool(image and image.get("os_glance_failed_import"))
