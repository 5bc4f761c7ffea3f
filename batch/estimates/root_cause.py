"""Which columns moved together with the error; runs inside a worker process.

A column's share of the expected error's change: its values are cut into bins, and

    contribution = sum over bins of (share in the window - share in the reference) x mean error in the reference

in the unit of the error. It is how much the error would move if nothing but this column had shifted and each of its
bins kept the error it had. Each column is looked at alone, so two that move together both get the credit, and the
contributions do not add up to the change; what no column shows (a changed meaning) is in none. The standard error
is that of the window's rows and of the reference's mean errors.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from batch.estimates.frames import ErrorSpec

# Fewer rows do not tell a bin's mean error from chance.
FEWEST_ROWS_IN_BIN = 30
_BINS = 10
_MISSING, _OTHER = "missing", "other"
EVENT_TIME = "event_time"


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much of the expected error's change a column explains alone, with the standard error of that."""

    column: str
    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class _Bin:
    """A bin's share of the reference, its mean error there, and the variance of that mean."""

    share: float
    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class ErrorProfile:
    """The errors of a reference in the bins of each column."""

    spec: ErrorSpec
    mean: float
    edges: dict[str, np.ndarray]
    bins: dict[str, dict[str, _Bin]]

    def contributions(self, rows: pd.DataFrame) -> Iterator[Contribution]:
        """Yield every column's contribution in ``rows``, which are as those of ``reference_rows``."""
        for column, bins in self.bins.items():
            named = _bins(_values(rows, column, self.spec), self.edges.get(column), bins)
            expected = named.map({name: one.mean for name, one in bins.items()}).to_numpy(dtype=float)
            shares = named.value_counts(normalize=True)
            learned = sum((shares.get(name, 0.0) - one.share) ** 2 * one.variance for name, one in bins.items())
            variance = float(expected.var()) / len(expected) + float(learned)
            yield Contribution(column, float(expected.mean()) - self.mean, math.sqrt(variance))


def error_profile(spec: ErrorSpec, rows: pd.DataFrame) -> ErrorProfile:
    """Return the profile of reference rows with their ``error``; bins of too few rows share one."""
    edges: dict[str, np.ndarray] = {}
    bins: dict[str, dict[str, _Bin]] = {}
    for column in ("prediction", EVENT_TIME, *spec.columns):
        values = _values(rows, column, spec)
        if column == "prediction" or column in spec.numbers:
            cuts = np.nanquantile(values.to_numpy(dtype=float), np.linspace(0, 1, _BINS + 1)[1:-1])
            edges[column] = np.unique(cuts[np.isfinite(cuts)])
        named = _bins(values, edges.get(column), None)
        counts = named.value_counts()
        frequent = set(counts[counts >= FEWEST_ROWS_IN_BIN].index)
        pooled = named.where(named.isin(frequent), _OTHER)
        bins[column] = {_OTHER: _Bin(0.0, float(rows["error"].mean()), 0.0), **_learned(rows["error"], pooled)}
    return ErrorProfile(spec, float(rows["error"].mean()), edges, bins)


def _learned(error: pd.Series, names: pd.Series) -> dict[str, _Bin]:
    found = error.groupby(names.to_numpy()).agg(["size", "mean", "var"])
    return {
        str(name): _Bin(row["size"] / len(error), row["mean"], np.nan_to_num(row["var"]) / row["size"])
        for name, row in found.iterrows()
    }


def _values(rows: pd.DataFrame, column: str, spec: ErrorSpec) -> pd.Series:
    if column == EVENT_TIME:
        moments = pd.to_datetime(rows["event_ms"], unit="ms", utc=True).dt.tz_convert(spec.timezone)
        return moments.dt.hour.map(str)
    if column == "prediction" or column in spec.numbers:
        numbers = rows[column].astype("float64")
        return numbers.where(np.isfinite(numbers))
    return rows[column].map(str, na_action="ignore")


def _bins(values: pd.Series, edges: np.ndarray | None, known: Collection[str] | None) -> pd.Series:
    """Return the name of each value's bin; one that ``known`` does not have is the bin of the others."""
    if edges is None:
        named = values.map(lambda value: f"= {value}", na_action="ignore")
    else:
        named = pd.Series(np.searchsorted(edges, values.to_numpy(), side="right"), index=values.index).map(str)
    named = named.astype(object).where(values.notna(), _MISSING)
    return named if known is None else named.where(named.isin(list(known)), _OTHER)
