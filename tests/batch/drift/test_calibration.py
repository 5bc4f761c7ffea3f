"""What healthy windows score: as Evidently scores them, and with few false alarms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from batch.drift.calibration import expected_score, jensenshannon_scorer, size_class, wasserstein_scorer
from batch.drift.job import feature_specs
from batch.drift.reference_column import ReferenceColumn
from batch.results import DriftSpec
from batch.workers.process import as_kind
from batch.workers.scores import drift_score, present
from driftline.contract import read_contract
from tests.batch.test_months import ROOT, read_official
from tests.real_months import months_folder

DAYS, PER_DAY = 28, 300
WINDOWS = np.repeat(np.arange(DAYS), PER_DAY)


def test_the_quick_scores_are_evidentlys() -> None:
    rng = np.random.default_rng(1)
    numbers, codes = np.sort(rng.gamma(2, 2, 1000).round(2)), rng.integers(0, 40, 1000)
    left_out, drawn = np.arange(100, 300), np.arange(100, 300, 2)
    rest = np.delete(np.arange(1000), left_out)
    number = DriftSpec("c", "number", "wasserstein", 0.1, 2)
    expected = drift_score(number, pd.Series(numbers[rest]), pd.Series(numbers[drawn])).score
    assert wasserstein_scorer(numbers)(drawn, left_out) == pytest.approx(expected, abs=1e-12)
    category = DriftSpec("c", "category", "jensenshannon", 0.1, 2)
    expected = drift_score(category, pd.Series(codes[rest]).map(str), pd.Series(codes[drawn]).map(str)).score
    assert jensenshannon_scorer(codes)(drawn, left_out) == pytest.approx(expected, abs=1e-12)


def test_the_quick_score_of_many_different_values_is_evidentlys_to_a_thousandth() -> None:
    values = np.sort(np.random.default_rng(6).lognormal(0, 1.5, 20_000))
    left_out = np.arange(9_000, 12_000)
    expected = drift_score(
        DriftSpec("c", "number", "wasserstein", 0.1, 2),
        pd.Series(np.delete(values, left_out)),
        pd.Series(values[left_out]),
    ).score
    assert wasserstein_scorer(values)(left_out, left_out) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("n", [60, 300])
def test_of_healthy_windows_one_in_a_hundred_exceeds_the_expected_score(n: int) -> None:
    """Days differ by a tenth of a standard deviation; twelve references, and fifty fresh days against each."""
    above = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        means = rng.normal(0, 0.1, DAYS + 50)
        reference = np.repeat(means[:DAYS], PER_DAY) + rng.normal(size=len(WINDOWS))
        order = np.argsort(reference)
        expected = expected_score(WINDOWS[order], n, wasserstein_scorer(reference[order]))
        assert (expected.basis, expected.windows) == ("left-out windows", DAYS)
        spec = DriftSpec("c", "number", "wasserstein", 0.1, 2)
        for mean in means[DAYS:]:
            fresh = pd.Series(mean + rng.normal(size=n))
            above += drift_score(spec, pd.Series(reference[order]), fresh).score > expected.score
    assert 0 < above / 600 < 0.03


def test_days_that_differ_raise_what_is_expected() -> None:
    rng = np.random.default_rng(2)
    calm = np.sort(rng.normal(size=len(WINDOWS)))
    shuffled = rng.permutation(WINDOWS)
    moving = np.repeat(rng.normal(0, 0.5, DAYS), PER_DAY) + rng.normal(size=len(WINDOWS))
    order = np.argsort(moving)
    of_calm = expected_score(shuffled, 300, wasserstein_scorer(calm)).score
    of_moving = expected_score(WINDOWS[order], 300, wasserstein_scorer(moving[order])).score
    assert of_moving > 3 * of_calm


def test_fewer_rows_raise_what_is_expected() -> None:
    codes = np.random.default_rng(3).integers(0, 100, len(WINDOWS))
    few, many = (expected_score(WINDOWS, n, jensenshannon_scorer(codes)).score for n in (50, 300))
    assert few > 1.5 * many


def test_a_reference_of_few_windows_is_resampled_by_rows_and_says_so() -> None:
    values = np.sort(np.random.default_rng(4).normal(size=600))
    expected = expected_score(np.repeat(np.arange(6), 100), 50, wasserstein_scorer(values))
    assert (expected.basis, expected.windows) == ("resampled rows", 100)


def test_the_same_reference_gives_the_same_limit_and_a_constant_one_the_least() -> None:
    values = np.sort(np.random.default_rng(5).normal(size=len(WINDOWS)))
    assert expected_score(WINDOWS, 99, wasserstein_scorer(values)) == expected_score(
        WINDOWS, 99, wasserstein_scorer(values)
    )
    assert expected_score(WINDOWS, 99, wasserstein_scorer(np.ones(len(WINDOWS)))).score == 0.01


def test_a_window_is_never_calibrated_for_more_rows_than_it_has() -> None:
    for n in range(2, 5000):
        assert n / 1.5 <= size_class(n) <= n


@pytest.fixture(scope="module")
def january() -> pd.DataFrame:
    """Real trips of one month, in order of time."""
    contract = read_contract(ROOT / "monitors" / "nyc_green_taxi.yaml")
    frame = read_official(months_folder() / "green_tripdata_2023-01.parquet", contract)
    return frame[frame["event_time"].between("2023-01-02T00:00Z", "2023-01-30T00:00Z", inclusive="left")]


@pytest.mark.parametrize(("size", "least", "judged", "by_evidently"), [("1D", 200, 4, 0.08), ("1h", 50, 28, 0.3)])
def test_of_real_days_and_hours_judged_by_the_rest_of_their_month_few_are_called_drifted(
    january: pd.DataFrame, size: str, least: int, judged: int, by_evidently: float
) -> None:
    """Every ``judged``-th day is judged by the others; nothing has drifted."""
    contract = read_contract(ROOT / "monitors" / "nyc_green_taxi.yaml")
    is_judged = january["event_time"].dt.day % judged == 0
    reference, current = january[~is_judged].reset_index(drop=True), january[is_judged]
    starts = reference["event_time"].dt.floor(size).astype("int64").to_numpy()
    scored: list[tuple[float, float]] = []
    for spec in feature_specs(contract):
        values = present(as_kind(reference[spec.column], spec)).sort_values()
        column = ReferenceColumn(spec, values, 0, starts)
        for _, rows in current.groupby(current["event_time"].dt.floor(size)):
            now = present(as_kind(rows[spec.column], spec))
            expected = column.expected(len(now)) if len(now) >= least else None
            if expected is not None:
                score = drift_score(spec, values, now).score
                scored.append((score, score / expected.score))
    scores, ratios = (np.array(figures) for figures in zip(*scored, strict=True))
    assert (scores >= 0.1).mean() > by_evidently
    assert (ratios > 1).mean() < 0.03
    assert contract.drift.max_ratio is not None
    assert (ratios > contract.drift.max_ratio).mean() < 0.005
