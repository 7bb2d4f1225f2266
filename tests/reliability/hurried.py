"""The real service, which takes parts of a second where it takes minutes: `serve`, for the trials that wait for it."""

from __future__ import annotations

import sys

from resumable_glance import app, cli, janitor
from resumable_glance.protocol import delivery

if __name__ == "__main__":
    delivery.FIRST_DELAY, delivery.LONGEST_DELAY = 0.2, 1.0
    app.TIDY_INTERVAL = 0.25  # type: ignore[assignment]
    janitor.AGAIN = 0.5
    sys.exit(cli.main())
