"""How much a challenger differs from the champion in error, on the same requests or on different ones; in a worker.

The mean difference comes with Student's interval of the pairs (Welch's, where the requests differ), and with the
probability that the challenger errs less: under the usual flat prior the mean difference has, after the data,
Student's distribution around what was found (Gelman et al., Bayesian Data Analysis, 2013, 3.2), so it is
``T(-difference / standard_error)`` with the test's degrees of freedom; for different requests they are Welch's, an
approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy
from scipy.stats import t, ttest_ind, ttest_rel

from batch.quality.intervals import Floats
from batch.results import ALL, Metric
from batch.rows.frames import REQUEST, SCORE_PREFIX, from_arrow_bytes
from batch.slices.grouping import pinned, slices_of
from batch.slices.ranking import row_errors
from batch.workers.process import Answer, Calculator, Task

_Mask = npt.NDArray[np.bool_]
Method = Literal["paired", "unpaired"]
_SCIPY = f"scipy {scipy.__version__}"
# With fewer common requests than this share of the smaller side, traffic was split, and the common ones are odd ones.
_COMMON = 0.5
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean error of the challenger minus that of the champion; ``n`` pairs, or rows of the smaller side."""

    value: float
    lower: float
    upper: float
    probability_better: float
    n: int


def difference(champion: Floats, challenger: Floats, method: Method) -> Difference:
    """Return the difference of two samples of errors, at least two each; pairs stand at the same places.

    Without any spread the interval is the difference itself, and the probability 0, 1/2 or 1.
    """
    value = float(np.mean(challenger - champion)) if method == "paired" else float(challenger.mean() - champion.mean())
    n = min(len(champion), len(challenger))
    spread = np.ptp(challenger - champion) if method == "paired" else np.ptp(champion) + np.ptp(challenger)
    if spread == 0:
        return Difference(value, value, value, float(np.heaviside(-value, 0.5)), n)
    if method == "paired":
        tested = ttest_rel(challenger, champion)
    else:
        tested = ttest_ind(challenger, champion, equal_var=False)
    interval = tested.confidence_interval(0.95)
    return Difference(value, float(interval.low), float(interval.high), float(t.cdf(-tested.statistic, tested.df)), n)


def answer(task: Task, rows: pd.DataFrame, _: Calculator) -> Answer:
    """Compare two versions. ``rows`` are the challenger's to score, ``champion`` of the options the other's.

    Both are Arrow streams as ``batch.rows.frames.scored_frames`` gives them; ``values`` holds the slice values by
    ``id`` and ``hour``.
    Options beside: ``groupings``, ``task`` and ``positive`` of the contract, and ``min_rows`` of the whole.
    """
    options = task.options
    values = from_arrow_bytes(options["values"])
    rules = [pinned(rule, values[rule.column]) for rule in options["groupings"]]
    champion = from_arrow_bytes(options["champion"]).merge(values, on=REQUEST, how="left")
    challenger = rows.merge(values, on=REQUEST, how="left")
    common = champion[REQUEST].merge(challenger[REQUEST], on=REQUEST, validate="one_to_one").sort_values(REQUEST)
    smaller = min(len(champion), len(challenger))
    method: Method = "paired" if len(common) >= _COMMON * smaller else "unpaired"
    if method == "paired":
        champion, challenger = (common.merge(side, on=REQUEST, how="left") for side in (champion, challenger))
    sides = _Sides(champion, challenger, method, options["task"], options.get("positive"))
    metrics = [Metric("", "pair_count", float(len(common)), smaller, _SCIPY, method)]
    metrics += sides.compared(ALL, options["min_rows"], np.ones(len(champion), bool), np.ones(len(challenger), bool))
    theirs = {one.name: one for one in slices_of(champion, rules)}
    for one in slices_of(challenger, rules):
        if one.name in theirs:
            masks = (theirs[one.name].rows.to_numpy(bool), one.rows.to_numpy(bool))
            metrics += sides.compared(one.name, one.rule.min_rows, *masks)
    return Answer(tuple(metrics))


@dataclass(frozen=True, slots=True)
class _Sides:
    """The rows of both versions, aligned when they are paired."""

    champion: pd.DataFrame
    challenger: pd.DataFrame
    method: Method
    task: str
    positive: str | None

    def compared(self, name: str, min_rows: int, ours: _Mask, theirs: _Mask) -> list[Metric]:
        """Return the figures of a slice, none where a side has too few rows."""
        if min(ours.sum(), theirs.sum()) < max(2, min_rows):
            return []
        sides = self.champion[ours], self.challenger[theirs]
        first, second = (row_errors(self.task, side) for side in sides)
        found = difference(first, second, self.method)
        if self.task == "regression":
            return [self._metric(name, "mae_difference", found), self._probability(name, found, "mae")]
        correct = difference(1 - first, 1 - second, self.method)
        metrics = [self._metric(name, "accuracy_difference", correct)]
        losses = [log_losses(side, self.positive) for side in sides]
        if losses[0] is None or losses[1] is None:
            return [*metrics, self._probability(name, found, "accuracy")]
        lost = difference(losses[0], losses[1], self.method)
        return [*metrics, self._metric(name, "log_loss_difference", lost), self._probability(name, lost, "log loss")]

    def _metric(self, name: str, metric: str, found: Difference) -> Metric:
        interval = (found.lower, found.upper)
        return Metric("", metric, found.value, found.n, _SCIPY, self.method, None, *interval, slice=name)

    def _probability(self, name: str, found: Difference, figure: str) -> Metric:
        method = f"{self.method}, by {figure}"
        return Metric("", "probability_better", found.probability_better, found.n, _SCIPY, method, slice=name)


def log_losses(rows: pd.DataFrame, positive: str | None) -> Floats | None:
    """Return minus the logarithm of the probability given to the true class; None where a row has no probabilities.

    ``positive`` is a binary model's only class with a probability; None for multiclass, whose rows are made to sum
    to 1.
    """
    scores = rows[[name for name in rows if str(name).startswith(SCORE_PREFIX)]].astype("float64")
    if scores.empty or scores.isna().any(axis=None):
        return None
    if positive is not None:
        given = scores[SCORE_PREFIX + positive].to_numpy()
        truth = np.where(rows["label"] == positive, given, 1 - given)
    else:
        places = scores.columns.get_indexer(pd.Index(SCORE_PREFIX + rows["label"]))
        truth = np.where(places < 0, 0.0, scores.to_numpy()[np.arange(len(rows)), places]) / scores.sum(axis=1)
    found: Floats = -np.log(np.clip(np.asarray(truth, "float64"), _SMALLEST, 1.0))
    return found
