"""Where a distribution has gone: signed shifts in the column's unit, beside a distance that knows no direction.

Current minus reference. Welch's interval and Student's t by SciPy; the other figures are counts and medians.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from batch.results import Metric

ENGINE = "driftline"
_MOST_NAMED = 5
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Moments:
    """Where numbers lie and how wide; ``variance`` is of the sample, NaN of one value."""

    n: int
    mean: float
    variance: float
    median: float

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Return those of ``values``; there is at least one. What is too great for a float is infinite."""
        with np.errstate(all="ignore"):
            variance = float(np.var(values, ddof=1)) if len(values) > 1 else math.nan
            return cls(len(values), float(np.mean(values)), variance, float(np.median(values)))


def number_shifts(column: str, reference: Moments, current: Moments) -> Iterator[Metric]:
    """Yield the shift of the mean with Welch's 95 % interval, and of the median; a shift too great for a float is none.

    >>> past, now = Moments.of(np.array([1.0, 2.0, 3.0])), Moments.of(np.array([4.0, 9.0]))
    >>> [(one.metric, one.value) for one in number_shifts("fare", past, now)]
    [('mean_shift', 4.5), ('median_shift', 4.5)]
    """
    shift, margin = current.mean - reference.mean, _welch_margin(reference, current)
    lower, upper = (None, None) if margin is None else (shift - margin, shift + margin)
    method = "difference of means"
    if math.isfinite(shift):
        yield Metric(column, "mean_shift", shift, current.n, ENGINE, method, lower=lower, upper=upper)
    moved = current.median - reference.median
    if math.isfinite(moved):
        yield Metric(column, "median_shift", moved, current.n, ENGINE, "difference of medians")


def _welch_margin(reference: Moments, current: Moments) -> float | None:
    if min(reference.n, current.n) < 2:
        return None
    past, now = reference.variance / reference.n, current.variance / current.n
    both = past + now
    if both == 0:
        return 0.0
    if not math.isfinite(both):
        return None
    # Of shares: the squares of a very great or very small variance are no floats.
    freedom = 1 / ((past / both) ** 2 / (reference.n - 1) + (now / both) ** 2 / (current.n - 1))
    # `student.ppf` takes a fifth of a millisecond for its checks; the function below it none.
    return float(stdtrit(freedom, 0.975)) * math.sqrt(both)


def category_shifts(column: str, reference: Mapping[str, int], current: Mapping[str, int]) -> Iterator[Metric]:
    """Yield the share of rows that moved between values, the value whose share moved most, and the new values.

    Both sides count rows by value. ``method`` names the values.

    >>> [(one.metric, one.value, one.method) for one in category_shifts("zone", {"A": 3, "B": 1}, {"A": 1, "C": 3})]
    [('share_moved', 0.75, 'total variation'), ('value_shift', 0.75, 'C'), ('new_value_count', 1.0, 'C (3)')]
    """
    names = sorted({*reference, *current})
    past, now = (np.array([side.get(name, 0) for name in names], dtype=float) for side in (reference, current))
    n = int(now.sum())
    moved = now / now.sum() - past / past.sum()
    # Of equal moves the first name wins, whatever the last digit says.
    most = int(np.argmax(np.round(np.abs(moved), 12) + (moved > 0) * 1e-13))
    new = sorted((name for name in current if name not in reference), key=lambda name: (-current[name], name))
    yield Metric(column, "share_moved", float(np.abs(moved).sum()) / 2, n, ENGINE, "total variation")
    yield Metric(column, "value_shift", float(moved[most]), n, ENGINE, names[most][:_LONGEST_NAME])
    yield Metric(column, "new_value_count", float(len(new)), n, ENGINE, _listed(new, current))


def _listed(names: list[str], counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name[:_LONGEST_NAME]} ({counts[name]})" for name in names[:_MOST_NAMED])
    return f"{shown}, and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown


def counts_of(values: pd.Series) -> dict[str, int]:
    """Return how many rows of a category hold each value, without those that none holds."""
    return {str(name): int(count) for name, count in values.value_counts().items() if count}
