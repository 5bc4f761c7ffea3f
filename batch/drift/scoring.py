"""Inside a worker: one window's drift, column by column; a column that fails is its own failure and nobody else's.

The score and its verdict are Evidently's, the reference's own windows say what a healthy score is, and
counts the shift and the histogram.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from batch.drift.reference_column import ReferenceColumn
from batch.drift.shifts import ENGINE as OWN_ENGINE
from batch.drift.shifts import Moments, category_shifts, counts_of, number_shifts
from batch.results import DriftSpec, Failure, Histogram, Metric, ScoreError
from batch.workers.process import Answer, Task, as_kind
from batch.workers.scores import present

if TYPE_CHECKING:
    from batch.workers.process import Calculator


def answer(task: Task, rows: pd.DataFrame, calculator: Calculator) -> Answer:
    """Return all figures of ``task.specs``; ``task.options`` has ``window_ms``, the size of the window."""
    metrics: list[Metric] = []
    failures: list[Failure] = []
    histograms: list[Histogram] = []
    for spec in task.specs:
        if int(rows[spec.column].notna().sum()) < spec.min_rows:
            continue
        try:
            reference = reference_column(calculator, task, spec)
            if 0 < len(reference.values) < spec.min_rows:
                continue
            current = present(as_kind(rows[spec.column], spec))
            metrics += column_metrics(reference, current)
            histograms.append(_histogram(reference, current, int(rows[spec.column].isna().sum())))
        except ScoreError as error:
            failures.append(Failure(spec.column, str(error)))
    return Answer(tuple(metrics), tuple(failures), tuple(histograms))


def reference_column(calculator: Calculator, task: Task, spec: DriftSpec) -> ReferenceColumn:
    """Return the column of the task's reference that ``spec`` compares with, made once for all windows of a size.

    Raises:
        ScoreError: the reference does not have it.
    """
    key = (task.reference_id, task.options.get("window_ms"), spec)
    if key not in calculator.kept:
        frame = calculator.reference(task.reference_id)
        if spec.column not in frame:
            msg = f"column {spec.column} is not in reference {task.reference_id}; build a reference with this contract"
            raise ScoreError(msg)
        # In order, because Evidently sorts the reference's values anew for every window.
        values = present(as_kind(frame[spec.column], spec)).sort_values()
        missing = int(frame[spec.column].isna().sum())
        calculator.kept[key] = ReferenceColumn(spec, values, missing, reference_windows(calculator, task))
    column: ReferenceColumn = calculator.kept[key]
    return column


def column_metrics(reference: ReferenceColumn, current: pd.Series) -> Iterator[Metric]:
    """Yield the figures of one column; ``current`` holds the window's values that are present.

    Raises:
        ScoreError: a side has no values, or the test cannot be computed on them.
    """
    spec = reference.spec
    found = reference.score(current)
    shared = (found.n, reference.engine, spec.method, spec.threshold)
    yield Metric(spec.column, "drift_score", found.score, *shared)
    yield Metric(spec.column, "drift_detected", float(found.drifted), *shared)
    yield from _calibrated(reference, found.score, found.n)
    if spec.kind == "number":
        yield from number_shifts(spec.column, reference.moments, Moments.of(current.to_numpy(dtype="float64")))
    else:
        yield from category_shifts(spec.column, reference.counts, counts_of(current))


def _calibrated(reference: ReferenceColumn, score: float, n: int) -> Iterator[Metric]:
    spec, expected = reference.spec, reference.expected(n)
    if expected is None:
        return
    ratio = score / expected.score
    method = f"{expected.windows} {expected.basis}"
    yield Metric(spec.column, "drift_expected", expected.score, n, OWN_ENGINE, method)
    yield Metric(spec.column, "drift_ratio", ratio, n, OWN_ENGINE, method)
    if spec.importance is not None:
        weighted = spec.importance * ratio
        yield Metric(spec.column, "drift_importance", weighted, n, OWN_ENGINE, "importance times drift_ratio")


def _histogram(reference: ReferenceColumn, current: pd.Series, missing: int) -> Histogram:
    column = reference.spec.column
    if reference.spec.kind == "number":
        return reference.bins.of_numbers(column, current.to_numpy(dtype="float64"), missing)
    return reference.bins.of_values(column, counts_of(current), missing)


def reference_windows(calculator: Calculator, task: Task) -> np.ndarray | None:
    """Return of each row of the task's reference the window it lies in; None where it has no times."""
    frame, window_ms = calculator.reference(task.reference_id), task.options.get("window_ms")
    if window_ms is None or "event_time" not in frame:
        return None
    key = (task.reference_id, window_ms)
    if key not in calculator.kept:
        moments = frame["event_time"].dt.as_unit("ms").astype("int64").to_numpy()
        calculator.kept[key] = moments // window_ms
    windows: np.ndarray = calculator.kept[key]
    return windows
