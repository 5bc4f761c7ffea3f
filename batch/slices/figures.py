"""What a worker computes per slice: statistics, drift and quality of its rows.

Every figure is that of the filtered rows, by the same function that computes it for the whole window. Evidently's
``GroupBy`` is never used: it gives every group the figure of the whole. A slice with fewer rows than its rule wants
keeps its counts and gets no figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batch.results import DriftSpec, Failure, Metric, ScoreError
from batch.rows.frames import REQUEST, from_arrow_bytes
from batch.slices.grouping import Grouping, Slice, pinned, slice_names, slices_of
from batch.slices.ranking import excesses, parity_gaps, row_errors
from batch.workers.process import ENGINE, Answer, Calculator, Task, as_kind

if TYPE_CHECKING:
    import pandas as pd

_PANDAS = "pandas"


def answer_inputs(task: Task, rows: pd.DataFrame, calculator: Calculator) -> Answer:
    """Describe inputs per slice, and score their drift by ``task.specs`` where there is a reference.

    Options: ``groupings``, ``columns`` and ``numbers`` by name, and ``reference_values`` (the slice values of the
    reference's rows, in their order) or None.
    """
    metrics: list[Metric] = []
    failures: list[Failure] = []
    for one in slices_of(rows, _pinned(task, rows)):
        part = rows[one.rows]
        metrics.append(Metric("", "row_count", float(len(part)), len(part), _PANDAS, slice=one.name))
        if len(part) < one.rule.min_rows:
            continue
        metrics += _statistics(one.name, part, task.options["columns"], task.options["numbers"])
        if task.options["reference_values"] is not None:
            found, failed = _drift(task, one, part, calculator)
            metrics += found
            failures += failed
    return Answer(tuple(metrics), tuple(failures))


def _statistics(name: str, part: pd.DataFrame, columns: Sequence[str], numbers: Sequence[str]) -> Iterator[Metric]:
    n = len(part)
    for column in columns:
        yield Metric(column, "missing_share", float(part[column].isna().mean()), n, _PANDAS, slice=name)
    for column in numbers:
        values = part[column].dropna()
        if len(values):
            yield Metric(column, "mean", float(values.mean()), n, _PANDAS, slice=name)
        if len(values) > 1:
            yield Metric(column, "std", float(values.std(ddof=1)), n, _PANDAS, slice=name)


def _drift(task: Task, one: Slice, part: pd.DataFrame, calculator: Calculator) -> tuple[list[Metric], list[Failure]]:
    from batch.workers.scores import drift_score, present

    metrics: list[Metric] = []
    failures: list[Failure] = []
    for spec in task.specs:
        current = present(as_kind(part[spec.column], spec))
        past = _reference_column(task, one, spec, calculator)
        if past is None or min(len(current), len(past)) < max(spec.min_rows, one.rule.min_rows):
            continue
        try:
            found = drift_score(spec, past, current)
        except ScoreError as error:
            failures.append(Failure(spec.column, f"slice {one.name}: {error}", slice=one.name))
            continue
        shared = (found.n, ENGINE, spec.method, spec.threshold)
        metrics.append(Metric(spec.column, "drift_score", found.score, *shared, slice=one.name))
        metrics.append(Metric(spec.column, "drift_detected", float(found.drifted), *shared, slice=one.name))
    return metrics, failures


def _reference_column(task: Task, one: Slice, spec: DriftSpec, calculator: Calculator) -> pd.Series | None:
    """Return the values of the reference's rows of a slice, in order; None where the reference lacks the column."""
    from batch.workers.scores import present

    key = (task.reference_id, one.rule, one.name, spec)
    if key not in calculator.kept:
        frame = calculator.reference(task.reference_id)
        if spec.column not in frame:
            return None
        values = frame.loc[_reference_names(task, one.rule, calculator) == one.name, spec.column]
        calculator.kept[key] = present(as_kind(values, spec)).sort_values()
    column: pd.Series = calculator.kept[key]
    return column


def _reference_names(task: Task, rule: Grouping, calculator: Calculator) -> Any:
    """Return the slice of each row of the reference; what the window leaves over is left over there, too."""
    key = (task.reference_id, rule)
    if key not in calculator.kept:
        values = task.options["reference_values"][rule.column].astype(object)
        calculator.kept[key] = slice_names(values, rule).to_numpy()
    return calculator.kept[key]


def _pinned(task: Task, rows: pd.DataFrame) -> list[Grouping]:
    return [pinned(rule, rows[rule.column]) for rule in task.options["groupings"]]


def answer_quality(task: Task, rows: pd.DataFrame, calculator: Calculator) -> Answer:
    """Judge a version per slice; ``rows`` are its predictions.

    They have ``id`` and ``hour``, the flags ``failed``, ``labelled`` and ``scored``, and the slice values.
    Options: ``scored`` (an Arrow stream of the rows to score, as ``batch.rows.frames.scored_frames`` gives them, or
    None), ``groupings``, ``task`` (the contract's), and ``quality`` (the options of its figures).
    """
    rules = _pinned(task, rows)
    metrics = [metric for one in slices_of(rows, rules) for metric in _counts(one, rows)]
    if task.options["scored"] is None:
        return Answer(tuple(metrics))
    answered = from_arrow_bytes(task.options["scored"])
    names = [rule.column for rule in rules]
    scored = answered.merge(rows[[*REQUEST, *names]], on=REQUEST, how="inner", validate="one_to_one")
    judged = [one for one in slices_of(scored, rules) if one.rows.sum() >= one.rule.min_rows]
    failures: list[Failure] = []
    for one in judged:
        part = scored[one.rows].drop(columns=[*REQUEST, *names]).reset_index(drop=True)
        found = figures(task, part, calculator)
        metrics += [replace(metric, slice=one.name) for metric in found.metrics]
        failures += [_of_slice(failure, one.name) for failure in found.failures]
    if len(scored):
        errors = row_errors(task.options["task"], scored)
        metrics += excesses(errors, judged)
        metrics += parity_gaps(task.options, scored, errors, judged)
    return Answer(tuple(metrics), tuple(failures))


def _of_slice(failure: Failure, name: str) -> Failure:
    return replace(failure, error=f"slice {name}: {failure.error}", slice=name)


def figures(task: Task, rows: pd.DataFrame, calculator: Calculator) -> Answer:
    """Return the quality figures of these rows, as the job ``quality`` computes them for a window."""
    asked = Task("quality", b"", options=task.options["quality"])
    if task.options["task"] == "regression":
        from batch.quality.regression import answer as of_numbers

        return of_numbers(asked, rows, calculator)
    from batch.quality.classification import answer as of_classes

    return of_classes(asked, rows, calculator)


def _counts(one: Slice, rows: pd.DataFrame) -> Iterator[Metric]:
    part = rows[one.rows]
    n = len(part)
    found = {"label_count": part["labelled"], "scored_count": part["scored"], "failed_count": part["failed"]}
    yield Metric("", "prediction_count", float(n), n, _PANDAS, slice=one.name)
    yield Metric("", "coverage", float(part["labelled"].mean()), n, _PANDAS, slice=one.name)
    for name, flags in found.items():
        yield Metric("", name, float(flags.sum()), n, _PANDAS, slice=one.name)
