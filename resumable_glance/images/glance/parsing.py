"""What Glance's documents of images and stores mean to us. Pure."""

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


def receipt(image: Mapping[str, Any] | None) -> ImageStatus:
    """What there is of an image that Glance shows so; None: it shows none."""
    if image is None:
        return ImageStatus(Presence.DELETED)
    sha512 = image.get("os_hash_value") if image.get("os_hash_algo") == "sha512" else None
    return ImageStatus(_presence(image), image.get("size"), image.get("checksum"), sha512, _failed(image))


def _presence(image: Mapping[str, Any]) -> Presence:
    """An import has a lock, os_glance_import_task, from before it begins until it has ended, whichever way.

    If it fails, nothing else tells of it: the image stays `importing`, what was staged stays too, and both refuse
    whatever comes next.
    """
    presence = _PRESENCE.get(image["status"], Presence.DELETED)
    if not image.get("os_glance_import_task"):
        if image["status"] == "uploading" and image.get("size") is not None:
            return Presence.STAGED
        if image["status"] == "importing":
            return Presence.IMPORT_FAILED
    return presence


def _failed(image: Mapping[str, Any]) -> str | None:
    stores = image.get("os_glance_failed_import")
    return f"Glance could not import the image into {stores}." if stores else None


def offer(stores: Mapping[str, Any], imports: Mapping[str, Any]) -> StoreList:
    """What /v2/info/stores and /v2/info/import tell; of either nothing where Glance does not know it."""
    methods = imports.get("import-methods", {}).get("value", ())
    found = (
        Store(each["id"], each.get("description"), _true(each.get("default")), _true(each.get("read-only")))
        for each in stores.get("stores", ())
    )
    return StoreList(tuple(found), tuple(methods))


def _true(value: object) -> bool:
    return str(value).lower() == "true"  # Glance says it in a string
