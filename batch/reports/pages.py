"""Evidently's pages: one window against its reference, as HTML.

Runs inside a worker process; takes frames, returns bytes. Every text that comes from events is made harmless first
(``batch.reports.neutral``). A column or a preset that Evidently cannot draw is left out and named in the answer; a page
is made of what is left.
"""

from __future__ import annotations

import gzip
import html
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from batch.references.sets import PREDICTION_PREFIX
from batch.reports.neutral import neutral_names, neutral_text
from batch.results import DriftSpec, ScoreError
from batch.workers.process import Answer, Task, as_kind

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from evidently import (
        BinaryClassification,
        DataDefinition,
        Dataset,
        MulticlassClassification,
        Regression,
        Report,
    )
    from evidently.core.report import Snapshot
    from evidently.presets import ClassificationPreset, DataDriftPreset, DataSummaryPreset, RegressionPreset

if TYPE_CHECKING:
    from batch.workers.process import Calculator

_LABEL = "label"
_LEAST_CLASSES = 3
# What Evidently raises on a column that it cannot draw; anything else is a fault of ours and fails the task.
_UNDRAWABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, AssertionError)


@dataclass(slots=True)
class _Sides:
    """Both frames under the names that the page shows, and what is left out of it: name to reason."""

    current: pd.DataFrame
    reference: pd.DataFrame | None
    numbers: list[str]
    categories: list[str]
    texts: Mapping[str, str]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        return [*self.numbers, *self.categories]

    def leave_out(self, column: str, reason: str) -> None:
        self.left_out[column] = reason
        self.numbers = [name for name in self.numbers if name != column]
        self.categories = [name for name in self.categories if name != column]


def report(task: Task, rows: pd.DataFrame, calculator: Calculator) -> Answer:
    """Draw ``rows`` against the task's reference, where it names one.

    ``task.specs`` are the columns to show. Options: ``title``; ``task``, the contract's; ``positive_class``;
    ``left_out``, what the caller has left out; perhaps ``workspace``, an Evidently workspace to add the run to, with
    ``project`` and ``replaces``, the run that it takes the place of.

    The answer's values are ``html`` (gzip), ``left_out`` and perhaps ``workspace_run``.

    Raises:
        ScoreError: nothing of it can be drawn.
    """
    reference = calculator.reference(task.reference_id) if task.reference_id else None
    sides = _sides(task.specs, rows, reference)
    sides.left_out = {**task.options["left_out"], **sides.left_out}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        snapshot, page = _drawn(task, sides)
        values: dict[str, Any] = {"html": _finished(page, task.options["title"], sides), "left_out": sides.left_out}
        if task.options.get("workspace"):
            values["workspace_run"] = _added(snapshot, task.options)
    return Answer(values=values)


def _sides(specs: Sequence[DriftSpec], rows: pd.DataFrame, reference: pd.DataFrame | None) -> _Sides:
    """Return the columns of ``specs`` that have values on every side, with harmless texts."""
    shown = dict(zip([spec.column for spec in specs], _shown_names(specs), strict=True))
    frames = [rows] if reference is None else [rows, reference]
    made = [pd.DataFrame({shown[one.column]: _values(frame, one) for one in specs}) for frame in frames]
    categories = [shown[spec.column] for spec in specs if spec.kind == "category"]
    sides = _Sides(
        current=made[0],
        reference=made[1] if len(made) > 1 else None,
        numbers=[shown[spec.column] for spec in specs if spec.kind == "number"],
        categories=categories,
        texts=neutral_names(text for frame in made for name in categories for text in frame[name].dropna().unique()),
    )
    for column in list(sides.columns):
        if not made[0][column].notna().any():
            sides.leave_out(column, "no values in this window")
        elif len(made) > 1 and not made[1][column].notna().any():
            sides.leave_out(column, "no values in the reference")
    for frame in made:
        for name in sides.categories:
            frame[name] = frame[name].map(sides.texts)
    return sides


def _shown_names(specs: Sequence[DriftSpec]) -> list[str]:
    plain = ["prediction" if one.column.startswith(PREDICTION_PREFIX) else one.column for one in specs]
    names = neutral_names(plain)
    return [names[one] for one in plain]


def _values(frame: pd.DataFrame, spec: DriftSpec) -> pd.Series:
    """Return a column as its test sees it, row by row; what the test leaves out is missing."""
    if spec.column not in frame:
        return pd.Series(np.nan, index=frame.index, dtype="object" if spec.kind == "category" else "float64")
    kept = as_kind(frame[spec.column], spec).reindex(frame.index)
    return kept.astype(object) if spec.kind == "category" else kept.where(np.isfinite(kept))


def _drawn(task: Task, sides: _Sides) -> tuple[Snapshot, str]:
    """Return the report and its page; what cannot be drawn is left out, column by column, then preset by preset."""
    presets = _presets(task, sides)
    try:
        return _run(task, sides, presets)
    except _UNDRAWABLE:
        pass
    if any(_fault(task, sides, {name: presets[name]}) for name in presets if name != "quality"):
        _leave_out_broken(task, sides)
    kept = {}
    for name, preset in _presets(task, sides).items():
        fault = _fault(task, sides, {name: preset})
        if fault:
            sides.left_out[name] = fault
        else:
            kept[name] = preset
    if not kept:
        msg = f"Evidently can draw nothing of this window: {sides.left_out}"
        raise ScoreError(msg)
    return _run(task, sides, kept)


def _presets(task: Task, sides: _Sides) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": DataSummaryPreset(columns=sides.columns)}
    if sides.reference is None:
        sides.left_out["drift"] = "there is no reference"
    else:
        least = min((spec.min_rows for spec in task.specs), default=0)
        if len(sides.current) < least:
            sides.left_out["drift"] = f"{len(sides.current)} rows; drift is judged from {least}"
        else:
            found = {"drift": _drift(task.specs, sides), **found}
    reason = _why_no_quality(task.options["task"], sides)
    if reason:
        sides.left_out["quality"] = reason
    else:
        found["quality"] = RegressionPreset() if task.options["task"] == "regression" else ClassificationPreset()
    return found


def _drift(specs: Sequence[DriftSpec], sides: _Sides) -> DataDriftPreset:
    """Return the drift preset with every column's test and threshold pinned to the contract's."""
    of = {shown: spec for shown, spec in zip(_shown_names(specs), specs, strict=True) if shown in sides.columns}
    return DataDriftPreset(
        columns=list(of),
        per_column_method={name: spec.method for name, spec in of.items()},
        per_column_threshold={name: spec.threshold for name, spec in of.items()},
    )


def _why_no_quality(task: str, sides: _Sides) -> str:
    if not {_LABEL, "prediction"} <= set(sides.columns):
        return "no row has both a valid label and a prediction"
    scored = [frame[[_LABEL, "prediction"]].dropna() for frame in (sides.current, sides.reference) if frame is not None]
    if any(frame.empty for frame in scored):
        return "no row has both a valid label and a prediction"
    # Evidently 0.7.23 takes two classes for a binary task and then looks for a class called 1.
    if task == "multiclass" and min(len(np.unique(frame.to_numpy())) for frame in scored) < _LEAST_CLASSES:
        return f"Evidently draws the quality of several classes from {_LEAST_CLASSES} on"
    return ""


def _run(task: Task, sides: _Sides, presets: Mapping[str, Any]) -> tuple[Snapshot, str]:
    definition = DataDefinition(
        numerical_columns=sides.numbers,
        categorical_columns=sides.categories,
        **(_outcome(task.options, sides) if "quality" in presets else {}),
    )
    current, reference = (
        None if one is None else Dataset.from_pandas(one[sides.columns], data_definition=definition)
        for one in (sides.current, sides.reference)
    )
    # Its tests would bound every figure by ten percent of the reference: verdicts that nobody asked for.
    snapshot = Report(list(presets.values()), include_tests=False).run(
        current, reference, name=neutral_text(task.options["title"])
    )
    return snapshot, snapshot.get_html_str(as_iframe=False)


def _outcome(options: Mapping[str, Any], sides: _Sides) -> dict[str, Any]:
    if options["task"] == "regression":
        return {"regression": [Regression(target=_LABEL, prediction="prediction")]}
    columns = {"target": _LABEL, "prediction_labels": "prediction"}
    if options["task"] == "binary":
        positive = sides.texts.get(options["positive_class"], neutral_text(options["positive_class"]))
        return {"classification": [BinaryClassification(**columns, pos_label=positive)]}
    return {"classification": [MulticlassClassification(**columns)]}


def _leave_out_broken(task: Task, sides: _Sides) -> None:
    for column in list(sides.columns):
        alone = _Sides(
            sides.current,
            sides.reference,
            numbers=[name for name in sides.numbers if name == column],
            categories=[name for name in sides.categories if name == column],
            texts=sides.texts,
        )
        presets = {name: one for name, one in _presets(task, alone).items() if name != "quality"}
        fault = _fault(task, alone, presets)
        if fault:
            sides.leave_out(column, fault)


def _fault(task: Task, sides: _Sides, presets: Mapping[str, Any]) -> str:
    """Return why Evidently cannot draw these presets, ``""`` when it can."""
    try:
        _run(task, sides, presets)
    except _UNDRAWABLE as error:
        return f"Evidently cannot draw it: {type(error).__name__}: {neutral_text(str(error))}"
    return ""


def _finished(page: str, title: str, sides: _Sides) -> bytes:
    """Return the page, zipped, with its title and what is left out written at its top."""
    missing = "".join(
        f"<li>{html.escape(neutral_text(name))}: {html.escape(neutral_text(reason))}</li>"
        for name, reason in sides.left_out.items()
    )
    note = f"<p>Left out:</p><ul>{missing}</ul>" if missing else ""
    head = f'<div style="font-family:sans-serif;margin:1em"><h1>{html.escape(neutral_text(title))}</h1>{note}</div>'
    opening = page.index(">", page.index("<body")) + 1
    return gzip.compress((page[:opening] + head + page[opening:]).encode(), mtime=0)


def _added(snapshot: Snapshot, options: Mapping[str, Any]) -> str:
    """Add the run to a workspace in place of the one it replaces, and return its id."""
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(options["workspace"])
    named = [project for project in workspace.search_project(options["project"]) if project.name == options["project"]]
    project = named[0] if named else workspace.create_project(options["project"])
    old = options.get("replaces", "")
    if old and old in {str(run) for run in workspace.list_runs(project.id)}:
        workspace.delete_run(project.id, old)
    return str(workspace.add_run(project.id, snapshot).id)
