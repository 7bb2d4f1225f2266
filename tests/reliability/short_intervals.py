"""The real service (`serve`) with short retry intervals, for the trials that wait for them."""

from __future__ import annotations

import sys

from resumable_glance import app, cli
from resumable_glance.handoff import plan
from resumable_glance.uploads import cleanup

if __name__ == "__main__":
    plan.FIRST_DELAY, plan.LONGEST_DELAY = 0.2, 1.0
    app.TIDY_INTERVAL = 0.25  # type: ignore[assignment]
    cleanup.RETRY_INTERVAL = 0.5
    sys.exit(cli.main())
