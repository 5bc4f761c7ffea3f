"""What jobs hand over: metrics, failures and outcomes; values only.

Storing them is ``batch.commit``'s, computing them the job modules'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from driftline.errors import DriftlineError

RunStatus = Literal["ok", "empty", "insufficient"]


class ScoreError(DriftlineError):
    """One column's figure cannot be computed; the others can."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of one window. ``n`` is the number of rows it rests on."""

    column: str
    metric: str
    value: float
    n: int
    engine: str = "clickhouse"
    method: str = ""
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be computed and why; ``column`` is ``""`` for the whole window."""

    column: str
    error: str


@dataclass(frozen=True, slots=True)
class DriftSpec:
    """The pinned test of one column: Evidently's name for it and the score from which it says "drift".

    Numbers outside ``valid`` (closed) are left out on both sides.
    """

    column: str
    kind: Literal["number", "category"]
    method: str
    threshold: float
    min_rows: int
    valid: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job found in one window.

    ``observed`` are metrics that other tables hold and that are judged with this run. ``withheld`` says why no
    verdict may be given yet; empty for none.
    """

    status: RunStatus
    n_rows: int
    metrics: tuple[Metric, ...] = ()
    failures: tuple[Failure, ...] = ()
    observed: tuple[Metric, ...] = ()
    n_predictions: int = 0
    n_labels: int = 0
    n_scored: int = 0
    withheld: str = ""

    @property
    def coverage(self) -> float | None:
        """Labelled predictions of all predictions; None where the job counts none."""
        return self.n_labels / self.n_predictions if self.n_predictions else None
