"""What is counted per window: events, and for each column what was missing, wrong or out of bounds.

One table per segment: a row per (window, model version), a block of figures per column, all grown
in place with NumPy. Floating-point sums are taken event by event in offset order, so that a table is
the same whatever the sizes of the batches it was fed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumers.decoding.decoder import Decoded, IntArray, Values
from consumers.decoding.values import Kind, Violation
from driftline.contract import Column, Contract
from driftline.events import Stream

Key = tuple[int, str]  # window start in epoch ms, model version ("" for inputs and labels)
BoolArray = npt.NDArray[np.bool_]
_FIRST_ROWS = 64
_VIOLATIONS: tuple[Violation, Violation] = ("type", "nonfinite")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a column's values may be; ``known`` is None where any category is allowed."""

    kind: Kind
    low: float
    high: float
    has_range: bool
    known: frozenset[str] | None


def bounds_of(contract: Contract, stream: Stream, kinds: dict[str, Kind]) -> dict[str, Bounds]:
    """Return the bounds of every column of ``stream``."""
    if stream == "inputs":
        return {name: _column_bounds(column) for name, column in contract.columns.items()}
    allowed = contract.prediction.range if stream == "predictions" else contract.label.range
    name, kind = next(iter(kinds.items()))
    return {name: _column_bounds(Column(type=kind, range=allowed if kind == "number" else None))}


def _column_bounds(column: Column) -> Bounds:
    low = column.range.low if column.range and column.range.low is not None else -np.inf
    high = column.range.high if column.range and column.range.high is not None else np.inf
    known = frozenset(column.values) if column.values is not None else None
    return Bounds(column.type, low, high, column.range is not None, known)


@dataclass(slots=True)
class ColumnCounts:
    """Figures of one column, one element per row of the table."""

    missing: IntArray
    wrong_type: IntArray
    nonfinite: IntArray
    out_of_range: IntArray
    unseen: IntArray
    numbers: IntArray
    total: npt.NDArray[np.float64]
    total_sq: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @classmethod
    def empty(cls, rows: int) -> ColumnCounts:
        """Return figures over no events."""
        missing, wrong, nonfinite, outside, unseen, numbers = (np.zeros(rows, dtype=np.int64) for _ in range(6))
        total, total_sq, low, high = np.zeros(rows), np.zeros(rows), np.full(rows, np.inf), np.full(rows, -np.inf)
        return cls(missing, wrong, nonfinite, outside, unseen, numbers, total, total_sq, low, high)

    def grown(self, rows: int) -> ColumnCounts:
        """Return a copy with room for ``rows`` rows."""
        bigger, size = ColumnCounts.empty(rows), len(self.missing)
        for name in ColumnCounts.__slots__:
            getattr(bigger, name)[:size] = getattr(self, name)
        return bigger

    def add(self, rows: IntArray, values: Values, bounds: Bounds, wrong: BoolArray, nonfinite: BoolArray) -> None:
        """Count ``values``, the i-th of which belongs to row ``rows[i]``."""
        size = len(self.missing)
        absent = np.isnan(values) if bounds.kind == "number" else values == None  # noqa: E711  # element by element
        self.missing += np.bincount(rows[absent], minlength=size)
        if wrong.any():
            self.wrong_type += np.bincount(rows[wrong], minlength=size)
        if nonfinite.any():
            self.nonfinite += np.bincount(rows[nonfinite], minlength=size)
        present_rows, present = rows[~absent], values[~absent]
        if bounds.kind == "number":
            self._add_numbers(present_rows, present.astype(np.float64, copy=False), bounds)
        elif bounds.known is not None:
            unseen = np.fromiter((value not in bounds.known for value in present), dtype=bool, count=len(present))
            self.unseen += np.bincount(present_rows[unseen], minlength=size)

    def _add_numbers(self, rows: IntArray, values: npt.NDArray[np.float64], bounds: Bounds) -> None:
        outside = (values < bounds.low) | (values > bounds.high)
        self.out_of_range += np.bincount(rows[outside], minlength=len(self.missing))
        self.numbers += np.bincount(rows, minlength=len(self.missing))
        with np.errstate(over="ignore", invalid="ignore"):  # a sum of 1e308s is infinite; the views leave it out
            np.add.at(self.total, rows, values)
            np.add.at(self.total_sq, rows, values * values)
        np.minimum.at(self.low, rows, values)
        np.maximum.at(self.high, rows, values)


class WindowCounts:
    """The table of one segment."""

    def __init__(self, bounds: dict[str, Bounds]) -> None:
        self.bounds = bounds
        self._rows: dict[Key, int] = {}
        self.events = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self.duplicates = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self.late = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self.id_sum = np.zeros(_FIRST_ROWS, dtype=np.uint64)
        self.columns = {name: ColumnCounts.empty(_FIRST_ROWS) for name in bounds}
        self.dirty: set[Key] = set()

    def rows_of(self, starts_ms: IntArray, versions: npt.NDArray[np.object_] | None) -> IntArray:
        """Return each event's row, making rows for windows seen for the first time."""
        windows, inverse = np.unique(starts_ms, return_inverse=True)
        if versions is None:
            return self._numbered([(start, "") for start in windows.tolist()])[inverse]
        numbers: dict[str, int] = {}
        codes = np.array([numbers.setdefault(name, len(numbers)) for name in versions], dtype=np.int64)
        pairs, inverse = np.unique(inverse * max(1, len(numbers)) + codes, return_inverse=True)
        labels = list(numbers)
        keys = [(int(windows[pair // len(labels)]), labels[pair % len(labels)]) for pair in pairs.tolist()]
        return self._numbered(keys)[inverse]

    def add(
        self, events: Decoded, rows: IntArray, hashes: npt.NDArray[np.uint64], duplicate: BoolArray, late: BoolArray
    ) -> None:
        """Count a run of events; of duplicates nothing but their number."""
        fresh = ~duplicate
        size = len(self.events)
        self.events += np.bincount(rows[fresh], minlength=size)
        self.duplicates += np.bincount(rows[duplicate], minlength=size)
        self.late += np.bincount(rows[fresh & late], minlength=size)
        np.add.at(self.id_sum, rows[fresh], hashes[fresh])  # modulo 2**64
        for name, counts in self.columns.items():
            wrong, nonfinite = (_flags(events, name, kind)[fresh] for kind in _VIOLATIONS)
            counts.add(rows[fresh], events.columns[name][fresh], self.bounds[name], wrong, nonfinite)

    def row(self, key: Key) -> int:
        """Return the row of a window that has been counted."""
        return self._rows[key]

    def _numbered(self, keys: list[Key]) -> IntArray:
        for key in keys:
            self._rows.setdefault(key, len(self._rows))
        self.dirty.update(keys)
        if len(self._rows) > len(self.events):
            self._grow(2 * len(self._rows))
        return np.array([self._rows[key] for key in keys], dtype=np.int64)

    def _grow(self, rows: int) -> None:
        for name in ("events", "duplicates", "late", "id_sum"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros(rows - len(old), dtype=old.dtype)]))
        self.columns = {name: counts.grown(rows) for name, counts in self.columns.items()}


def _flags(events: Decoded, column: str, violation: Violation) -> BoolArray:
    flags = np.zeros(len(events), dtype=bool)
    flags[events.violations.get((column, violation), [])] = True
    return flags
