"""A share of every trial, and whether the sabotages still fit the source."""

from __future__ import annotations

import pytest

from tests import ROOT
from tests.reliability import trial
from tests.reliability.sabotage import EVERY, SABOTAGES


@pytest.mark.parametrize("tried", EVERY, ids=lambda each: each.name)
def test_a_share_of_the_reliability_run_breaks_no_promise(tried: trial.Trial) -> None:
    try:
        print(tried.run(tried.share, 1).sentence)
    except trial.Missing as lack:
        pytest.skip(f"{tried.name} can't be run here: {lack}")


@pytest.mark.parametrize(("tried", "change"), SABOTAGES, ids=lambda each: getattr(each, "name", None))
def test_a_sabotage_fits_the_source_as_it_is(tried: trial.Trial, change: trial.Sabotage) -> None:
    assert (ROOT / "resumable_glance" / change.file).read_text().count(change.old) == 1
    assert change.old != change.new
