"""One column of a reference inside a worker: its values, its bins, and what healthy windows of it score."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from batch.drift.calibration import (
    Expected,
    Scorer,
    expected_score,
    jensenshannon_scorer,
    size_class,
    wasserstein_scorer,
)
from batch.drift.histograms import Bins, number_bins, value_bins
from batch.drift.shifts import Moments, counts_of
from batch.results import DriftSpec, ScoreError
from batch.workers.process import ENGINE
from batch.workers.scores import DriftScore, drift_score, require_values
from driftline.checks import DISTANCE_METHODS

# Evidently's tests take milliseconds each, our own two scorers a fraction of one.
_MOST_WINDOWS_BY_EVIDENTLY = 40


class ReferenceColumn:
    """The values that are present, ascending, and of each the window of the reference it lies in."""

    def __init__(self, spec: DriftSpec, values: pd.Series, missing: int, windows: np.ndarray | None) -> None:
        """``windows`` goes by the position in the reference, which is the index of ``values``; None for no times."""
        self.spec = spec
        self.values = values
        self._missing = missing
        self._windows = np.zeros(len(values), dtype=int) if windows is None else windows[values.index.to_numpy()]
        self._expected: dict[int, Expected] = {}

    @cached_property
    def numbers(self) -> np.ndarray:
        """The values as an array; numbers only."""
        return self.values.to_numpy(dtype="float64")

    @cached_property
    def moments(self) -> Moments:
        """Where the numbers lie; numbers only."""
        return Moments.of(self.numbers)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Rows by value; categories only."""
        return counts_of(self.values)

    def score(self, current: pd.Series) -> DriftScore:
        """Return Evidently's score of a window's values that are present.

        Its two usual tests are computed as it computes them, by SciPy, on the reference's values counted once; any
        other is Evidently's own.

        Raises:
            ScoreError: a side has no values, or the test cannot be computed on them.
        """
        require_values(self.spec, self.values, current)
        if not self._is_quick:
            return drift_score(self.spec, self.values, current)
        if self.spec.kind == "number":
            grid, weights, spread = self._grid
            if not np.isfinite(spread):
                msg = "the reference's numbers lie too far apart for a standard deviation; give the column a `range`"
                raise ScoreError(msg)
            score = wasserstein_distance(grid, current.to_numpy(dtype="float64"), weights) / max(spread, 0.001)
        else:
            now = counts_of(current)
            names = [*self.counts, *(name for name in now if name not in self.counts)]
            past = [self.counts.get(name, 0) for name in names]
            score = jensenshannon(past, [now.get(name, 0) for name in names])
        return DriftScore(float(score), bool(score >= self.spec.threshold), len(current))

    @property
    def engine(self) -> str:
        """What computes the scores."""
        return f"scipy, as {ENGINE}" if self._is_quick else ENGINE

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray, float]:
        """The distinct numbers, how many rows hold each, and the standard deviation of all."""
        grid, weights = np.unique(self.numbers, return_counts=True)
        with np.errstate(over="ignore"):
            spread = float(np.std(self.numbers))
        return grid, weights.astype(float), spread

    @cached_property
    def bins(self) -> Bins:
        """The bins of the column's histograms."""
        if self.spec.kind == "number":
            return number_bins(self.numbers, self._missing)
        return value_bins(self.counts, self._missing)

    def expected(self, n: int) -> Expected | None:
        """Return what healthy windows of about ``n`` values score; None for p-values, which have their own scale."""
        if self.spec.method not in DISTANCE_METHODS or len(self.values) < 2:
            return None
        size = size_class(n)
        if size not in self._expected:
            most = {} if self._is_quick else {"most": _MOST_WINDOWS_BY_EVIDENTLY}
            self._expected[size] = expected_score(self._windows, size, self._scorer, **most)
        return self._expected[size]

    @property
    def _is_quick(self) -> bool:
        return (self.spec.kind, self.spec.method) in {("number", "wasserstein"), ("category", "jensenshannon")}

    @cached_property
    def _scorer(self) -> Scorer:
        if not self._is_quick:
            return lambda drawn, left_out: self._by_evidently(drawn, left_out)
        if self.spec.kind == "number":
            return wasserstein_scorer(self.numbers)
        return jensenshannon_scorer(self.values.cat.codes.to_numpy())

    def _by_evidently(self, drawn: np.ndarray, left_out: np.ndarray) -> float:
        kept = np.ones(len(self.values), dtype=bool)
        kept[left_out] = False
        return drift_score(self.spec, self.values[kept], self.values.iloc[drawn]).score
