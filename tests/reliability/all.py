"""All trials but the sabotages, which are about these."""

from __future__ import annotations

from tests.reliability import any_order, takeovers
from tests.reliability.trial import Trial

# The full run starts them in this order, the longest first.
TRIALS: tuple[Trial, ...] = (any_order.TRIAL, takeovers.TRIAL)
