"""Which stores and import methods a cloud has, and whether what is asked for is among them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.upload import ImageRequest

DIRECT = "glance-direct"  # Glance's name for: staged by us, then imported


@dataclass(frozen=True, slots=True)
class Store:
    """A place for images, by the name that Glance's operator gave it."""

    id: str
    description: str | None = None
    default: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class StoreList:
    """What there is. Without a store there is one place, which has no name."""

    stores: tuple[Store, ...] = ()
    import_methods: tuple[str, ...] = ()

    @property
    def writable(self) -> tuple[str, ...]:
        return tuple(each.id for each in self.stores if not each.read_only)


def choose(request: ImageRequest, offer: StoreList) -> tuple[str, ...] | None:
    """The stores that the image is imported into, by name; None if it is uploaded plainly.

    Refused: IMAGE_REFUSED for a store or a method that is not offered.
    """
    if request.imports and DIRECT not in offer.import_methods:
        raise Refused(
            Reason.IMAGE_REFUSED,
            f"This cloud's Glance has no import method {DIRECT}, which several stores and its import plugins take. "
            "Upload into one store.",
        )
    named = [*(() if request.store is None else (request.store,)), *(request.stores or ())]
    if missing := [each for each in named if each not in offer.writable]:
        raise Refused(
            Reason.IMAGE_REFUSED,
            f"There is no such store as {', '.join(missing)}. "
            f"There are: {', '.join(offer.writable) or 'none to name'}.",
        )
    return offer.writable if request.all_stores else request.stores
