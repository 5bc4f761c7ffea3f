"""Histograms for redrawing a window beside its reference: the bins are the reference's, whatever the window holds.

Numbers of few values get a bin each, others 24 equal ones between the 0.5 % and 99.5 % quantiles and an open one
at either end. Categories show the most frequent values of the reference, then all its others, then the new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from batch.results import Histogram

OTHER, NEW = "(other)", "(new)"
_FEW_VALUES = 30
_EQUAL_BINS = 24
_SHOWN_VALUES = 40


@dataclass(frozen=True, slots=True)
class Bins:
    """A reference column's bins (``edges`` of numbers, ``labels`` of categories) and its rows in them."""

    edges: tuple[float, ...]
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int
    folded: frozenset[str] = frozenset()

    def of_numbers(self, column: str, values: np.ndarray, missing: int) -> Histogram:
        """Return the histogram of a window's numbers."""
        return self._histogram(column, _counted(self.edges, values), missing)

    def of_values(self, column: str, counts: Mapping[str, int], missing: int) -> Histogram:
        """Return the histogram of a window's categories, counted by value."""
        shown = self.labels[:-2]
        other = sum(count for name, count in counts.items() if name in self.folded)
        new = sum(counts.values()) - other - sum(counts.get(name, 0) for name in shown)
        return self._histogram(column, (*(counts.get(name, 0) for name in shown), other, new), missing)

    def _histogram(self, column: str, current: tuple[int, ...], missing: int) -> Histogram:
        return Histogram(column, self.edges, self.labels, current, self.counts, missing, self.missing)


def number_bins(values: np.ndarray, missing: int) -> Bins:
    """Return the bins of a reference's numbers; there is at least one.

    >>> number_bins(np.array([0.0, 1.0, 1.0, 3.0]), 2)
    Bins(edges=(-inf, 0.5, 2.0, inf), labels=(), counts=(1, 2, 1), missing=2, folded=frozenset())
    """
    distinct = np.unique(values)
    if len(distinct) <= _FEW_VALUES:
        inner = (distinct[1:] + distinct[:-1]) / 2
    else:
        low, high = np.quantile(values, [0.005, 0.995])
        inner = np.unique(np.linspace(low, high, _EQUAL_BINS + 1))
    edges = (-math.inf, *map(float, inner), math.inf)
    return Bins(edges, (), _counted(edges, values), missing)


def value_bins(counts: Mapping[str, int], missing: int) -> Bins:
    """Return the bins of a reference's categories.

    >>> value_bins({"B": 1, "A": 2}, 0).labels
    ('A', 'B', '(other)', '(new)')
    """
    names = sorted(counts, key=lambda name: (-counts[name], name))
    shown, folded = names[:_SHOWN_VALUES], names[_SHOWN_VALUES:]
    found = (*(counts[name] for name in shown), sum(counts[name] for name in folded), 0)
    return Bins((), (*shown, OTHER, NEW), found, missing, frozenset(folded))


def _counted(edges: tuple[float, ...], values: np.ndarray) -> tuple[int, ...]:
    places = np.searchsorted(np.array(edges[1:-1]), values, side="right")
    return tuple(np.bincount(places, minlength=len(edges) - 1).tolist())
