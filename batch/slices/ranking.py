"""How slices differ: which are worse than the whole beyond chance, how far apart a rule's groups lie; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from scipy.stats import false_discovery_control, t, ttest_ind

from batch.quality.intervals import LEVEL, Floats
from batch.results import Metric
from batch.slices.grouping import Slice

if TYPE_CHECKING:
    import pandas as pd

_NUMPY, _SCIPY = f"numpy {np.__version__}", f"scipy {scipy.__version__}"
_PROVEN = 1 - LEVEL


def row_errors(kind: str, rows: pd.DataFrame) -> Floats:
    """Return the absolute error of each row; of classes 1 where the answer is wrong."""
    if kind == "regression":
        found: Floats = np.abs(rows["prediction"].to_numpy("float64") - rows["label"].to_numpy("float64"))
        return found
    return np.asarray(rows["prediction"] != rows["label"], dtype="float64")


@dataclass(frozen=True, slots=True)
class Excess:
    """How much worse a slice is than the whole: mean error minus mean error, its interval, the chance of it."""

    name: str
    n: int
    value: float
    lower: float | None
    upper: float | None
    p_value: float


def excesses(errors: Floats, judged: Sequence[Slice]) -> Iterator[Metric]:
    """Yield excess, its share of the window's whole error, corrected chance and rank of each slice.

    A slice's mean minus the whole's is (1 - n_slice / n) times its mean minus the others'; so the interval is Welch's
    of the latter, scaled, and the chance is Welch's one-sided. Chances are corrected for the number of slices after
    Benjamini and Yekutieli (2001), since slices overlap. Proven slices (below 5 %) rank first, then by excess.
    """
    found = [one for one in (_excess(each, errors) for each in judged) if one is not None]
    if not found:
        return
    corrected = false_discovery_control([one.p_value for one in found], method="by").tolist()
    order = sorted(zip(found, corrected, strict=True), key=lambda one: (one[1] >= _PROVEN, -one[0].value, one[0].name))
    total = float(errors.sum())
    for rank, (one, chance) in enumerate(order, 1):
        welch = (one.n, _SCIPY, "Welch against the other rows", None)
        yield Metric("", "slice_excess", one.value, *welch, one.lower, one.upper, one.name)
        yield Metric("", "slice_p_value", chance, one.n, _SCIPY, "Welch, Benjamini-Yekutieli", slice=one.name)
        yield Metric("", "slice_rank", float(rank), one.n, _SCIPY, "proven first, then by excess", slice=one.name)
        if total > 0:
            yield Metric("", "slice_excess_share", one.value * one.n / total, one.n, _NUMPY, slice=one.name)


def _excess(one: Slice, errors: Floats) -> Excess | None:
    mask = one.rows.to_numpy()
    inside, outside = errors[mask], errors[~mask]
    if len(inside) < 2 or len(outside) < 2:  # it is the whole, or cannot be told from it
        return None
    scale = len(outside) / len(errors)
    value = float(inside.mean() - errors.mean())
    lower, upper, chance = welch(inside, outside, LEVEL)
    if lower is None or upper is None:
        return Excess(one.name, len(inside), value, None, None, 1.0)
    return Excess(one.name, len(inside), value, scale * lower, scale * upper, chance)


def welch(first: Floats, second: Floats, level: float) -> tuple[float | None, float | None, float]:
    """Return Welch's interval of mean(first) - mean(second), and the chance that a difference as great is chance.

    Without any spread there is no interval, and nothing is proven.
    """
    if float(np.ptp(first)) == 0 and float(np.ptp(second)) == 0:
        return None, None, 1.0
    tested = ttest_ind(first, second, equal_var=False)
    interval = tested.confidence_interval(level)
    return float(interval.low), float(interval.high), float(t.sf(tested.statistic, tested.df))


def parity_gaps(
    options: Mapping[str, Any], scored: pd.DataFrame, errors: Floats, judged: Sequence[Slice]
) -> Iterator[Metric]:
    """Yield, per rule, how far its groups lie apart: in mae, or in accuracy, recall and share selected."""
    rules = dict.fromkeys(one.rule.name for one in judged if one.is_group)
    positive = options["quality"].get("positive")
    for name in rules:
        groups = {one.name: one.rows.to_numpy() for one in judged if one.rule.name == name and one.is_group}
        if options["task"] == "regression":
            yield from _gap("parity_gap", "mae", name, {group: errors[mask] for group, mask in groups.items()})
            continue
        yield from _gap("parity_gap", "accuracy", name, {group: 1 - errors[mask] for group, mask in groups.items()})
        if positive is None:
            continue
        selected = (scored["prediction"] == positive).to_numpy("float64")
        chosen = {group: selected[mask] for group, mask in groups.items()}
        yield from _gap("selection_rate_gap", "share selected", name, chosen)
        truly = (scored["label"] == positive).to_numpy()
        recalls = {group: selected[mask & truly] for group, mask in groups.items()}
        least = options["quality"]["min_positives"]
        enough = {group: values for group, values in recalls.items() if len(values) >= least}
        yield from _gap("recall_gap", "recall", name, enough)


def _gap(metric: str, figure: str, name: str, groups: Mapping[str, Floats]) -> Iterator[Metric]:
    """Yield the distance between the groups with the greatest and the smallest mean.

    Its interval is Welch's at a level corrected for all pairs (Bonferroni): the two were chosen for being extreme.
    """
    if len(groups) < 2:
        return
    means = {group: float(values.mean()) for group, values in groups.items()}
    highest, lowest = max(means, key=lambda group: means[group]), min(means, key=lambda group: means[group])
    pairs = len(groups) * (len(groups) - 1) / 2
    lower, upper, _ = welch(groups[highest], groups[lowest], 1 - (1 - LEVEL) / pairs)
    method = f"{figure}: greatest minus smallest of {len(groups)} groups"
    n = sum(len(values) for values in groups.values())
    yield Metric("", metric, means[highest] - means[lowest], n, _SCIPY, method, None, lower, upper, name)
