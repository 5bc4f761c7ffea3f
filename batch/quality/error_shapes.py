"""The distribution of errors: the reference's bins are made once, every window is counted into them."""

from __future__ import annotations

import numpy as np

from batch.quality.intervals import Floats
from batch.results import ErrorShape, Histogram

_BINS = 30
# The bins lie between these quantiles; the outer two take the tails.
_TAILS = (0.005, 0.995)


def shape_of_errors(errors: Floats) -> ErrorShape:
    """Return bins that fit ``errors``, at least one, and their counts."""
    low, high = np.quantile(errors, _TAILS)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS - 1)
    return ErrorShape(tuple(edges.tolist()), _counts(errors, edges))


def shape_of_shares(errors: Floats) -> ErrorShape:
    """Return the counts of errors between 0 and 1 in bins of equal width."""
    edges = np.linspace(0, 1, _BINS + 1)[1:-1]
    return ErrorShape(tuple(edges.tolist()), _counts(errors, edges))


def error_histogram(column: str, errors: Floats, reference: ErrorShape | None, *, shares: bool = False) -> Histogram:
    """Return ``errors`` counted into the reference's bins, into bins of their own where there is none."""
    own = shape_of_shares(errors) if shares else shape_of_errors(errors)
    current = own.counts if reference is None else _counts(errors, np.array(reference.edges))
    edges = own.edges if reference is None else reference.edges
    ends = (0.0, 1.0) if shares else (-np.inf, np.inf)
    expected = (0,) * len(current) if reference is None else reference.counts
    return Histogram(column, (ends[0], *edges, ends[1]), (), current, expected)


def _counts(errors: Floats, edges: Floats) -> tuple[int, ...]:
    """Return how many errors lie in each bin; a bin holds its lower edge."""
    places = np.searchsorted(edges, errors, side="right")
    return tuple(np.bincount(places, minlength=len(edges) + 1).tolist())
