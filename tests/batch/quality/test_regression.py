"""Regression figures beyond Evidently's: percentages without zero labels, quantiles, dummy, worst rows, intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.dummy import DummyRegressor
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, median_absolute_error

from batch.quality.regression import answer, figures
from batch.results import Metric
from batch.workers.process import Calculator, Task
from tests.batch.conftest import Monitored, contract_named, day, trips


def found_in(label: Any, prediction: Any, dummy: float | None = None) -> dict[str, Metric]:
    rows = figures(np.asarray(label, "float64"), np.asarray(prediction, "float64"), dummy)
    return {metric.metric: metric for metric in rows}


def test_a_label_of_zero_is_left_out_of_mape_and_counted_out() -> None:
    found = found_in([0.0, 10.0, 20.0], [5.0, 12.0, 19.0])
    assert found["mape"].value == pytest.approx(100 * mean_absolute_percentage_error([10, 20], [12, 19]))
    assert found["mape"].n == 2
    assert found["mape_evidently"].value == pytest.approx(100 * (1 + 0.2 + 0.05) / 3)


def test_labels_that_are_all_zero_have_no_mape() -> None:
    assert "mape" not in found_in([0.0, 0.0], [1.0, 2.0])


def test_mape_of_negative_labels_is_that_of_their_size() -> None:
    assert found_in([-10.0, 10.0], [-12.0, 11.0])["mape"].value == pytest.approx(15)


def test_quantiles_and_the_dummy_equal_scikit_learn() -> None:
    frame = trips(300, 31).query("label <= 60")
    label, prediction = frame["label"].to_numpy(), frame["prediction.champion"].to_numpy()
    past = trips(500, 32)["label"].to_numpy()
    found = found_in(label, prediction, float(np.median(past)))
    dummy = DummyRegressor(strategy="median").fit(np.zeros((500, 1)), past).predict(np.zeros((len(label), 1)))
    assert found["abs_error_quantile_50"].value == pytest.approx(median_absolute_error(label, prediction), abs=1e-12)
    assert found["mae_dummy"].value == pytest.approx(mean_absolute_error(label, dummy), abs=1e-12)
    assert found["skill"].value == pytest.approx(
        1 - mean_absolute_error(label, prediction) / mean_absolute_error(label, dummy), abs=1e-12
    )
    assert found["abs_error_quantile_95"].value == pytest.approx(np.percentile(np.abs(prediction - label), 95))


@pytest.mark.parametrize("name", ["rmse", "r2", "error_std"])
def test_intervals_agree_with_a_bootstrap_of_rows(name: str) -> None:
    rng = np.random.default_rng(6)
    label = rng.gamma(3, 5, 600)
    prediction = label + rng.normal(1, 4, 600)
    measures = {
        "rmse": lambda y, p, axis: np.sqrt(((p - y) ** 2).mean(axis)),
        "r2": lambda y, p, axis: 1 - ((p - y) ** 2).mean(axis) / y.var(axis),
        "error_std": lambda y, p, axis: (p - y).std(axis, ddof=1),
    }
    drawn = stats.bootstrap((label, prediction), measures[name], paired=True, n_resamples=2000, rng=rng)
    expected = drawn.confidence_interval
    found = found_in(label, prediction)[name]
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), rel=0.03)


def test_every_figure_names_its_engine() -> None:
    found = found_in([10.0, 20.0, 30.0], [11.0, 18.0, 33.0], 15.0)
    engines = {name: metric.engine.split()[0] for name, metric in found.items()}
    assert engines["mae"] == engines["mape_evidently"] == "evidently"
    assert engines["mape"] == engines["abs_error_quantile_50"] == engines["skill"] == "numpy"


# Nine decimals: squares of smaller numbers vanish in floating point, and no label is measured so finely.
_NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 9)) | st.sampled_from([0.0, 1.0, 10.0])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=1, max_size=40), dummy=st.none() | _NUMBERS)
def test_any_rows_give_finite_figures_within_their_intervals_and_no_warning(
    rows: list[tuple[float, float]], dummy: float | None
) -> None:
    frame = pd.DataFrame(rows, columns=["label", "prediction"]).assign(id=[str(row) for row in range(len(rows))])
    found = answer(Task("quality", b"", options={"dummy": dummy}), frame, Calculator())
    for metric in found.metrics:
        assert math.isfinite(metric.value)
        if metric.lower is not None and metric.upper is not None:
            slack = 1e-9 * max(1.0, abs(metric.value))
            assert metric.lower - slack <= metric.value <= metric.upper + slack
    assert [len(found.worst), sum(found.histograms[0].current)] == [min(20, len(rows)), len(rows)]


def test_the_worst_rows_are_ordered_by_error_and_then_by_id() -> None:
    rows = pd.DataFrame({"id": ["c", "a", "b"], "label": [1.0, 1.0, 1.0], "prediction": [3.0, 4.0, 4.0]})
    found = answer(Task("quality", b""), rows, Calculator())
    assert [(row.place, row.id, row.error) for row in found.worst] == [(1, "a", 3.0), (2, "b", 3.0), (3, "c", 2.0)]


def test_a_window_keeps_intervals_worst_rows_and_errors_by_the_references_bins(store, workers) -> None:
    monitored = Monitored(store, contract_named("window_keeps_intervals"), workers)
    past, frame = trips(500, 33), trips(300, 34, days=1)
    monitored.build_reference(past)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("quality")
    model = {"m": monitored.contract.model, "d": day(0)}
    chosen = (
        "WHERE model = {m:String} AND granularity = '1d' AND model_version = 'champion' "
        "AND window_start = {d:DateTime64(3)}"
    )
    scored = frame[frame["label"].between(1, 60)]
    error = scored["prediction.champion"] - scored["label"]

    [mae] = store.query(f"SELECT lower, upper FROM metrics {chosen} AND metric = 'mae'", model)
    expected = stats.t.interval(0.95, len(error) - 1, error.abs().mean(), stats.sem(error.abs()))
    assert (mae["lower"], mae["upper"]) == pytest.approx(expected, abs=1e-9)

    reference = (past["prediction.champion"] - past["label"])[past["label"].between(1, 60)].abs().mean()
    [ratio] = store.query(f"SELECT lower, upper FROM metrics {chosen} AND metric = 'error_ratio'", model)
    assert (ratio["lower"], ratio["upper"]) == pytest.approx(tuple(end / reference for end in expected), abs=1e-9)

    worst = store.query(f"SELECT place, id, error FROM worst_rows {chosen} ORDER BY place", model)
    order = scored.assign(size=error.abs()).sort_values(["size", "id"], ascending=[False, True]).head(20)
    assert [row["id"] for row in worst] == order["id"].tolist()
    assert [row["error"] for row in worst] == pytest.approx(order["size"].tolist(), abs=1e-9)

    [shape] = store.query(f"SELECT edges, current, reference FROM histograms {chosen} AND column = 'error'", model)
    valid = past[past["label"].between(1, 60)]
    sides = [error, valid["prediction.champion"] - valid["label"]]
    for name, values in zip(("current", "reference"), sides, strict=True):
        assert shape[name] == np.histogram(values, shape["edges"])[0].tolist()


def test_a_reference_of_another_day_gives_the_dummy_and_makes_windows_due(monitored: Monitored) -> None:
    monitored.add(trips(200, 35, days=1))
    monitored.log.complete()
    monitored.run("quality")
    assert monitored.metrics("skill") == {}
    past = trips(400, 36)
    monitored.build_reference(past)
    assert {key.job for key in monitored.run("quality").keys} == {"quality"}
    valid = past["label"][past["label"].between(1, 60)]
    scored = trips(200, 35, days=1).query("1 <= label <= 60")
    expected = (scored["label"] - valid.median()).abs().mean()
    assert monitored.metrics("mae_dummy")[(day(0), "champion", "")] == pytest.approx(expected, abs=1e-9)
