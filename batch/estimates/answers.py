"""What error models say of windows: estimates before labels, and what labels make of them.

Runs inside a worker process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from batch.estimates.error_model import ENGINE, ErrorModel, Interval, Rows, fit_error_model, realised
from batch.estimates.frames import ErrorSpec
from batch.results import Failure, Metric, ScoreError
from batch.workers.process import Answer, Calculator, Task


@dataclass(slots=True)
class _Models:
    """The models of the newest reference; a worker keeps no other."""

    reference_id: str = ""
    fitted: dict[ErrorSpec, ErrorModel | None] = field(default_factory=dict)

    def of(self, spec: ErrorSpec, task: Task, calculator: Calculator) -> ErrorModel | None:
        if task.reference_id != self.reference_id:
            self.reference_id, self.fitted = task.reference_id, {}
        if spec not in self.fitted:
            self.fitted[spec] = fit_error_model(spec, calculator.reference(task.reference_id))
        return self.fitted[spec]


_MODELS = _Models()


def answer_estimate(task: Task, rows: Rows, calculator: Calculator) -> Answer:
    """Answer tasks ``estimate``: ``values`` maps each window's start (as text) to its metrics, all of one version.

    ``options``: ``spec``; ``labels``, whether those that have come are compared with the estimate; ``causes``,
    whether columns are ranked; ``absent``, by window, what a label counts as that has not come (None: nothing yet).
    """
    spec: ErrorSpec = task.options["spec"]
    try:
        model = _MODELS.of(spec, task, calculator)
    except ScoreError as error:
        return Answer(failures=(Failure("", str(error)),))
    if model is None:
        return Answer()
    if spec.task == "binary":
        rows = rows.assign(label=rows["label_class"])
    figures = corrected_figures if task.options["labels"] else estimated_figures
    absent: Mapping[str, str | None] = task.options["absent"]
    windows = {
        str(start): _filled(spec, rows.iloc[places], absent.get(str(start)))
        for start, places in rows.groupby("start_ms").indices.items()
    }
    values: dict[str, tuple[Metric, ...]] = {start: tuple(figures(model, part)) for start, part in windows.items()}
    if task.options["causes"]:
        values = {start: (*found, *_causes(model, windows[start])) for start, found in values.items()}
    return Answer(values=values)


def _filled(spec: ErrorSpec, rows: Rows, absent: str | None) -> Rows:
    if absent is None:
        return rows
    missing = ~rows["labelled"].to_numpy(dtype=bool)
    label = rows["label"].astype(object).mask(missing, absent if spec.task == "binary" else float(absent))
    return rows.assign(labelled=True, label=label)


def estimated_figures(model: ErrorModel, rows: Rows) -> Iterator[Metric]:
    """Yield what is expected of a window's rows before any label has come."""
    n = len(rows)
    found = model.interval(model.expected(rows))
    if model.spec.task != "binary":
        yield Metric("", "estimated_mae", found.value, n, ENGINE, _REGRESSION, lower=found.lower, upper=found.upper)
        return
    lower, upper = max(0.0, 1 - found.upper), min(1.0, 1 - found.lower)
    yield Metric("", "estimated_accuracy", 1 - found.value, n, ENGINE, _BINARY, lower=lower, upper=upper)
    for name, value in _expected_confusion(model, rows).items():
        if math.isfinite(value):
            yield Metric("", name, value, n, ENGINE, _BINARY)


def _expected_confusion(model: ErrorModel, rows: Rows) -> Mapping[str, float]:
    """Return precision, recall and F1 out of the expected numbers of hits, false alarms and misses."""
    calibrated = model.calibrated(rows)
    positive = rows["prediction"].to_numpy(dtype=float) >= model.spec.threshold
    hits, alarms, misses = calibrated[positive].sum(), (1 - calibrated[positive]).sum(), calibrated[~positive].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "estimated_precision": float(np.divide(hits, hits + alarms)),
            "estimated_recall": float(np.divide(hits, hits + misses)),
            "estimated_f1": float(np.divide(2 * hits, 2 * hits + alarms + misses)),
        }


def corrected_figures(model: ErrorModel, rows: Rows) -> Iterator[Metric]:
    """Yield the gap between realised and expected error, and the error with the missing labels' share filled in."""
    expected, error = model.expected(rows), realised(model.spec, rows)
    scored, open_ = np.isfinite(error), ~rows["labelled"].to_numpy(dtype=bool)
    if not scored.any():
        return
    method = _BINARY if model.spec.task == "binary" else _REGRESSION
    difference = error[scored] - expected[scored]
    spread = 1.96 * difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.nan
    gap = float(difference.mean())
    bounds = (gap - spread, gap + spread) if math.isfinite(spread) else (None, None)
    yield Metric("", "estimate_gap", gap, len(difference), ENGINE, method, lower=bounds[0], upper=bounds[1])
    n = int(scored.sum() + open_.sum())
    filled = model.interval(expected[open_]) if open_.any() else Interval(0.0, 0.0, 0.0)
    known, share = error[scored].sum() / n, open_.sum() / n
    value, lower, upper = (float(known + share * part) for part in (filled.value, filled.lower, filled.upper))
    if model.spec.task == "binary":
        yield Metric("", "accuracy_corrected", 1 - value, n, ENGINE, method, lower=1 - upper, upper=1 - lower)
    else:
        yield Metric("", "mae_corrected", value, n, ENGINE, method, lower=lower, upper=upper)


def _causes(model: ErrorModel, rows: Rows) -> Iterator[Metric]:
    for found in model.profile.contributions(rows) if model.profile else ():
        lower, upper = (found.value + sign * 1.96 * found.standard_error for sign in (-1, 1))
        yield Metric(
            found.column, "error_contribution", found.value, len(rows), "driftline", _CAUSES, lower=lower, upper=upper
        )


_REGRESSION = "boosting on the absolute error"
_BINARY = "isotonic calibration"
_CAUSES = "shift of bins times their mean error in the reference"
