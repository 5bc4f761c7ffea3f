"""Shifts of means and medians: Welch's interval by SciPy, and numbers that are as great or small as floats get."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from batch.drift.reference_column import ReferenceColumn
from batch.drift.scoring import column_metrics
from batch.drift.shifts import Moments, number_shifts
from batch.results import DriftSpec, Metric, ScoreError

ANY = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30)
# SciPy refuses a side of equal numbers.
ORDINARY = st.lists(st.integers(-9999, 9999).map(float), min_size=2, max_size=30).filter(lambda some: np.ptp(some) > 0)


def shifts(past: list[float], now: list[float]) -> dict[str, Metric]:
    both = (Moments.of(np.array(values)) for values in (past, now))
    return {one.metric: one for one in number_shifts("fare", *both)}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(past=ANY, now=ANY)
def test_any_numbers_give_finite_shifts_within_their_intervals_or_none(past: list[float], now: list[float]) -> None:
    for found in shifts(past, now).values():
        assert math.isfinite(found.value)
        if found.lower is not None and found.upper is not None:
            assert -math.inf < found.lower <= found.value <= found.upper < math.inf


@settings(max_examples=200, deadline=None, derandomize=True)
@given(past=ORDINARY, now=ORDINARY)
def test_the_interval_of_the_mean_shift_is_scipys_by_welch(past: list[float], now: list[float]) -> None:
    found = shifts(past, now)["mean_shift"]
    interval = ttest_ind(now, past, equal_var=False).confidence_interval(0.95)
    assert found.lower == pytest.approx(interval.low, rel=1e-9, abs=1e-9)
    assert found.upper == pytest.approx(interval.high, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-90, 1e-160, 1e100])
def test_the_interval_scales_with_its_numbers(scale: float) -> None:
    past, now = [1.0, 2.0, 4.0, 8.0], [3.0, 5.0, 6.0]
    plain, scaled = (shifts([factor * x for x in past], [factor * x for x in now]) for factor in (1.0, scale))
    usual, found = plain["mean_shift"], scaled["mean_shift"]
    assert found.value == pytest.approx(scale * usual.value, rel=1e-9)
    for end, expected in ((found.lower, usual.lower), (found.upper, usual.upper)):
        assert end is not None
        assert expected is not None
        # Below 1e-154 the variance has few digits left.
        assert end == pytest.approx(scale * expected, rel=1e-9 if scale != 1e-160 else 0.01, abs=0)


def test_numbers_whose_variance_no_float_holds_have_a_shift_without_an_interval() -> None:
    found = shifts([1.0, 2.0, 3.0], [1e200, 2e200])["mean_shift"]
    assert (found.value, found.lower, found.upper) == (pytest.approx(1.5e200), None, None)


def test_one_absurd_value_leaves_its_column_all_figures() -> None:
    rng = np.random.default_rng(1)
    past, now = pd.Series(rng.normal(size=200)), pd.Series([*rng.normal(size=99), 1e100])
    reference = ReferenceColumn(DriftSpec("fare", "number", "wasserstein", 0.1, 20), past, 0, None)
    found = {one.metric: one.value for one in column_metrics(reference, now)}
    assert found["mean_shift"] == pytest.approx(1e98)
    assert abs(found["median_shift"]) < 1


def test_a_reference_whose_spread_no_float_holds_is_refused_and_not_called_free_of_drift() -> None:
    past = pd.Series([1.0, 2.0, 1e308, -1e308])
    reference = ReferenceColumn(DriftSpec("fare", "number", "wasserstein", 0.1, 20), past, 0, None)
    message = "the reference's numbers lie too far apart for a standard deviation; give the column a `range`"
    with pytest.raises(ScoreError, match=f"^{message}$"):
        reference.score(pd.Series([5.0, 6.0]))
