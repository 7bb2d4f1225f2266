"""All trials; the full run starts them in this order, the longest first."""

from __future__ import annotations

from tests.reliability.trial import Trial

TRIALS: tuple[Trial, ...] = ()
