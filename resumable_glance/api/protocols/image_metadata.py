"""Which image a client wants, said in keys and values: for dialects that have no document for it."""

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
    """Whether a key means something here: one of the few, or property.NAME."""
    return name in _KEYS or name.startswith(_PROPERTY)


def requested(said: Mapping[str, str]) -> ImageRequest:
    """The image that these keys ask for. What says nothing of a disk format is raw, in a bare container.

    Refused: MALFORMED for a value that can't be one, or a property that is not the client's to give.
    """
    for key, value in said.items():
        if len(value) > 255 or re.search(r"[\x00-\x1f\x7f]", value):
            parsing.malformed(f"{key} of the image has control characters, or more than 255 characters.")
    properties: dict[str, object] = {key: said[key] for key in TEXTS if said.get(key)}
    properties |= {key: parsing.integer(said[key], f"{key} of the image") for key in NUMBERS if key in said}
    for key, value in said.items():
        if key.startswith(_PROPERTY):
            properties[parsing.further_property(key.removeprefix(_PROPERTY))] = value
    filename, name = said.get("filename"), said.get("name")
    if name or filename:
        properties["name"] = name or filename
    _, dot, ending = (filename or name or "").rpartition(".")
    guessed = _DISK_FORMATS.get(ending.lower(), "raw") if dot else "raw"
    return ImageRequest(
        {"disk_format": guessed, "container_format": "bare", **properties}, store=said.get("store") or None
    )
