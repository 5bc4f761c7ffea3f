"""Which slice a row belongs to, from the values that the engine gave it; pure, used in parent and worker alike.

A slice is called ``NAME=VALUE``, one where a condition holds ``NAME``. Rows without a value are ``NAME=missing``, those
whose value is not among the most frequent ``NAME=other``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

VALUE_PREFIX = "slice_value_"
MISSING, OTHER = "missing", "other"
_TRUE = frozenset({"1", "true"})


@dataclass(frozen=True, slots=True)
class Grouping:
    """A slice rule as it is applied: ``column`` holds the engine's values as text.

    ``preferred`` values come first in getting a slice each, such as those of the reference; the window's own most
    frequent ones fill up to ``max_values``.
    """

    name: str
    column: str
    is_condition: bool
    max_values: int
    min_rows: int
    preferred: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice and its rows, as a mask over the frame that was asked about."""

    name: str
    rule: Grouping
    rows: pd.Series

    @property
    def is_group(self) -> bool:
        """Whether all its rows share a value; what is left over and what is missing does not."""
        return not self.rule.is_condition and self.name.partition("=")[2] not in (MISSING, OTHER)


def slices_of(frame: pd.DataFrame, groupings: Sequence[Grouping]) -> Iterator[Slice]:
    """Yield the slices that have rows in ``frame``, by rule, the largest first."""
    for rule in groupings:
        names = slice_names(frame[rule.column], rule)
        for name in names.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable").index:
            yield Slice(str(name), rule, names == name)


def slice_names(values: pd.Series, rule: Grouping) -> pd.Series:
    """Return the slice of each row as text; null where a row belongs to none."""
    if rule.is_condition:
        return pd.Series(rule.name, index=values.index, dtype=object).where(values.isin(_TRUE))
    kept = frozenset(kept_values(values, rule))
    named = values.map(lambda value: value if value in kept else OTHER, na_action="ignore").fillna(MISSING)
    return f"{rule.name}=" + named.astype(object)


def kept_values(values: pd.Series, rule: Grouping) -> list[str]:
    """Return the values that get a slice each; ``missing`` and ``other`` never do, those words are taken."""
    found = by_frequency(values)
    wanted = [*rule.preferred, *(value for value in found if value not in set(rule.preferred))]
    return [value for value in wanted if value not in (MISSING, OTHER)][: rule.max_values]


def pinned(rule: Grouping, values: pd.Series) -> Grouping:
    """Return ``rule`` with the values that get a slice in ``values``, so that other rows are cut in the same way."""
    kept = kept_values(values, rule)
    return replace(rule, preferred=tuple(kept), max_values=len(kept))


def by_frequency(values: pd.Series) -> list[str]:
    """Return the different values, the most frequent first, equally frequent ones in order."""
    counts = values.dropna().value_counts(sort=False)
    pairs = zip(counts.index.astype(str), counts.tolist(), strict=True)
    return [value for value, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]
