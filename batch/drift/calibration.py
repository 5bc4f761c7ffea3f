"""What healthy windows score: the reference's own windows, each against the rest of the reference.

A distance between samples has a floor that chance sets (260 zones and 2,000 trips a day are 0.13 apart from
anything) and rises with what differs from day to day. Both are read off the reference: each of its windows is left
out in turn, cut to as many rows as the window judged has, and scored against the rest. 99 of 100 healthy windows
score below ``Expected.score``. Pure: runs in the worker, on values that are present, and draws the same rows each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import t as student

Basis = Literal["left-out windows", "resampled rows"]
# The score of rows drawn from a window of the reference (both as indices) against all rows outside the window.
Scorer = Callable[[np.ndarray, np.ndarray], float]

FEWEST_WINDOWS = 7
"""Fewer of the reference's windows say nothing about how windows vary; then only chance is calibrated."""
LEAST_SCORE = 0.01
"""No healthy limit is below this: a smaller distance is nothing that anybody would act on."""
_QUANTILE = 0.99
_MOST_WINDOWS = 200
_DRAWS = 60
_RESAMPLES = 100
_MOST_POINTS = 2_000


@dataclass(frozen=True, slots=True)
class Expected:
    """The score that 99 of 100 healthy windows of a size stay below, and the number of windows it rests on."""

    score: float
    basis: Basis
    windows: int


def size_class(n: int) -> int:
    """Return the number of rows that a window of ``n`` is calibrated for: the power of √2 at or below it.

    >>> size_class(200), size_class(255), size_class(256), size_class(3000)
    (181, 181, 256, 2896)
    """
    return int(2 ** (math.floor(2 * math.log2(n)) / 2))


def expected_score(
    windows: np.ndarray, n: int, score: Scorer, most: int = _MOST_WINDOWS, repeats: int | None = None, root: int = 3
) -> Expected:
    """Return what healthy windows of ``n`` rows score.

    Parameters
    ----------
    windows
        Of each row of the reference, the window it lies in.
    n
        Rows of the window to be judged.
    score
        Called with the rows drawn and the rows of the window that is left out.
    most
        How many windows to score at most.
    repeats
        How often to draw from each window; by default so often that there are some sixty scores.
    root
        Which root of the score is nearly normal: of a distance the third (Wilson and Hilferty), of an AUC itself.
    """
    rng = np.random.default_rng(n)
    draws = list(_left_out(windows, n, rng, most))
    groups = len(draws)
    basis: Basis = "left-out windows"
    if groups < FEWEST_WINDOWS:
        basis, draws = "resampled rows", [_resampled(len(windows), n, rng) for _ in range(min(most, _RESAMPLES))]
        groups = len(draws)
    if repeats is None:
        repeats = max(1, round(_DRAWS / groups)) if basis == "left-out windows" else 1
    scores = [
        score(rng.choice(rows, size, replace=False, shuffle=False) if size < len(rows) else rows, rows)
        for rows, size in draws
        for _ in range(1 if size == len(rows) else repeats)
    ]
    return Expected(max(LEAST_SCORE, _upper_limit(np.array(scores), groups, root)), basis, groups)


def _left_out(windows: np.ndarray, n: int, rng: np.random.Generator, most: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (rows of one window, how many to draw) for windows of about ``n`` rows or more."""
    names, sizes = np.unique(windows, return_counts=True)
    wanted = min(n, int(np.median(sizes)))
    fitting = names[sizes >= max(2, wanted / 2)]
    if len(fitting) > most:
        fitting = rng.choice(fitting, most, replace=False)
    if len(fitting) < FEWEST_WINDOWS:
        return
    order = np.argsort(windows, kind="stable")
    bounds = windows[order]
    for name in fitting:
        rows = order[np.searchsorted(bounds, name) : np.searchsorted(bounds, name, side="right")]
        yield rows, min(wanted, len(rows))


def _resampled(n_reference: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    rows = rng.choice(n_reference, max(1, min(n, n_reference // 2)), replace=False)
    return rows, len(rows)


def _upper_limit(scores: np.ndarray, groups: int, root: int) -> float:
    """Return the 99 % quantile, and at least the limit that a further window stays below if roots are normal.

    The second is Student's prediction limit for one more observation after ``groups``: a month of days has no 99 %
    quantile of its own.
    """
    roots = np.maximum(scores, 0.0) ** (1 / root)
    spread = float(np.std(roots, ddof=1)) if len(roots) > 1 else 0.0
    reach = float(student.ppf(_QUANTILE, max(1, groups - 1))) * math.sqrt(1 + 1 / groups)
    return max(float(np.quantile(scores, _QUANTILE)), (float(np.mean(roots)) + reach * spread) ** root)


def wasserstein_scorer(values: np.ndarray) -> Scorer:
    """Return the normed Wasserstein distance of rows of ``values`` (ascending), as Evidently's ``wasserstein``.

    Exact for up to 2,000 different values; more are moved to the nearest of as many points of a grid.
    """
    grid = _grid(values)
    codes = np.searchsorted((grid[1:] + grid[:-1]) / 2, values)
    total, steps = np.bincount(codes, minlength=len(grid)), np.diff(grid)

    def score(drawn: np.ndarray, left_out: np.ndarray) -> float:
        rest = total - np.bincount(codes[left_out], minlength=len(grid))
        drawn_counts = np.bincount(codes[drawn], minlength=len(grid))
        n_rest = rest.sum()
        gap = np.cumsum(rest / n_rest - drawn_counts / len(drawn))[:-1]
        mean = rest @ grid / n_rest
        spread = math.sqrt(float(rest @ (grid - mean) ** 2) / float(n_rest))
        return float(np.abs(gap) @ steps) / max(spread, 0.001)

    return score


def _grid(values: np.ndarray) -> np.ndarray:
    """Return the different values, or where they are too many their quantiles and evenly spaced points."""
    distinct = np.unique(values)
    if len(distinct) <= _MOST_POINTS:
        return distinct
    shares = np.linspace(0, 1, _MOST_POINTS // 2)
    return np.unique([*np.quantile(values, shares), *(distinct[0] + shares * (distinct[-1] - distinct[0]))])


def jensenshannon_scorer(codes: np.ndarray) -> Scorer:
    """Return the Jensen-Shannon distance of rows of ``codes`` (0, 1, …), as Evidently's of categories."""
    total = np.bincount(codes)

    def score(drawn: np.ndarray, left_out: np.ndarray) -> float:
        rest = total - np.bincount(codes[left_out], minlength=len(total))
        return float(jensenshannon(rest, np.bincount(codes[drawn], minlength=len(total))))

    return score
