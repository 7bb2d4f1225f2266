"""Sizes for the user, the same text as in the page (messages.js), the CLI and the service's own page."""

import decimal

from django.utils import formats
from django.utils.translation import gettext_lazy as _

UNITS = (_("B"), _("KiB"), _("MiB"), _("GiB"), _("TiB"))


def format_size(count):
    """Return `count` bytes in binary units, such as "1.5 GiB"; one decimal, rounded half up."""
    count = round(count)
    if count < 1024:
        return f"{count} {UNITS[0]}"
    for power, unit in enumerate(UNITS[1:], start=1):
        tenths = (20 * count // 1024**power + 1) // 2
        if tenths < 10 * 1024 or unit == UNITS[-1]:
            break
    return f"{formats.number_format(decimal.Decimal(tenths) / 10, 1)} {unit}"
