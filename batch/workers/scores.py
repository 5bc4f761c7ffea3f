"""Evidently's figures: drift scores and regression quality, without its pictures.

The only import of Evidently for scores. Drift is Evidently's registered statistical tests, called
directly; quality is its own regression calculation, one layer below the rendering that costs a
Report 95 % of its time. Both equal the public ``Report`` (tests/batch/workers/test_scores.py). Runs inside a worker
process, which imports it once (six seconds); nothing else in ``batch`` may import it.

Missing and infinite values are dropped, as Evidently does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score

from batch.results import DriftSpec, ScoreError

# Evidently 0.7.23 uses names that NumPy 2 deprecates; the pin settles it, a warning helps nobody.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from evidently.legacy.calculations.regression_performance import calculate_regression_performance
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType
    from evidently.legacy.metric_results import DatasetColumns, DatasetUtilityColumns
    from evidently.legacy.metrics.utils import root_mean_squared_error_compat

_TYPES = {"number": ColumnType.Numerical, "category": ColumnType.Categorical}


@dataclass(frozen=True, slots=True)
class DriftScore:
    """How far a column is from the reference; ``n`` counts the values of the window that are present."""

    score: float
    drifted: bool
    n: int


def drift_score(spec: DriftSpec, reference: pd.Series, current: pd.Series) -> DriftScore:
    """Return Evidently's score of ``current`` against ``reference`` by the test that ``spec`` names.

    Raises:
        ScoreError: a side has no values, or the test cannot be computed on them.
    """
    reference, current = present(reference), present(current)
    require_values(spec, reference, current)
    kind = _TYPES[spec.kind]
    test = get_stattest(reference, current, kind, spec.method)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = test(reference, current, kind, spec.threshold)
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        msg = f"column {spec.column}: {spec.method} failed: {type(error).__name__}: {error}"
        raise ScoreError(msg) from error
    score = float(result.drift_score)
    if not math.isfinite(score):
        msg = f"column {spec.column}: {spec.method} gives {score} on these values"
        raise ScoreError(msg)
    return DriftScore(score, bool(result.drifted), len(current))


def require_values(spec: DriftSpec, reference: pd.Series, current: pd.Series) -> None:
    """Refuse to compare with nothing.

    Raises:
        ScoreError: a side has no values.
    """
    if reference.empty:
        msg = f"column {spec.column} has no values in the reference; leave it out of drift or build another reference"
        raise ScoreError(msg)
    if current.empty:
        msg = f"column {spec.column} has no values in this window"
        raise ScoreError(msg)


def present(values: pd.Series) -> pd.Series:
    """Return the values that are neither missing nor infinite."""
    if pd.api.types.is_numeric_dtype(values):
        values = values.where(np.isfinite(values.astype("float64")))
    return values.dropna()


def regression_quality(label: np.ndarray, prediction: np.ndarray) -> Mapping[str, float]:
    """Return mae, rmse, mean_error (prediction − label), error_std, max_error, mape_evidently (percent) and r2.

    There is at least one row. A figure that the rows do not define is absent: error_std and r2 of one row, r2 of
    equal labels, mape_evidently where a label is negative. It counts a label of zero as an error of 100 %.
    """
    rows = pd.DataFrame({"label": label, "prediction": prediction})
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # The calculation drops rows in place, so it gets its own frame.
        figures = calculate_regression_performance(rows.copy(), _COLUMNS, "", "replace", 1.0)
        r2 = float(r2_score(rows["label"], rows["prediction"])) if rows["label"].nunique() > 1 else math.nan
        rmse = float(root_mean_squared_error_compat(rows["label"], rows["prediction"]))
    found = {
        "mae": figures.mean_abs_error,
        "rmse": rmse,
        "mean_error": figures.mean_error,
        "error_std": figures.error_std,
        "max_error": float(figures.abs_error_max),
        "mape_evidently": math.nan if (rows["label"] < 0).any() else figures.mean_abs_perc_error,
        "r2": r2,
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


_COLUMNS = DatasetColumns(
    utility_columns=DatasetUtilityColumns(target="label", prediction="prediction"),
    num_feature_names=[],
    cat_feature_names=[],
    text_feature_names=[],
    datetime_feature_names=[],
    target_names=None,
)
