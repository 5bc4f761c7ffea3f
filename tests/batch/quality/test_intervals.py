"""Intervals equal scipy's where it has them, and hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from batch.quality import intervals
from batch.quality.curves import areas


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(1).gamma(2, 3, 80)
    expected = stats.t.interval(0.95, 79, values.mean(), stats.sem(values))
    assert intervals.of_mean(values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (250, 1000)])
def test_the_interval_of_a_share_is_wilsons(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert intervals.of_share(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_the_interval_of_a_quantile_lies_between_order_statistics(share: float) -> None:
    values = np.sort(np.random.default_rng(2).exponential(5, 400))
    found = intervals.of_quantile(values, share)
    expected = stats.quantile_test(values, q=values[200], p=share).confidence_interval(0.95)
    assert found == pytest.approx((expected.low, expected.high))


def test_few_rows_have_no_interval() -> None:
    assert intervals.of_mean(np.arange(9.0)) == (None, None)
    assert intervals.of_quantile(np.arange(30.0), 0.99) == (None, None)
    assert intervals.of_share(0, 0) == (None, None)


def test_the_interval_of_a_ratio_agrees_with_a_bootstrap_of_pairs() -> None:
    rng = np.random.default_rng(3)
    part, whole = rng.gamma(2, 1, 500), rng.gamma(3, 2, 500)
    drawn = stats.bootstrap(
        (part, whole), lambda a, b, axis: a.mean(axis) / b.mean(axis), paired=True, n_resamples=2000, rng=rng
    ).confidence_interval
    assert intervals.of_ratio(part, whole) == pytest.approx((drawn.low, drawn.high), rel=0.03)


def test_areas_under_curves_lie_within_their_bootstrap_of_rows() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(4)
    score = rng.beta(2, 3, 900)
    positive = rng.random(900) < score
    rows = rng.integers(0, 900, (400, 900))
    for name, figure in (("roc_auc", roc_auc_score), ("pr_auc", average_precision_score)):
        found = areas(positive, score)[name]
        expected = np.quantile([figure(positive[draw], score[draw]) for draw in rows], [0.025, 0.975])
        assert found.value == figure(positive, score)
        assert found.interval == pytest.approx(expected.tolist(), abs=0.02)


def test_the_interval_of_an_area_holds_the_truth_about_as_often_as_it_says() -> None:
    # Scores 0 to 1 for negatives, a quarter higher for positives: the truth is 1 - 0.75**2 / 2.
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        positive = rng.random(200) < 0.4
        lower, upper = areas(positive, rng.random(200) + 0.25 * positive)["roc_auc"].interval
        hits += lower is not None and upper is not None and lower <= 1 - 0.75**2 / 2 <= upper
    assert 180 <= hits <= 199
