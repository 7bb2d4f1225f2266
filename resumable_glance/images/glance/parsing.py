"""Parsing of Glance's documents about images and stores. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resumable_glance.images.base import ImageStatus, Presence
from resumable_glance.model.stores import Store, StoreList

_PRESENCE = {
    "queued": Presence.QUEUED,
    "saving": Presence.SAVING,
    "uploading": Presence.SAVING,
    "importing": Presence.SAVING,
    "active": Presence.ACTIVE,
    "deactivated": Presence.ACTIVE,
}


def image_status(image: Mapping[str, Any] | None) -> ImageStatus:
    """Return the state of an image from its document, if it has one."""
    if image is None:
        return ImageStatus(Presence.DELETED)
    sha512 = image.get("os_hash_value") if image.get("os_hash_algo") == "sha512" else None
    stores = image.get("os_glance_failed_import")
    detail = f"Glance could not import the image into {stores}." if stores else None
    return ImageStatus(_presence(image), image.get("size"), image.get("checksum"), sha512, detail)


def _presence(image: Mapping[str, Any]) -> Presence:
    """Return the presence of an image that exists.

    The lock of an import, os_glance_import_task, exists from before it starts until it has succeeded or failed. Only
    its absence shows a failure: the image stays `importing` with its staged bytes, and refuses any further request.
    """
    presence = _PRESENCE.get(image["status"], Presence.DELETED)
    if not image.get("os_glance_import_task"):
        if image["status"] == "uploading" and image.get("size") is not None:
            return Presence.STAGED
        if image["status"] == "importing":
            return Presence.IMPORT_FAILED
    return presence


def store_list(stores: Mapping[str, Any], imports: Mapping[str, Any]) -> StoreList:
    """Parse /v2/info/stores and /v2/info/import, either of which may be empty."""
    methods = imports.get("import-methods", {}).get("value", ())
    found = (
        Store(each["id"], each.get("description"), _true(each.get("default")), _true(each.get("read-only")))
        for each in stores.get("stores", ())
    )
    return StoreList(tuple(found), tuple(methods))


def _true(value: object) -> bool:
    return str(value).lower() == "true"  # Glance sends booleans as strings
