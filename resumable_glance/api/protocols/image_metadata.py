"""The requested image as keys and values, for protocols without a document: tus metadata, and the query of rufh."""

from __future__ import annotations

import re
from collections.abc import Mapping

from resumable_glance.api.protocols import parsing
from resumable_glance.model.upload import ImageRequest

TEXTS = ("disk_format", "container_format", "visibility")
NUMBERS = ("min_disk", "min_ram")
_KEYS = frozenset({"filename", "name", "store", *TEXTS, *NUMBERS})
_PROPERTY = "property."
_DISK_FORMATS = {"qcow2": "qcow2", "iso": "iso", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vhd", "vhdx": "vhdx",
                 "raw": "raw", "img": "raw"}  # fmt: skip


def is_key(name: str) -> bool:
    """Return whether a key describes the image: one of _KEYS, or property.NAME."""
    return name in _KEYS or name.startswith(_PROPERTY)


def requested(metadata: Mapping[str, str]) -> ImageRequest:
    """Return the image that these keys request; by default in the format of its file name's ending, or raw, and bare.

    Raises Refused: MALFORMED for an invalid value, or a property that clients can't set.
    """
    for key, value in metadata.items():
        if len(value) > 255 or re.search(r"[\x00-\x1f\x7f]", value):
            parsing.malformed(f"The image's {key} has control characters, or more than 255 characters.")
    properties: dict[str, object] = {key: metadata[key] for key in TEXTS if metadata.get(key)}
    properties |= {key: parsing.integer(metadata[key], f"The image's {key}") for key in NUMBERS if key in metadata}
    if sum(key.startswith(_PROPERTY) for key in metadata) > parsing.MAX_PROPERTIES:
        parsing.malformed(f"An image may have at most {parsing.MAX_PROPERTIES} additional properties.")
    for key, value in metadata.items():
        if key.startswith(_PROPERTY):
            properties[parsing.custom_property(key.removeprefix(_PROPERTY))] = value
    filename, name = metadata.get("filename"), metadata.get("name")
    if name or filename:
        properties["name"] = name or filename
    _, dot, ending = (filename or name or "").rpartition(".")
    guessed = _DISK_FORMATS.get(ending.lower(), "raw") if dot else "raw"
    return ImageRequest(
        {"disk_format": guessed, "container_format": "bare", **properties}, store=metadata.get("store") or None
    )
