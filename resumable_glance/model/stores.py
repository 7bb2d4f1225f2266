"""The stores and import methods of a cloud, and the choice among them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from resumable_glance.errors import Reason, Refused
from resumable_glance.model.upload import ImageRequest

DIRECT = "glance-direct"  # Glance's import method for images that we stage


@dataclass(frozen=True, slots=True)
class Store:
    """A store of Glance; the operator chose its `id`."""

    id: str
    description: str | None = None
    default: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class StoreList:
    """The stores and import methods of a cloud. Without stores there is one place for images, which has no name."""

    stores: tuple[Store, ...] = ()
    import_methods: tuple[str, ...] = ()

    @property
    def writable(self) -> tuple[str, ...]:
        """The ids of the stores that take images."""
        return tuple(each.id for each in self.stores if not each.read_only)


def choose(request: ImageRequest, offer: StoreList) -> tuple[str, ...] | None:
    """Return the ids of the stores that an image is imported into; None for a plain upload.

    Raises Refused: IMAGE_REFUSED for a store or a method that is not offered.
    """
    if request.imports and DIRECT not in offer.import_methods:
        raise Refused(
            Reason.IMAGE_REFUSED,
            f"This cloud's Glance does not offer the import method {DIRECT}, which several stores and import plugins "
            "need. Upload into one store.",
        )
    named = [*(() if request.store is None else (request.store,)), *(request.stores or ())]
    if missing := [each for each in named if each not in offer.writable]:
        advice = f"Use: {', '.join(offer.writable)}." if offer.writable else "Name no store."
        raise Refused(Reason.IMAGE_REFUSED, f"No writable store is named {', '.join(missing)}. {advice}")
    return offer.writable if request.all_stores else request.stores
