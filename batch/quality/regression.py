"""How wrong numbers are: a window's regression figures, their intervals, the errors' distribution, the worst rows.

Runs inside a worker. Mean figures and r2 are Evidently's (``batch.workers.scores``); quantiles, ``mape`` without the
rows whose label is zero, and the comparison with a dummy are computed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from batch.quality import intervals
from batch.quality.error_shapes import error_histogram, shape_of_errors
from batch.quality.intervals import Floats, Interval
from batch.results import Metric, WorstRow
from batch.workers.process import ENGINE, Answer, Calculator, Task
from batch.workers.scores import regression_quality

if TYPE_CHECKING:
    import pandas as pd

WORST_ROWS = 20
_NUMPY = f"numpy {np.__version__}"
_QUANTILES = {"abs_error_quantile_50": 0.5, "abs_error_quantile_90": 0.9, "abs_error_quantile_95": 0.95,
              "abs_error_quantile_99": 0.99}  # fmt: skip
_METHODS = {
    "mae": "regression, Student's interval",
    "mean_error": "regression, Student's interval",
    "rmse": "regression, delta method",
    "error_std": "regression, delta method",
    "r2": "regression, delta method",
}


def answer(task: Task, rows: pd.DataFrame, _: Calculator) -> Answer:
    """Score ``id``, ``prediction`` and ``label``, at least one row.

    Options: ``dummy`` (the reference's median label, or None) and ``errors`` (the shape of its errors, or None);
    ``shape`` asks for the shape of these rows' errors.
    """
    label, prediction = rows["label"].to_numpy("float64"), rows["prediction"].to_numpy("float64")
    metrics = tuple(figures(label, prediction, task.options.get("dummy")))
    if task.options.get("shape"):
        return Answer(metrics, values={"errors": shape_of_errors(prediction - label)})
    if "id" not in rows:
        return Answer(metrics)
    shape = error_histogram("error", prediction - label, task.options.get("errors"))
    return Answer(metrics, histograms=(shape,), worst=tuple(worst_rows(rows, np.abs(prediction - label))))


def figures(label: Floats, prediction: Floats, dummy: float | None = None) -> Iterator[Metric]:
    """Yield the figures of these rows, each with its interval where it has one.

    ``mape`` leaves out the rows whose label is zero and says on how many it rests; ``mape_evidently`` is Evidently's,
    which counts them as errors of 100 %. ``skill`` is 1 - mae / ``mae_dummy``, the error of always answering ``dummy``.
    """
    error = prediction - label
    n = len(error)
    for name, value in regression_quality(label, prediction).items():
        lower, upper = _interval(name, value, label, error)
        yield Metric("", name, value, n, ENGINE, _METHODS.get(name, "regression"), None, lower, upper)
    yield from _quantiles(np.sort(np.abs(error)))
    yield from _percentage(label, error)
    if dummy is not None:
        yield from _against_dummy(np.abs(error), np.abs(label - dummy))


def worst_rows(rows: pd.DataFrame, error: Floats) -> Iterator[WorstRow]:
    """Yield the rows with the greatest ``error``, equal ones by id."""
    for place, at in enumerate(worst_places(rows["id"], error), 1):
        row = rows.iloc[at]
        yield WorstRow(place, str(row["id"]), f"{row['prediction']:.6g}", f"{row['label']:.6g}", float(error[at]))


def worst_places(ids: pd.Series, error: Floats) -> list[int]:
    """Return where the greatest errors are, the worst first, equal ones by id; at most ``WORST_ROWS``."""
    least = np.partition(error, -WORST_ROWS)[-WORST_ROWS] if len(error) > WORST_ROWS else -np.inf
    near = np.flatnonzero(error >= least)
    order = np.lexsort((ids.iloc[near].to_numpy(dtype=str), -error[near]))[:WORST_ROWS]
    places: list[int] = near[order].tolist()
    return places


def _interval(name: str, value: float, label: Floats, error: Floats) -> Interval:
    squared, spread = error**2, (label - label.mean()) ** 2
    if name == "mae":
        return intervals.of_mean(np.abs(error))
    if name == "mean_error":
        return intervals.of_mean(error)
    if name == "rmse" and value > 0:
        return intervals.of_estimate(value, (squared - squared.mean()) / (2 * value), low=0.0)
    if name == "error_std" and value > 0:
        apart = (error - error.mean()) ** 2
        return intervals.of_estimate(value, (apart - apart.mean()) / (2 * value), low=0.0)
    if name == "r2":
        lost, whole = 1 - value, float(spread.mean())
        if whole == 0:  # labels so close together that their squares vanish
            return None, None
        return intervals.of_estimate(value, -(squared - lost * spread) / whole, high=1.0)
    return None, None


def _quantiles(ordered: Floats) -> Iterator[Metric]:
    values = np.quantile(ordered, list(_QUANTILES.values()))
    for (name, share), value in zip(_QUANTILES.items(), values.tolist(), strict=True):
        lower, upper = intervals.of_quantile(ordered, share)
        method = "linear between ranks, order statistics' interval"
        yield Metric("", name, value, len(ordered), _NUMPY, method, None, lower, upper)


def _percentage(label: Floats, error: Floats) -> Iterator[Metric]:
    nonzero = label != 0
    if nonzero.any():
        with np.errstate(over="ignore"):  # an error of 1 on a label of 1e-308: no percentage, and no figure
            shares = 100 * np.abs(error[nonzero] / label[nonzero])
            value = float(shares.mean())
            lower, upper = intervals.of_mean(shares) if math.isfinite(value) else (None, None)
        if math.isfinite(value):
            method = "mean without zero labels, Student's interval"
            yield Metric("", "mape", value, int(nonzero.sum()), _NUMPY, method, None, lower, upper)


def _against_dummy(error: Floats, dummy: Floats) -> Iterator[Metric]:
    mean, n = float(dummy.mean()), len(dummy)
    if not math.isfinite(mean):
        return
    lower, upper = intervals.of_mean(dummy)
    yield Metric("", "mae_dummy", mean, n, _NUMPY, "the reference's median label", None, lower, upper)
    if mean > 0:
        yield skill(error, dummy, "1 - mae over the dummy's, delta method")


def skill(error: Floats, dummy: Floats, method: str) -> Metric:
    """Return 1 - the mean of ``error`` over the mean of ``dummy``, which is above zero, with its interval."""
    low, high = intervals.of_ratio(error, dummy)
    lower, upper = (None if end is None else 1 - end for end in (high, low))
    return Metric("", "skill", 1 - float(error.mean() / dummy.mean()), len(error), _NUMPY, method, None, lower, upper)
