"""What jobs hand over: metrics, failures and outcomes; values only.

Storing them is ``batch.ledger.commit``'s, computing them the job modules'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from driftline.errors import DriftlineError

RunStatus = Literal["ok", "empty", "insufficient", "error"]
ALL = "all"
"""The slice that holds every row."""


class ScoreError(DriftlineError):
    """One column's figure cannot be computed; the others can."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of one window. ``n`` is the number of rows it rests on.

    ``lower`` and ``upper`` bound its 95 % confidence interval, where it has one.
    """

    column: str
    metric: str
    value: float
    n: int
    engine: str = "clickhouse"
    method: str = ""
    threshold: float | None = None
    lower: float | None = None
    upper: float | None = None
    slice: str = ALL


@dataclass(frozen=True, slots=True)
class Histogram:
    """A column's rows by bin, in the window and in the reference.

    Numbers have ``edges``, one more than bins, the outer ones perhaps infinite; categories have ``labels``.
    """

    column: str
    edges: tuple[float, ...]
    labels: tuple[str, ...]
    current: tuple[int, ...]
    reference: tuple[int, ...]
    missing: int = 0
    reference_missing: int = 0
    slice: str = ALL


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """How a reference's errors lie: inner edges (one fewer than bins, ascending), rows per bin, the outer ones open."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row among those predicted worst; ``place`` 1 is the worst. Prediction and label are as text."""

    place: int
    id: str
    prediction: str
    label: str
    error: float
    slice: str = ALL


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be computed and why; ``column`` is ``""`` for every figure of the ``slice``.

    A slice is one's name, a slice rule's for all that the rule makes, or ``ALL`` for the window and whatever is in it.
    ``is_fatal`` where the computation itself broke off: the run then counts as failed, hides no good one, and the
    window is tried again.
    """

    column: str
    error: str
    is_fatal: bool = False
    slice: str = ALL


@dataclass(frozen=True, slots=True)
class DriftSpec:
    """The pinned test of one column: Evidently's name for it and the score from which it says "drift".

    Numbers outside ``valid`` (closed) are left out on both sides; those outside ``clip`` become its nearer end, so
    that one absurd value does not hide what the others do. ``importance`` weighs the column's drift.
    """

    column: str
    kind: Literal["number", "category"]
    method: str
    threshold: float
    min_rows: int
    valid: tuple[float, float] | None = None
    clip: tuple[float, float] | None = None
    importance: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job found in one window.

    ``observed`` are metrics that other tables hold and that are judged with this run. ``withheld`` says why no
    verdict may be given yet; empty for none. ``absent`` says why a figure (column, metric) is not there.
    """

    status: RunStatus
    n_rows: int
    metrics: tuple[Metric, ...] = ()
    failures: tuple[Failure, ...] = ()
    observed: tuple[Metric, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    worst: tuple[WorstRow, ...] = ()
    n_predictions: int = 0
    n_labels: int = 0
    n_scored: int = 0
    withheld: str = ""
    absent: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        """Whether the window could not be judged at all."""
        return any(failure.is_fatal for failure in self.failures)

    @property
    def coverage(self) -> float | None:
        """Labelled predictions of all predictions; None where the job counts none."""
        return self.n_labels / self.n_predictions if self.n_predictions else None
