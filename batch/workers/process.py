"""What runs inside a worker: one loop that turns tasks into answers. Nothing here touches the store.

The process imports Evidently once and keeps the columns of the references it was sent.
"""

from __future__ import annotations

import importlib
import io
import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from batch.results import DriftSpec, Failure, Histogram, Metric, WorstRow

if TYPE_CHECKING:
    import pandas as pd

ENGINE = "evidently 0.7.23"


@dataclass(frozen=True, slots=True)
class Task:
    """One window's rows as an Arrow stream, and what to compute on them; ``options`` are the kind's own.

    ``drift`` needs ``specs``, the id of a reference that was sent before and the window's size; ``quality`` needs the
    columns ``label`` and ``prediction``, and at least one row. The kinds in ``HANDLERS`` say themselves what they need.
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
    """What a task gave. ``is_exhausted`` where it took all memory that its worker may have: the worker has to go."""

    metrics: tuple[Metric, ...] = ()
    failures: tuple[Failure, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    worst: tuple[WorstRow, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    is_exhausted: bool = False
    absent: Mapping[tuple[str, str], str] = field(default_factory=dict)


HANDLERS: Mapping[str, str] = {
    "drift": "batch.drift.scoring:answer",
    "multivariate": "batch.drift.domain_classifier:answer",
    "quality": "batch.quality.regression:answer",
    "class_quality": "batch.quality.classification:answer",
    "custom": "batch.quality.custom_metrics:answer",
    "report": "batch.reports.pages:report",
    "slice_inputs": "batch.slices.figures:answer_inputs",
    "slice_quality": "batch.slices.figures:answer_quality",
    "comparison": "batch.challengers.paired:answer",
    "estimate": "batch.estimates.answers:answer_estimate",
}
"""Kinds of task with a module of their own: ``module:function``.

The function takes the task, its rows and the calculator, and returns an ``Answer``.
"""


def run_limited(entry: Callable[[Connection], None], connection: Connection, memory_bytes: int | None) -> None:
    """Run ``entry`` in this process, which may then have so much memory of its own, where the system counts that."""
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    entry(connection)


def serve(connection: Connection) -> None:
    """Answer tasks until the other end closes."""
    # Control-C reaches the whole group; the parent decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One BLAS thread each: more of them triple the time of a drift score on busy cores.
    os.environ.update(DO_NOT_TRACK="1", WHYLOGS_NO_ANALYTICS="True", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    importlib.import_module("batch.workers.scores")
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
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0] / 2**20
        remedy = "allow more with --worker-memory-mb, or judge smaller windows"
        exhausted = f"{task.kind}: this window takes more memory than a worker may have ({limit:,.0f} MiB); {remedy}"
        return Answer(failures=(Failure("", exhausted, is_fatal=True),), is_exhausted=True)
    except Exception as error:
        return Answer(failures=(Failure("", f"{task.kind}: {type(error).__name__}: {error}", is_fatal=True),))


@dataclass(slots=True)
class Calculator:
    """Answers tasks; ``kept`` is for what handlers derive from a reference, and goes when another one comes."""

    kept: dict[Any, Any] = field(default_factory=dict)
    _references: dict[str, pd.DataFrame] = field(default_factory=dict)

    def keep(self, reference: ReferenceRows) -> None:
        """Read a reference's rows; only the newest is kept."""
        import pandas as pd

        self.kept.clear()
        self._references = {reference.reference_id: pd.read_parquet(io.BytesIO(reference.parquet))}

    def answer(self, task: Task) -> Answer:
        """Compute one task."""
        from batch.rows.frames import from_arrow_bytes

        rows = from_arrow_bytes(task.frame)
        module, _, name = HANDLERS[task.kind].partition(":")
        handler: Callable[[Task, pd.DataFrame, Calculator], Answer] = getattr(importlib.import_module(module), name)
        return handler(task, rows, self)

    def reference(self, reference_id: str) -> pd.DataFrame:
        """Return the rows of the reference that was sent last, which must be this one."""
        return self._references[reference_id]


def as_kind(values: pd.Series, spec: DriftSpec) -> pd.Series:
    """Return ``values`` as the test wants them: numbers as floats, categories as text that is quick to count."""
    if spec.kind == "category":
        return values.dropna().map(str).astype("category")
    numbers = values.astype("float64")
    if spec.valid is not None:
        numbers = numbers[numbers.between(*spec.valid)]
    if spec.clip is not None:
        # An infinite value is not a great one but none at all.
        numbers = numbers[np.isfinite(numbers)].clip(*spec.clip)
    return numbers
