"""What runs inside a worker: one loop that turns tasks into answers. Nothing here touches the store.

The process imports Evidently once and keeps the columns of the references it was sent.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from batch.results import DriftSpec, Failure, Histogram, Metric, ScoreError, WorstRow

if TYPE_CHECKING:
    import pandas as pd

ENGINE = "evidently 0.7.23"


@dataclass(frozen=True, slots=True)
class Task:
    """One window's rows as an Arrow stream, and what to compute on them; ``options`` are the kind's own.

    ``drift`` needs ``specs`` and the id of a reference that was sent before; ``quality`` needs the columns ``label``
    and ``prediction``, and at least one row. The kinds in ``HANDLERS`` say themselves what they need.
    """

    kind: str
    frame: bytes
    specs: tuple[DriftSpec, ...] = ()
    reference_id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReferenceRows:
    """A reference's rows as a Parquet file, sent once to every worker."""

    reference_id: str
    parquet: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task gave."""

    metrics: tuple[Metric, ...] = ()
    failures: tuple[Failure, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    worst: tuple[WorstRow, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


HANDLERS: Mapping[str, str] = {}
"""Kinds of task with a module of their own: ``module:function``.

The function takes the task, its rows and the calculator, and returns an ``Answer``.
"""


def serve(connection: Connection) -> None:
    """Answer tasks until the other end closes."""
    # Control-C reaches the whole group; the parent decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One BLAS thread each: more of them triple the time of a drift score on busy cores.
    os.environ.update(DO_NOT_TRACK="1", WHYLOGS_NO_ANALYTICS="True", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    importlib.import_module("batch.scores")
    calculator = Calculator()
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        if isinstance(message, ReferenceRows):
            calculator.keep(message)
        else:
            connection.send(answer_safely(calculator.answer, message))


def answer_safely(answer: Callable[[Task], Answer], task: Task) -> Answer:
    """Return the answer, or the failure that names what went wrong: a worker outlives its tasks."""
    try:
        return answer(task)
    except Exception as error:
        return Answer(failures=(Failure("", f"{task.kind}: {type(error).__name__}: {error}"),))


@dataclass(slots=True)
class Calculator:
    """Answers tasks; remembers reference columns without their missing values."""

    _references: dict[str, pd.DataFrame] = field(default_factory=dict)
    _columns: dict[tuple[str, DriftSpec], pd.Series] = field(default_factory=dict)

    def keep(self, reference: ReferenceRows) -> None:
        """Read a reference's rows; only the newest is kept."""
        import pandas as pd

        self._columns.clear()
        self._references = {reference.reference_id: pd.read_parquet(io.BytesIO(reference.parquet))}

    def answer(self, task: Task) -> Answer:
        """Compute one task."""
        from batch.frames import from_arrow_bytes

        rows = from_arrow_bytes(task.frame)
        if task.kind in HANDLERS:
            module, _, name = HANDLERS[task.kind].partition(":")
            handler: Callable[[Task, pd.DataFrame, Calculator], Answer] = getattr(importlib.import_module(module), name)
            return handler(task, rows, self)
        return self._drift(task, rows) if task.kind == "drift" else _quality(rows)

    def reference(self, reference_id: str) -> pd.DataFrame:
        """Return the rows of the reference that was sent last, which must be this one."""
        return self._references[reference_id]

    def _drift(self, task: Task, rows: pd.DataFrame) -> Answer:
        from batch.scores import drift_score

        metrics: list[Metric] = []
        failures: list[Failure] = []
        for spec in task.specs:
            if int(rows[spec.column].notna().sum()) < spec.min_rows:
                continue
            try:
                found = drift_score(spec, self._reference(task.reference_id, spec), as_kind(rows[spec.column], spec))
            except ScoreError as error:
                failures.append(Failure(spec.column, str(error)))
                continue
            shared = (found.n, ENGINE, spec.method, spec.threshold)
            metrics.append(Metric(spec.column, "drift_score", found.score, *shared))
            metrics.append(Metric(spec.column, "drift_detected", float(found.drifted), *shared))
        return Answer(tuple(metrics), tuple(failures))

    def _reference(self, reference_id: str, spec: DriftSpec) -> pd.Series:
        from batch.scores import present

        key = (reference_id, spec)
        if key not in self._columns:
            frame = self._references[reference_id]
            if spec.column not in frame:
                msg = f"column {spec.column} is not in reference {reference_id}; build a reference with this contract"
                raise ScoreError(msg)
            # In order, because Evidently sorts the reference's values anew for every window.
            self._columns[key] = present(as_kind(frame[spec.column], spec)).sort_values()
        return self._columns[key]


def as_kind(values: pd.Series, spec: DriftSpec) -> pd.Series:
    """Return ``values`` as the test wants them: numbers as floats, categories as text that is quick to count."""
    if spec.kind == "category":
        return values.dropna().map(str).astype("category")
    numbers = values.astype("float64")
    return numbers if spec.valid is None else numbers[numbers.between(*spec.valid)]


def _quality(rows: pd.DataFrame) -> Answer:
    from batch.scores import regression_quality

    figures = regression_quality(rows["label"].to_numpy(), rows["prediction"].to_numpy())
    return Answer(tuple(Metric("", name, value, len(rows), ENGINE, "regression") for name, value in figures.items()))
