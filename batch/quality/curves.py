"""Ranking quality of scores: ROC AUC and average precision with their bootstrap intervals.

The figures are scikit-learn's on all rows. The intervals come from resampled counts of positives and negatives in at
most ``_CELLS`` cells of equal size by rank, so that they cost the same for any number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from batch.quality import intervals
from batch.quality.intervals import Floats, Interval

_CELLS = 64
_RESAMPLES = 200
_SEED = 20230201

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Area:
    """An area under a curve and its interval."""

    value: float
    interval: Interval


def areas(positive: Bools, score: Floats) -> dict[str, Area]:
    """Return ``roc_auc`` and ``pr_auc`` (average precision: the area under the curve's steps); both classes occur."""
    cells = _cells(positive, score)
    # Each cell's count is redrawn on its own: the Poisson bootstrap (Chamandy and others, 2012).
    drawn = np.random.default_rng(_SEED).poisson(cells, size=(_RESAMPLES, *cells.shape)).astype("float64")
    both = drawn[(drawn.sum(axis=2) > 0).all(axis=1)]
    values = {"roc_auc": roc_auc_score(positive, score), "pr_auc": average_precision_score(positive, score)}
    found = {}
    for name, figure in (("roc_auc", _roc_auc), ("pr_auc", _average_precision)):
        value, on_cells = float(values[name]), float(figure(cells[None].astype("float64"))[0])
        found[name] = Area(value, intervals.of_draws(value, figure(both), on_cells))
    return found


def _cells(positive: Bools, score: Floats) -> npt.NDArray[np.int64]:
    """Return counts of positives and of negatives by cell, highest scores first; equal scores share a cell."""
    values, rank = np.unique(-score, return_inverse=True)
    if len(values) > _CELLS:
        below = np.cumsum(np.bincount(rank))
        rank = ((below - 1) * _CELLS // len(score))[rank]
    size = int(rank.max()) + 1
    return np.stack([np.bincount(rank[positive], minlength=size), np.bincount(rank[~positive], minlength=size)])


def _roc_auc(counts: Floats) -> Floats:
    """Return the AUC of each (resample, class, cell): pairs in the right order, and half of the ties."""
    positives, negatives = counts[:, 0], counts[:, 1]
    above = np.cumsum(positives, axis=1) - positives
    pairs = (negatives * (above + positives / 2)).sum(axis=1)
    found: Floats = pairs / (positives.sum(axis=1) * negatives.sum(axis=1))
    return found


def _average_precision(counts: Floats) -> Floats:
    """Return the average precision of each (resample, class, cell)."""
    hits = np.cumsum(counts[:, 0], axis=1)
    all_rows = hits + np.cumsum(counts[:, 1], axis=1)
    precision = np.divide(hits, all_rows, out=np.zeros_like(hits), where=all_rows > 0)
    found: Floats = (precision * counts[:, 0]).sum(axis=1) / hits[:, -1]
    return found
