"""A share of the reliability run (tests/reliability) in every test run."""

from __future__ import annotations

import pytest

from tests.reliability import trial
from tests.reliability.all import TRIALS


@pytest.mark.parametrize("tried", TRIALS, ids=lambda each: each.name)
def test_a_share_of_the_reliability_run_breaks_no_promise(tried: trial.Trial) -> None:
    try:
        print(tried.run(tried.share, 1).sentence)
    except trial.Missing as lack:
        pytest.skip(f"{tried.name} can't be run here: {lack}")
