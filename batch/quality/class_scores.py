"""How good a window's probabilities are: log loss, Brier score, calibration, and the areas under two curves.

Runs inside a worker. A binary model is judged on the probability of its positive class, everything else being one
class; a multiclass model on one column per class, rows brought to a sum of 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.metrics import brier_score_loss, log_loss

from batch.quality import curves, intervals
from batch.quality.intervals import Floats
from batch.quality.regression import skill
from batch.results import Metric
from batch.rows.frames import SCORE_PREFIX

if TYPE_CHECKING:
    import pandas as pd

ENGINE = f"scikit-learn {sklearn.__version__}"
OTHER = ""
"""Every class but the positive one of a binary model."""

_OWN = f"numpy {np.__version__}"
_CALIBRATION_BINS = 10
_SMALLEST = float(np.finfo(np.float64).eps)  # scikit-learn's clip, so that a probability of 0 costs 36 and not all

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Scores:
    """Probabilities of ``classes`` (columns, in order) for the rows that ``present`` marks; each row sums to 1."""

    classes: tuple[str, ...]
    values: Floats
    present: npt.NDArray[np.bool_]

    def given_to(self, names: Texts) -> Floats:
        """Return the probability that each present row gave to the class of ``names`` at its place."""
        place = {name: index for index, name in enumerate(self.classes)}
        columns = np.fromiter((place.get(name, -1) for name in names), dtype=np.int64, count=len(names))
        found: Floats = np.where(columns < 0, 0.0, self.values[np.arange(len(names)), columns])
        return found


def scores_of(rows: pd.DataFrame, positive: str | None) -> Scores:
    """Return the probabilities in the columns ``score.CLASS`` of ``rows``."""
    table = rows[[name for name in rows if str(name).startswith(SCORE_PREFIX)]].astype("float64")
    table.columns = [str(name).removeprefix(SCORE_PREFIX) for name in table]
    classes: tuple[str, ...]
    if positive is not None:
        wanted = table[[positive]].to_numpy() if positive in table else np.full((len(rows), 1), np.nan)
        values, classes = np.hstack([wanted, 1 - wanted]), (positive, OTHER)
    else:
        classes = tuple(sorted(table.columns))
        total = table.sum(axis=1, min_count=1)
        values = table[list(classes)].fillna(0.0).div(total.where(total > 0), axis=0).to_numpy()
    present = np.isfinite(values).all(axis=1) if classes else np.zeros(len(rows), dtype=bool)
    return Scores(classes, values[present], present)


def known_classes(names: pd.Series, positive: str | None) -> Texts:
    """Return class names as the figures count them: a binary model's negatives are all ``OTHER``."""
    texts: Texts = names.to_numpy(dtype=object)
    return texts if positive is None else np.where(texts == positive, positive, OTHER).astype(object)


def figures_of_scores(
    label: Texts, scores: Scores, positive: str | None, min_positives: int, shares: Mapping[str, float]
) -> Iterator[Metric]:
    """Yield the figures of the rows with probabilities; ``label`` is theirs, as ``known_classes`` has it."""
    n = len(label)
    if not n:
        return
    loss = -np.log(scores.given_to(label).clip(_SMALLEST, 1.0))
    method = "Student's interval"
    yield Metric("", "log_loss", _log_loss(label, scores, positive), n, ENGINE, method, None, *intervals.of_mean(loss))
    squared = _squared(label, scores, positive)
    yield Metric(
        "", "brier_score", _brier(label, scores, positive), n, ENGINE, method, None, *intervals.of_mean(squared)
    )
    yield Metric(
        "", "calibration_error", _calibration_error(label, scores, positive), n, _OWN, "10 bins of equal width"
    )
    yield from _curves(label, scores, positive, min_positives)
    if all(shares.get(name) for name in set(label)):  # a class that the reference never saw costs a dummy everything
        dummy = np.array([-np.log(shares[name]) for name in label])
        if dummy.mean() > 0:
            yield skill(loss, dummy, "1 - log loss over that of the reference's class shares, delta method")


def _curves(label: Texts, scores: Scores, positive: str | None, min_positives: int) -> Iterator[Metric]:
    found: dict[str, list[Metric]] = {"roc_auc": [], "pr_auc": []}
    names = scores.classes if positive is None else (positive,)
    for name in names:
        is_class, score = label == name, scores.values[:, scores.classes.index(name)]
        if min(is_class.sum(), (~is_class).sum()) < min_positives:
            continue
        column = f"class={name}" if positive is None else ""
        for metric, area in curves.areas(is_class, score).items():
            one = Metric(column, metric, area.value, len(label), ENGINE, "bootstrap", None, *area.interval)
            found[metric].append(one)
    for metric, by_class in found.items():
        yield from by_class
        if positive is None and by_class and len(by_class) == len(names) and set(label) <= set(names):
            yield _macro(metric, by_class)


def _macro(metric: str, by_class: list[Metric]) -> Metric:
    """Return the mean over the classes; the mean of their bounds is at least as wide as its own interval."""
    value, lower, upper = (
        float(np.mean([getattr(one, name) for one in by_class])) for name in ("value", "lower", "upper")
    )
    return Metric("", metric, value, by_class[0].n, ENGINE, "mean over classes, bootstrap", None, lower, upper)


def _log_loss(label: Texts, scores: Scores, positive: str | None) -> float:
    if positive is not None:
        return float(log_loss(label == positive, scores.values[:, 0], labels=[False, True]))
    places, values = _covering(label, scores)
    return float(log_loss(places, values, labels=range(values.shape[1])))


def _brier(label: Texts, scores: Scores, positive: str | None) -> float:
    if positive is not None:
        return float(brier_score_loss(label == positive, scores.values[:, 0], labels=[False, True]))
    places, values = _covering(label, scores)
    return float(brier_score_loss(places, values, labels=range(values.shape[1]), scale_by_half=False))


def _squared(label: Texts, scores: Scores, positive: str | None) -> Floats:
    if positive is not None:
        found: Floats = (scores.values[:, 0] - (label == positive)) ** 2
        return found
    places, values = _covering(label, scores)
    hits = values[np.arange(len(places)), places]
    summed: Floats = (values**2).sum(axis=1) - 2 * hits + 1
    return summed


def _covering(label: Texts, scores: Scores) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return each label's column, and the probabilities with columns of zeros for labels that were never predicted.

    There are at least two columns: scikit-learn takes a single one for a positive class.
    """
    unseen = sorted(set(label) - set(scores.classes))
    place = {name: index for index, name in enumerate([*scores.classes, *unseen])}
    columns = max(2, len(place))
    values = np.zeros((len(label), columns))
    values[:, : len(scores.classes)] = scores.values
    return np.fromiter(map(place.__getitem__, label), dtype=np.int64, count=len(label)), values


def _calibration_error(label: Texts, scores: Scores, positive: str | None) -> float:
    """Return the expected calibration error: |hits - confidence| by bin of confidence, weighted by rows.

    Binary: the positive class's probability against how often it was true; multiclass: that of the likeliest class.
    (Naeini, Cooper, Hauskrecht, AAAI 2015.)
    """
    if positive is not None:
        confidence, hit = scores.values[:, 0], label == positive
    else:
        best = scores.values.argmax(axis=1)
        confidence, hit = scores.values.max(axis=1), np.array(scores.classes, dtype=object)[best] == label
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=hit.astype("float64") - confidence, minlength=_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(label))
