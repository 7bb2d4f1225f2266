"""Whether an image fits into what Glance says that a project may have."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from resumable_glance.errors import Reason, Refused

MIB = 1024 * 1024
REMEMBERED = 300.0  # seconds for which a cloud that has no limits is not asked for them again


class Quota:
    """Glance itself looks only when the data comes, and then only whether the quota is used up already.

    Its API has no other limit to ask for: user_storage_quota and image_size_cap are its own secrets. `clock` is
    monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unlimited_until = 0.0

    def check(self, client: Any, size: int) -> None:
        """Refused: OVER_QUOTA."""
        if self._clock() < self._unlimited_until:
            return
        usage = _usage(client)
        if not usage:
            self._unlimited_until = self._clock() + REMEMBERED
        total = usage.get("image_size_total")  # MiB, rounded down
        if total is not None and 0 <= total["limit"] < total["usage"] + -(-size // MIB):
            raise Refused(
                Reason.OVER_QUOTA,
                f"Your project has {total['usage']} MiB of images and may have {total['limit']} MiB; this one has "
                f"{-(-size // MIB)} MiB. Delete images, or ask for more quota.",
            )


def _usage(client: Any) -> Any:
    """By limit. Nothing, for everybody alike, in a cloud without unified limits."""
    from glanceclient import exc

    try:
        return client.info.get_usage()
    except exc.HTTPNotFound:  # before Xena
        return {}
