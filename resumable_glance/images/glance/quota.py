"""The check of an image's size against the project's quota in Glance."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from resumable_glance.errors import Reason, Refused

MIB = 1024 * 1024
NO_LIMITS_TTL = 300.0  # seconds until a cloud without unified limits is asked for them again


class Quota:
    """The quota of unified limits. `clock` is monotonic.

    Glance itself checks it only when data comes, and only whether it is used up already. Its other limits,
    user_storage_quota and image_size_cap, are not in its API.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unlimited_until = 0.0

    def check(self, client: Any, size: int) -> None:
        """Raise Refused(OVER_QUOTA) if `size` bytes are more than what is left."""
        if self._clock() < self._unlimited_until:
            return
        usage = _usage(client)
        if not usage:
            self._unlimited_until = self._clock() + NO_LIMITS_TTL
        total = usage.get("image_size_total")  # MiB, rounded down
        if total is not None and 0 <= total["limit"] < total["usage"] + -(-size // MIB):
            raise Refused(
                Reason.OVER_QUOTA,
                f"Your project has {total['usage']} MiB of images and may have {total['limit']} MiB; this image has "
                f"{-(-size // MIB)} MiB. Delete images, or ask the operator for more quota.",
            )


def _usage(client: Any) -> Any:
    """Return usage and limit by resource; nothing in a cloud without unified limits."""
    from glanceclient import exc

    try:
        return client.info.get_usage()
    except exc.HTTPNotFound:  # before Xena
        return {}
