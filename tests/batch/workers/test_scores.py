"""Scores equal Evidently's public Report."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from batch.results import DriftSpec, ScoreError
from batch.workers.scores import drift_score, regression_quality
from tests.batch.conftest import trips

NUMBER = DriftSpec("distance", "number", "wasserstein", 0.1, 20)
CATEGORY = DriftSpec("zone", "category", "jensenshannon", 0.1, 20)


def report(metrics: list[Any], current: pd.DataFrame, reference: pd.DataFrame | None, **definition: Any) -> list[Any]:
    from evidently import DataDefinition, Dataset, Report

    columns = DataDefinition(**definition)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = [None if frame is None else Dataset.from_pandas(frame, columns) for frame in (current, reference)]
        return [metric["value"] for metric in Report(metrics).run(*sides).dict()["metrics"]]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("spec", [NUMBER, CATEGORY], ids=["number", "category"])
def test_drift_score_equals_that_of_the_public_report(spec: DriftSpec, seed: int) -> None:
    from evidently.metrics import ValueDrift

    reference, current = trips(3000, 0), trips(400, seed).assign(distance=lambda frame: frame["distance"] * 1.1)
    found = drift_score(spec, reference[spec.column], current[spec.column])

    [expected] = report(
        [ValueDrift(column=spec.column, method=spec.method, threshold=spec.threshold)],
        current[[spec.column]],
        reference[[spec.column]],
        numerical_columns=[spec.column] if spec.kind == "number" else [],
        categorical_columns=[spec.column] if spec.kind == "category" else [],
    )
    assert found.score == pytest.approx(expected, abs=1e-12)
    assert found.drifted == (expected >= spec.threshold)
    assert found.n == current[spec.column].notna().sum()


def test_infinite_values_are_left_out_like_missing_ones() -> None:
    reference, current = pd.Series([1.0, 2.0, 3.0, 4.0]), pd.Series([1.0, 5.0, np.inf, np.nan])
    assert drift_score(NUMBER, reference, current) == drift_score(NUMBER, reference, pd.Series([1.0, 5.0]))


@pytest.mark.parametrize(
    ("reference", "current", "message"),
    [
        (
            [np.nan],
            [1.0],
            "column distance has no values in the reference; leave it out of drift or build another reference",
        ),
        ([1.0], [np.nan], "column distance has no values in this window"),
    ],
)
def test_a_side_without_values_is_an_error_that_names_the_column(
    reference: list[float], current: list[float], message: str
) -> None:
    with pytest.raises(ScoreError) as caught:
        drift_score(NUMBER, pd.Series(reference), pd.Series(current))
    assert str(caught.value) == message


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_quality_equals_that_of_the_public_report(seed: int) -> None:
    from evidently import Regression
    from evidently.metrics import MAE, MAPE, RMSE, AbsMaxError, MeanError, R2Score

    rows = trips(95, seed).query("label <= 60")
    label, prediction = rows["label"].to_numpy(), rows["prediction.champion"].to_numpy()
    mae, rmse, mean_error, mape, r2, worst = report(
        [MAE(), RMSE(), MeanError(), MAPE(), R2Score(), AbsMaxError()],
        pd.DataFrame({"label": label, "prediction": prediction}),
        None,
        regression=[Regression(target="label", prediction="prediction")],
    )
    expected = {
        "mae": mae["mean"],
        "rmse": rmse,
        "mean_error": mean_error["mean"],
        "error_std": mean_error["std"],
        "mape_evidently": mape["mean"],
        "r2": r2,
        "max_error": worst,
    }
    assert regression_quality(label, prediction) == pytest.approx(expected, abs=1e-9)


def test_quality_equals_scikit_learn_and_the_definition() -> None:
    label, prediction = np.array([10.0, 20.0, 40.0]), np.array([12.0, 19.0, 44.0])
    found = regression_quality(label, prediction)
    assert found["mae"] == pytest.approx(mean_absolute_error(label, prediction))
    assert found["mean_error"] == pytest.approx((2 - 1 + 4) / 3)
    assert found["r2"] == pytest.approx(r2_score(label, prediction))
    assert found["mape_evidently"] == pytest.approx(100 * (0.2 + 0.05 + 0.1) / 3)


def test_one_row_has_errors_and_neither_r2_nor_spread() -> None:
    found = regression_quality(np.array([10.0]), np.array([13.0]))
    assert {name: found.get(name) for name in ("mae", "mean_error", "r2", "error_std")} == {
        "mae": 3.0,
        "mean_error": 3.0,
        "r2": None,
        "error_std": None,
    }


def test_a_negative_label_leaves_mape_undefined() -> None:
    assert "mape_evidently" not in regression_quality(np.array([-1.0, 2.0]), np.array([1.0, 2.0]))
